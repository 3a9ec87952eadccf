"""delay: DDP gets the mean gradient of the step before, and this step's exchange goes on meanwhile.

Step k's optimizer sees the mean of step k - 1, the first step's sees zeros. Parameters, not
buckets, say which mean is whose, since DDP builds its buckets anew after the first step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.futures import Future

from isthmus.errors import IsthmusError, Refused
from isthmus.hook.lane import Lane
from isthmus.hook.layout import Contents, Layout
from isthmus.hook.meter import Meter


@dataclass(eq=False)
class _Held:
    """A bucket's mean, flat: there, or an error, once `done` is. scale: of the loss behind it."""

    parameters: tuple[int, ...]
    mean: torch.Tensor
    scale: float
    done: "Future[torch.Tensor]"
    error: IsthmusError | None = None


class Delay:
    """Of one model at one rank. Between two steps it holds a mean of every parameter."""

    def __init__(
        self, layout: Layout, lane: Lane, meter: Meter, scaler: torch.amp.GradScaler | None
    ) -> None:
        self._layout = layout
        self._lane = lane
        self._meter = meter
        self._scaler = scaler
        self._scale = 1.0  # of this step's loss
        self._sizes = [parameter.numel() for parameter in layout.parameters]
        self._begins: dict[tuple[int, ...], dict[int, int]] = {}  # of parameters in a bucket
        self._before: dict[int, _Held] = {}  # by parameter: of the step before
        self._now: dict[int, _Held] = {}  # of this step
        self._free: dict[tuple[int, ...], list[torch.Tensor]] = {}
        self.warming = True
        """Whether the gradients of the last step were zeros, because none was before it."""
        self.failure: IsthmusError | None = None
        """Of the step whose mean was due; so all ranks of a site see it at the same step."""

    def take(
        self, buffer: torch.Tensor, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]":
        """Send a bucket across; the future brings `buffer` with the means of the step before."""
        if not self._now and self._scaler is not None:
            self._scale = float(self._scaler.get_scale())
        mean = self._room_like(buffer, contents)
        mean.copy_(buffer)
        held = _Held(contents.parameters, mean, self._scale, Future())
        done = self._lane.submit(mean, contents, is_last=is_last)
        held.done = done.then(lambda _: self._arrive(held))
        self._now.update(dict.fromkeys(contents.parameters, held))
        answer = self._give(buffer, contents)
        if is_last:
            self.warming = not self._before
            self._before, self._now = self._now, {}
        return answer

    def wait(self) -> None:
        """Until every mean is there, or its exchange has failed."""
        for held in _each(self._before):
            held.done.wait()
            self.failure = self.failure or held.error

    def flush(self) -> bool:
        """Write the means that are held over the gradients, and hold none. REQUIRES: wait()."""
        means = self._means()
        for i, mean in means.items():
            parameter = self._layout.parameters[i]
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(mean)
        self._before = {}
        self.warming = self.warming and not means
        return bool(means)

    def state(self) -> dict[str, Any]:
        """means: by parameter name, in its shape. REQUIRES: wait()."""
        means = self._means()
        scale = next((held.scale for held in self._before.values()), 1.0)
        names = self._layout.names
        return {"scale": scale, "means": {names[i]: means[i].cpu().clone() for i in sorted(means)}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold these means instead. Refused, and nothing is changed: they do not fit."""
        means, scale = state["means"], float(state["scale"])
        if means and set(means) != set(self._layout.names):
            raise Refused("the checkpoint's pending means are not of this model's parameters")
        loaded = {}
        for i, name in enumerate(self._layout.names if means else []):
            parameter = self._layout.parameters[i]
            if not isinstance(means[name], torch.Tensor) or means[name].shape != parameter.shape:
                raise Refused(
                    f"the checkpoint's pending mean of {name!r} is not of the shape "
                    f"{tuple(parameter.shape)}"
                )
            flat = torch.empty(self._sizes[i], dtype=parameter.dtype, device=parameter.device)
            _as(parameter, flat).copy_(means[name])
            done: Future[torch.Tensor] = Future(devices=_devices(flat))
            done.set_result(flat)
            loaded[i] = _Held((i,), flat, scale, done)
        self._before = loaded

    def _means(self) -> dict[int, torch.Tensor]:
        """Views in the parameters' shapes."""
        return {
            i: _as(self._layout.parameters[i], self._part(held, i))
            for i, held in self._before.items()
        }

    def _part(self, held: _Held, parameter: int) -> torch.Tensor:
        begin = self._begins_of(held.parameters)[parameter]
        return held.mean[begin : begin + self._sizes[parameter]]

    def _begins_of(self, parameters: tuple[int, ...]) -> dict[int, int]:
        if parameters not in self._begins:
            ends = accumulate((self._sizes[i] for i in parameters), initial=0)
            self._begins[parameters] = dict(zip(parameters, ends, strict=False))
        return self._begins[parameters]

    def _arrive(self, held: _Held) -> torch.Tensor:
        # Buckets are done in order, so what failed is this one, or one before it.
        held.error = self._lane.failure
        return held.mean

    def _give(self, buffer: torch.Tensor, contents: Contents) -> "Future[torch.Tensor]":
        sources = {i: self._before[i] for i in contents.parameters if i in self._before}
        if not sources:
            buffer.zero_()
            self._meter.given()
            answer: Future[torch.Tensor] = Future(devices=_devices(buffer))
            answer.set_result(buffer)
            return answer
        scale = self._scale

        def copy(_: object) -> torch.Tensor:
            try:
                self._copy(buffer, contents, sources, scale)
            except Exception as error:  # DDP would make another of it
                self._lane.fail(error)
                self.failure = self.failure or self._lane.failure
            for held in _each(sources):
                self.failure = self.failure or held.error
            self._meter.given()
            return buffer

        done = [held.done for held in _each(sources)]
        return done[0].then(copy) if len(done) == 1 else torch.futures.collect_all(done).then(copy)

    def _copy(
        self, buffer: torch.Tensor, contents: Contents, sources: dict[int, _Held], scale: float
    ) -> None:
        first = sources[contents.parameters[0]]
        if first.parameters == contents.parameters:
            buffer.copy_(first.mean)
            self._free.setdefault(first.parameters, []).append(first.mean)
        else:
            for i, begin in self._begins_of(contents.parameters).items():
                buffer[begin : begin + self._sizes[i]].copy_(self._part(sources[i], i))
        if first.scale != scale:
            buffer.mul_(scale / first.scale)

    def _room_like(self, buffer: torch.Tensor, contents: Contents) -> torch.Tensor:
        """Memory of two steps ago, where DDP's buckets have stayed the same."""
        free = self._free.get(contents.parameters)
        return free.pop() if free else torch.empty_like(buffer)


def _each(held: Mapping[int, _Held]) -> list[_Held]:
    """Without repetition, in order."""
    return list({id(each): each for each in held.values()}.values())


def _as(parameter: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """A view in the parameter's shape, laid out as DDP lays it out in a bucket."""
    dense = 1  # the stride of the next dimension, if memory has no gaps
    for stride, size in sorted(zip(parameter.stride(), parameter.size(), strict=True)):
        if size != 1 and stride != dense:
            return flat.view(parameter.shape)
        dense *= size
    return flat.as_strided(parameter.size(), parameter.stride(), flat.storage_offset())


def _devices(tensor: torch.Tensor) -> list[int | str | torch.device] | None:
    return [tensor.device] if tensor.device.type == "cuda" else None
