"""pipeline: the order of the stages, known here and nowhere else.

bucket > clip > noise > encode > exchange > decode > bucket
"""

from dataclasses import dataclass, field

from isthmus.arrays import Staged, Tensor, pinned_bytes
from isthmus.doors import Bucket, Mean, Parts, Wire
from isthmus.packing import Packing
from isthmus.session import Session, Work
from isthmus.spans import Spans, range_of
from isthmus.stages.clip import clip
from isthmus.stages.decode import decode
from isthmus.stages.encode import Draw, Memory, encode
from isthmus.stages.exchange import exchange
from isthmus.stages.noise import without_privacy
from isthmus.terms import Terms


@dataclass(frozen=True)
class Crossing:
    """A bucket on its way. terms: what comes back, and where; None: the mean, to staged.host."""

    staged: Staged
    work: Work
    terms: tuple[Terms, Tensor] | None


@dataclass(frozen=True)
class Pipeline:
    """One gradient's way out of the site and back. `clip_norm`: per bucket, None: none."""

    session: Session
    weight: float
    clip_norm: float | None = None
    spans: Spans = field(default_factory=Spans)

    def begin(
        self, staged: Staged, layout: int, packing: Packing, memory: Memory | None, draw: Draw
    ) -> Crossing:
        bucket = Bucket(staged.values, layout)
        if self.clip_norm is not None:
            with self.spans.of("clip"):
                bucket = clip(bucket, self.clip_norm)
        with self.spans.of("noise"):
            released = without_privacy(bucket)
        with self.spans.of("encode"):
            wire = encode(released, packing, memory, draw)
        with range_of("exchange"):
            crossing = self._exchange(staged, wire)
        self.spans.set_out()
        return crossing

    def _exchange(self, staged: Staged, wire: Wire) -> Crossing:
        if staged.host is not None:
            work = exchange(wire, self.session, staged.host, weight=self.weight)
            return Crossing(staged, work, None)
        terms = self.session.terms(wire.packing.table)
        room = pinned_bytes(terms.bytes)
        work = exchange(wire, self.session, room.numpy(), weight=self.weight, terms=True)
        return Crossing(staged, work, (terms, room))

    def finish(self, crossing: Crossing) -> bool:
        """Wait, and put the mean into the gradient; returns whether it is finite.

        Raises the exchange's error. Once for each crossing.
        """
        work, staged = crossing.work, crossing.staged
        try:
            with range_of("exchange_wait"):
                work.wait()
        finally:
            self.spans.arrive()
        with self.spans.of("decode"):
            if crossing.terms is not None:
                return decode(Parts(*crossing.terms, work.term_sum), staged.gradient)
            assert staged.host is not None
            return decode(Mean(staged.host, work.finite), staged.gradient)
