"""lane: gradients out of the site, across, and back, in the order they were handed over.

reduce in the site > pipeline at the gateway > a word (well, or the error) > broadcast in the site.

Every future is completed, whatever happens: an incomplete one would block backward for ever. The
first failure is kept in `failure`, and whoever lets the training go on must look there.
"""

import contextlib
import threading
from dataclasses import dataclass
from queue import SimpleQueue

import torch
import torch.distributed as dist
from torch.futures import Future

from isthmus.arrays import stage
from isthmus.errors import InternalError, IsthmusError, PeerLost
from isthmus.hook.layout import Contents
from isthmus.hook.meter import Meter
from isthmus.hook.residuals import Residuals
from isthmus.hook.site import Site
from isthmus.hook.steps import Step, Steps
from isthmus.packing import EXACT, pack
from isthmus.pipeline import Crossing, Pipeline
from isthmus.spans import Spans
from isthmus.stages.encode import Draw

_exit_seconds = 10.0


@dataclass
class _Item:
    gradient: torch.Tensor  # what DDP reads when the future is done
    flat: torch.Tensor  # the same in float32; often the same memory
    contents: Contents
    step: Step | None  # None: not a gradient, and passed exactly
    place: int  # in the step
    future: "Future[torch.Tensor]"
    reducing: dist.Work | None = None
    computed: torch.cuda.Event | None = None
    crossing: Crossing | None = None
    finite: bool = False
    error: IsthmusError | None = None


