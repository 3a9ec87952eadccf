"""lane: gradients out of the site, across, and back, in the order they were handed over.

A bucket is cut in a shard for each rail, and each shard goes its own way:

reduce in the site > pipeline at the rail's gateway > a word (well, or the error) > broadcast.

A gateway has a thread that sends its shards across. For each rail, every rank has a thread that
gives or hears the words, so that no rail's failure is heard late behind a slow rail. Broadcasts
begin in one order at all ranks, by bucket and rail, in one thread; where there is one rail, that is
the words'. The next bucket's shards cross meanwhile.

Every future is completed, whatever happens: an incomplete one would block backward for ever. The
first failure, by bucket and rail, is kept in `failure`: look there before training goes on.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import torch
import torch.distributed as dist
from torch.futures import Future

from isthmus.arrays import stage
from isthmus.errors import InternalError, IsthmusError, PeerLost, typed
from isthmus.hook.attendance import Attendance
from isthmus.hook.layout import Contents
from isthmus.hook.meter import Meter
from isthmus.hook.residuals import Residuals
from isthmus.hook.shards import Shards
from isthmus.hook.site import Site, Word
from isthmus.hook.steps import Step, Steps
from isthmus.packing import EXACT, pack
from isthmus.pipeline import Crossing, Pipeline
from isthmus.spans import Spans
from isthmus.stages.encode import Draw

_exit_seconds = 10.0


@dataclass
class _Shard:
    """A bucket's part on one rail; never empty."""

    rail: int
    flat: torch.Tensor  # float32
    reducing: dist.Work | None = None
    crossing: Crossing | None = None
    error: IsthmusError | None = None
    word: Word | None = None  # the gateway's last; None: not yet


@dataclass
class _Item:
    gradient: torch.Tensor  # what DDP reads when the future is done
    flat: torch.Tensor  # the same in float32; often the same memory
    contents: Contents
    step: Step | None  # None: not a gradient, and passed exactly
    place: int  # in the step
    future: "Future[torch.Tensor]"
    shards: list[_Shard]
    computed: torch.cuda.Event | None = None


_Queue = SimpleQueue[tuple[_Item, _Shard] | None]


