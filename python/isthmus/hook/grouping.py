"""grouping: in which buckets a backward pass goes across, where they are not DDP's.

DDP builds its buckets anew after its first pass. A site that comes in later has that pass before
it when the others have it behind them, and sites must reduce the same buckets. So it keeps its
first gradients until it has them all, and sends them in the others' buckets.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.futures import Future, collect_all

from isthmus.hook.layout import Contents, Layout


class Submit(Protocol):
    """Begins to replace a flat bucket by its mean."""

    def __call__(
        self, buffer: torch.Tensor, /, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]": ...


class Grouping:
    """Of one model. A bucket is told by its parameters' places in the model's order."""

    def __init__(self, layout: Layout, submit: Submit) -> None:
        self._layout = layout
        self._submit = submit
        self._passes = 0
        self._now: list[tuple[int, ...]] = []  # of this pass so far
        self._last: list[tuple[int, ...]] = []  # of the last one
        self._pass: _Pass | None = None  # this one, if it goes in other buckets

    @property
    def is_settled(self) -> bool:
        """Whether DDP will make the buckets of the last pass again in the next."""
        return self._passes > 1

    def state(self) -> list[list[int]]:
        """The buckets of the next pass. REQUIRES: is_settled; else they may be others."""
        return [list(places) for places in self._last]

    def load(self, state: Sequence[Sequence[int]]) -> None:
        """The next pass goes in these buckets, whatever DDP makes."""
        self._last = [tuple(places) for places in state]
        self._pass = _Pass(self._layout, self._last, self._submit) if self._last else None

    def take(
        self, buffer: torch.Tensor, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]":
        """One of DDP's buckets; the future brings it with the means."""
        other = self._pass
        if other is not None:
            future = other.take(buffer, contents, is_last=is_last)
        else:
            self._now.append(contents.parameters)
            future = self._submit(buffer, contents, is_last=is_last)
        if is_last:
            if other is None:
                self._last = self._now
            self._now, self._pass = [], None
            self._passes += 1
        return future


class _Pass:
    """One backward pass in other buckets."""

    def __init__(self, layout: Layout, buckets: Sequence[tuple[int, ...]], submit: Submit) -> None:
        self._layout = layout
        self._buckets = buckets
        self._submit = submit
        self._parts: dict[int, torch.Tensor] = {}  # of DDP's buckets, by parameter
        self._given: list[tuple[torch.Tensor, Future[torch.Tensor]]] = []

    def take(
        self, buffer: torch.Tensor, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]":
        future: Future[torch.Tensor] = Future(
            devices=[buffer.device] if buffer.device.type == "cuda" else None
        )
        self._given.append((buffer, future))
        begin = 0
        for i in contents.parameters:
            end = begin + self._layout.parameters[i].numel()
            self._parts[i] = buffer[begin:end]
            begin = end
        if is_last:
            self._send()
        return future

    def _send(self) -> None:
        flats = [torch.cat([self._parts[i] for i in places]) for places in self._buckets]
        works = []
        for number, (flat, places) in enumerate(zip(flats, self._buckets, strict=True)):
            last = number == len(flats) - 1
            works.append(self._submit(flat, self._layout.of_places(places), is_last=last))

        def give(_: object) -> None:
            for flat, places in zip(flats, self._buckets, strict=True):
                sizes = [self._parts[i].numel() for i in places]
                for i, mean in zip(places, torch.split(flat, sizes), strict=True):
                    self._parts[i].copy_(mean)
            for buffer, future in self._given:
                future.set_result(buffer)

        collect_all(works).then(give)