class Lane:
    """One per hook. `pipeline` and `residuals` are the gateway's; None at other ranks."""

    def __init__(
        self,
        site: Site,
        pipeline: Pipeline | None,
        residuals: Residuals | None,
        meter: Meter,
        spans: Spans,
        device: torch.device,
        *,
        apart: bool,
    ) -> None:
        """apart: steps may overlap, and who hands over a bucket never waits for one before it."""
        self.failure: IsthmusError | None = None
        self._residuals = residuals
        self._steps = Steps(self._end_step)
        self._site = site
        self._pipeline = pipeline
        self._meter = meter
        self._spans = spans
        self._device = device
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._site_broken = False
        self._closed = False
        self._reducing: SimpleQueue[_Item | None] = SimpleQueue()
        self._crossing: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # One rank and host memory: nothing to wait for, so the backward thread sends by itself.
        if site.size > 1 or self._side is not None or apart:
            jobs = [self._send_all, self._return_all] if pipeline else [self._follow_all]
            for job in jobs:
                # Daemons only so that a forgotten close() reaches the exit handlers, which join.
                thread = threading.Thread(target=job, name="isthmus-lane", daemon=True)
                thread.start()
                self._threads.append(thread)

    def fail(self, error: Exception) -> None:
        if self.failure is None:
            kept = error if isinstance(error, IsthmusError) else _unforeseen(error)
            self.failure = kept

    def submit(
        self, gradient: torch.Tensor, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]":
        """Begin to replace a flat bucket of gradients by the mean over all ranks of all sites.

        is_last: of its step. Never raises for what happens on the way.
        """
        step, place = self._steps.hand_over(is_last=is_last)
        return self._submit(gradient, contents, step, place)

    def submit_exactly(self, values: torch.Tensor, contents: Contents) -> "Future[torch.Tensor]":
        """The same of values that are no gradients: as f32, whatever the codec."""
        return self._submit(values, contents, None, 0)

    def _submit(
        self, gradient: torch.Tensor, contents: Contents, step: Step | None, place: int
    ) -> "Future[torch.Tensor]":
        future: Future[torch.Tensor] = Future(devices=[self._device] if self._side else None)
        item = _Item(gradient, gradient, contents, step, place, future)
        if self._threads:
            item.flat = gradient.to(torch.float32)
            if self._site.size > 1 and not self._site_broken:
                with self._spans.of("reduce"):
                    item.reducing = self._site.start_reduce(item.flat)
            if self._side is not None:
                item.flat.record_stream(self._side)
                item.computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
                item.computed.record()
            self._reducing.put(item)
            return future
        try:
            self._begin(item).work.when_done(lambda work: self._arrive(item))
        except Exception as error:
            self._complete(item, error)
        return future

    def close(self) -> None:
        """End the threads; what is in flight ends first."""
        if not self._closed:
            self._closed = True
            self._reducing.put(None)
            for thread in self._threads:
                thread.join(_exit_seconds)

    def _begin(self, item: _Item) -> Crossing:
        if self.failure is not None:
            raise self.failure
        assert self._pipeline is not None and self._residuals is not None
        key = self._pipeline.session.dither_key
        if item.step is None:
            packing, memory = pack([(EXACT, item.flat.numel())]), None
            draw = Draw(key, 0, 0)  # rounds nothing, draws nothing
            staged = stage(item.flat, on_device=False)
        else:
            if self._residuals.between_steps:
                self._steps.wait(item.step.number - 1)
            packing, memory = self._residuals.memory_for(item.contents)
            draw = Draw(key, item.step.number % 2**32, item.place)
            staged = stage(item.flat, on_device=self._residuals.on_device)
        crossing = self._pipeline.begin(staged, item.contents.hash, packing, memory, draw)
        item.crossing = crossing
        return crossing

    def _finish(self, item: _Item) -> None:
        assert item.crossing is not None and self._pipeline is not None
        item.finite = self._pipeline.finish(item.crossing)

    def _arrive(self, item: _Item) -> None:
        try:
            self._finish(item)
        except Exception as error:
            self._complete(item, error)
        else:
            self._complete(item, None)

    def _complete(self, item: _Item, error: Exception | None) -> None:
        try:
            if error is None and item.flat is not item.gradient:
                item.gradient.copy_(item.flat)
        except Exception as late:
            error = late
        if error is not None:
            self.fail(error)
        if item.step is not None:
            self._steps.finish(item.step, well=error is None and item.finite)
        self._meter.result()
        item.future.set_result(item.gradient)

    def _end_step(self, well: bool) -> None:
        if self._residuals is not None:
            self._residuals.end_step(well=well)

    # The gateway's two threads.

    def _send_all(self) -> None:
        with self._stream():
            while (item := self._reducing.get()) is not None:
                try:
                    self._settle(item)
                    self._begin(item)
                except Exception as error:
                    item.error = self._typed(error)
                self._crossing.put(item)
            self._crossing.put(None)

    def _return_all(self) -> None:
        with self._stream():
            while (item := self._crossing.get()) is not None:
                if item.error is None:
                    try:
                        self._finish(item)
                    except Exception as error:
                        item.error = self._typed(error)
                if item.error is not None:
                    self.fail(item.error)
                self._tell_site(item)
                self._complete(item, item.error)

    def _tell_site(self, item: _Item) -> None:
        if self._site.size == 1 or self._site_broken:
            return
        try:
            with self._spans.of("broadcast"):
                self._site.send_word(item.error)
                if item.error is None:
                    self._site.broadcast(item.flat)
        except Exception as error:
            item.error = self._leave(error)

    # The other ranks' one thread.

    def _follow_all(self) -> None:
        with self._stream():
            while (item := self._reducing.get()) is not None:
                try:
                    self._settle(item)
                    if self._site_broken:
                        raise self.failure or InternalError("the site is broken")
                    item.error, _ = self._site.receive_word()
                    if item.error is None:
                        with self._spans.of("broadcast"):
                            self._site.broadcast(item.flat)
                except Exception as error:
                    item.error = self._leave(error)
                self._complete(item, item.error)

    def _settle(self, item: _Item) -> None:
        """Wait until `flat` holds the site's mean (at the gateway)."""
        if item.computed is not None and self._side is not None:
            self._side.wait_event(item.computed)
        if item.reducing is None:
            return
        try:
            with self._spans.of("reduce"):
                item.reducing.wait()
        except Exception as error:
            raise self._leave(error) from error
        item.flat.div_(self._site.size)

    def _leave(self, error: Exception) -> IsthmusError:
        """The site's own ranks cannot reach each other: leave the run, so others need not wait."""
        if isinstance(error, IsthmusError):
            return error
        lost = PeerLost(f"a rank of this site is gone, seen by rank {self._site.rank}: {error}")
        self.fail(lost)
        self._site_broken = True
        if self._pipeline is not None:
            self._pipeline.session.close()
        return lost

    def _typed(self, error: Exception) -> IsthmusError:
        return error if isinstance(error, IsthmusError) else _unforeseen(error)

    def _stream(self) -> contextlib.AbstractContextManager[object]:
        if self._side is None:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._side)


def _unforeseen(error: Exception) -> InternalError:
    made = InternalError(f"{type(error).__name__}: {error}")
    made.__cause__ = error
    return made