class Lane:
    """One per hook. `pipeline` is a gateway's; None at other ranks."""

    def __init__(
        self,
        site: Site,
        pipeline: Pipeline | None,
        shards: Shards,
        residuals: Residuals,
        meter: Meter,
        spans: Spans,
        device: torch.device,
        *,
        apart: bool,
    ) -> None:
        """apart: steps may overlap. Who hands over a bucket waits then only for the step before,
        and only where residuals may have to change their rail."""
        self.failure: IsthmusError | None = None
        self._shards = shards
        self._residuals = residuals
        self._steps = Steps(self._end_step)
        self.attendance = Attendance(None if pipeline is None else pipeline.session)
        self._site = site
        self._pipeline = pipeline
        self._meter = meter
        self._spans = spans
        self._device = device
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._halted: IsthmusError | None = None  # the first failure that this rank came to know
        self._site_broken = False
        self._closed = False
        self._sending: _Queue = SimpleQueue()
        self._unsent = 0
        self._all_sent = threading.Condition()
        self._speaking: list[_Queue] = [SimpleQueue() for _ in range(site.rails)]
        self._spoken: list[_Queue] = [SimpleQueue() for _ in range(site.rails)]
        self._spreading: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # One rank and host memory: nothing to wait for, so the backward thread sends by itself.
        if site.size > 1 or self._side is not None or apart:
            self._start()

    def _start(self) -> None:
        rails = range(self._site.rails)
        jobs: list[Callable[[], None]] = [partial(self._speak_all, rail) for rail in rails]
        if self._pipeline is not None:
            jobs.append(self._send_all)
        if self._site.rails > 1:
            jobs.append(self._spread_all)
        for job in jobs:
            # Daemons only so that a forgotten close() reaches the exit handlers, which join.
            thread = threading.Thread(target=job, name="isthmus-lane", daemon=True)
            thread.start()
            self._threads.append(thread)

    def begin_at(self, step: int) -> None:
        """Number the next step so: what rounding draws goes by it."""
        self._steps.begin_at(step)

    def fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = typed(error)

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
        flat = gradient.to(torch.float32) if self._threads else gradient
        item = _Item(gradient, flat, contents, step, place, future, self._cut(flat, contents, step))
        if not item.shards:
            self._complete(item, None)
            return future
        if self._threads:
            self._hand_over(item)
            return future
        (shard,) = item.shards
        try:
            self._begin(item, shard).work.when_done(lambda work: self._arrive(item, shard))
        except Exception as error:
            self._complete(item, error)
        return future

    def _cut(self, flat: torch.Tensor, contents: Contents, step: Step | None) -> list[_Shard]:
        of = self._shards
        cut = of.of_exact(flat.numel()) if step is None else of.of(contents)
        bounds = [cut.bounds(rail) for rail in range(self._site.rails)]
        return [_Shard(rail, flat[b:e]) for rail, (b, e) in enumerate(bounds) if b < e]

    def _hand_over(self, item: _Item) -> None:
        """To the threads, with the sums within the site begun."""
        if item.step is not None:
            self._send_strays(item, item.step)
        if self._site.size > 1 and not self._site_broken:
            with self._spans.of("reduce"):
                for shard in item.shards:
                    shard.reducing = self._site.start_reduce(shard.flat, shard.rail)
        if self._side is not None:
            item.flat.record_stream(self._side)
            item.computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
            item.computed.record()
        if self._site.rails > 1:
            self._spreading.put(item)
        for shard in item.shards:
            own = self._is_own(shard.rail)
            if own:
                with self._all_sent:
                    self._unsent += 1
            (self._sending if own else self._speaking[shard.rail]).put((item, shard))

    def _send_strays(self, item: _Item, step: Step) -> None:
        if self._residuals.may_stray(item.contents):
            self._steps.wait(step.number - 1)
            if self._side is not None:  # on which that step wrote its residuals
                torch.cuda.current_stream(self._device).wait_stream(self._side)
        self._residuals.send_strays(item.contents, item.flat)

    def wait_sent(self) -> None:
        """Until every shard of this rank's rail that was handed over has begun, or failed to."""
        with self._all_sent:
            self._all_sent.wait_for(lambda: self._unsent == 0)

    def close(self) -> None:
        """End the threads; what is in flight ends first."""
        if self._closed:
            return
        self._closed = True
        self._sending.put(None)
        self._spreading.put(None)
        for rail, queue in enumerate(self._speaking):
            if not self._is_own(rail):
                queue.put(None)
        for thread in self._threads:
            thread.join(_exit_seconds)

    def _is_own(self, rail: int) -> bool:
        return self._pipeline is not None and rail == self._site.rank

    def _begin(self, item: _Item, shard: _Shard) -> Crossing:
        stopped = self.failure or self._halted
        if stopped is not None:
            raise stopped
        assert self._pipeline is not None
        key = self._pipeline.session.dither_key
        if item.step is None:
            packing, memory = pack([(EXACT, shard.flat.numel())]), None
            draw = Draw(key, 0, 0)  # rounds nothing, draws nothing
            staged = stage(shard.flat, on_device=False)
        else:
            if self._residuals.between_steps:
                self._steps.wait(item.step.number - 1)
            packing, memory = self._residuals.memory_for(item.contents)
            draw = Draw(key, item.step.number % 2**32, item.place)
            staged = stage(shard.flat, on_device=self._residuals.on_device)
        crossing = self._pipeline.begin(staged, item.contents.hash, packing, memory, draw)
        shard.crossing = crossing
        return crossing

    def _finish(self, shard: _Shard) -> Word:
        assert shard.crossing is not None and self._pipeline is not None
        return Word(finite=self._pipeline.finish(shard.crossing))

    def _arrive(self, item: _Item, shard: _Shard) -> None:
        try:
            shard.word = self._finish(shard)
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
            finite = all(shard.word is not None and shard.word.finite for shard in item.shards)
            there = [shard.crossing.work.contributors for shard in item.shards if shard.crossing]
            well = error is None and finite
            self._steps.finish(item.step, well=well, contributors=there if error is None else ())
        self._meter.result()
        item.future.set_result(item.gradient)

    def _end_step(self, step: Step) -> None:
        self._residuals.end_step(well=step.well)
        self.attendance.end_step(step.number, step.contributors)

    # A gateway's: its rail's shards, out of the site and across.

    def _send_all(self) -> None:
        own = self._speaking[self._site.rank]
        with self._stream():
            while (sent := self._sending.get()) is not None:
                item, shard = sent
                try:
                    self._settle(item, shard)
                    if self._site.size > 1:
                        shard.flat.div_(self._site.size)
                    self._begin(item, shard)
                except Exception as error:
                    shard.error = typed(error)
                own.put(sent)
                with self._all_sent:
                    self._unsent -= 1
                    self._all_sent.notify_all()
            own.put(None)

    # Of each rail: its words, given by the gateway and heard by the others.

    def _speak_all(self, rail: int) -> None:
        speak = self._speak if self._is_own(rail) else self._listen
        with self._stream():
            while (spoken := self._speaking[rail].get()) is not None:
                item, shard = spoken
                word = speak(item, shard)
                if word.error is not None:
                    self._halt(word.error)
                shard.word = word
                if self._site.rails > 1:
                    self._spoken[rail].put(spoken)
                else:
                    self._spread(item)

    def _speak(self, item: _Item, shard: _Shard) -> Word:
        word = Word(shard.error, finite=False)
        if shard.error is None:
            try:
                word = self._finish(shard)
            except Exception as error:
                word = Word(typed(error), finite=False)
        if self._site.size == 1:
            return word
        try:
            with self._spans.of("broadcast"):
                self._site.send_word(word, shard.rail, wait=not self._site_broken)
        except Exception as error:
            return Word(self._leave(error), finite=False)
        return word

    def _listen(self, item: _Item, shard: _Shard) -> Word:
        try:
            self._settle(item, shard)
            if self._site_broken:
                raise self._halted or InternalError("the site is broken")
            return self._site.receive_word(shard.rail)
        except Exception as error:
            return Word(self._leave(error), finite=False)

    # Of all rails: back to every rank.

    def _spread_all(self) -> None:
        with self._stream():
            while (item := self._spreading.get()) is not None:
                for shard in item.shards:
                    self._spoken[shard.rail].get()
                self._spread(item)

    def _spread(self, item: _Item) -> None:
        errors = [shard.word.error for shard in item.shards if shard.word is not None]
        failed = next((error for error in errors if error is not None), None)
        if failed is None and self._site_broken:
            failed = self._halted
        if failed is None and self._site.size > 1:
            try:
                with self._spans.of("broadcast"):
                    self._broadcast(item)
            except Exception as error:
                failed = self._leave(error)
        self._complete(item, failed)

    def _broadcast(self, item: _Item) -> None:
        works = [self._site.start_broadcast(each.flat, each.rail) for each in item.shards]
        for work in works:
            if work is not None:
                work.wait()

    def _settle(self, item: _Item, shard: _Shard) -> None:
        """Wait until a shard holds the site's sum (at its gateway)."""
        if item.computed is not None and self._side is not None:
            self._side.wait_event(item.computed)
        if shard.reducing is None:
            return
        try:
            with self._spans.of("reduce"):
                shard.reducing.wait()
        except Exception as error:
            raise self._leave(error) from error

    def _halt(self, error: IsthmusError) -> None:
        """Begin nothing more; and the other sites end this gateway's rail for the same reason."""
        if self._halted is None:
            self._halted = error
        if self._pipeline is not None and self._site.rails > 1:
            self._pipeline.session.abort(error)

    def _leave(self, error: Exception) -> IsthmusError:
        """The site's own ranks cannot reach each other: leave the run, so others need not wait."""
        if isinstance(error, IsthmusError):
            return error
        lost = PeerLost(f"a rank of this site is gone, seen by rank {self._site.rank}: {error}")
        if self._halted is None:
            self._halted = lost
        self._site_broken = True
        if self._pipeline is not None:
            self._pipeline.session.close()
        return lost

    def _stream(self) -> contextlib.AbstractContextManager[object]:
        if self._side is None:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._side)
