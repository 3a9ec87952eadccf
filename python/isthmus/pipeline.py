"""pipeline: the order of the stages, known here and nowhere else.

bucket > clip > noise > encode > exchange > decode > bucket
"""

from dataclasses import dataclass

from isthmus.arrays import Staged
from isthmus.doors import Bucket
from isthmus.packing import Packing
from isthmus.session import Session, Work
from isthmus.stages.clip import clip
from isthmus.stages.decode import decode
from isthmus.stages.encode import Draw, Memory, encode
from isthmus.stages.exchange import exchange
from isthmus.stages.noise import without_privacy


@dataclass(frozen=True)
class Pipeline:
    """One gradient's way out of the site and back. `clip_norm`: per bucket, None: none."""

    session: Session
    weight: float
    clip_norm: float | None = None

    def begin(
        self, staged: Staged, layout: int, packing: Packing, memory: Memory | None, draw: Draw
    ) -> Work:
        """Send; the staged host memory holds the mean of all sites when the work is done well."""
        bucket = Bucket(staged.values, layout)
        if self.clip_norm is not None:
            bucket = clip(bucket, self.clip_norm)
        wire = encode(without_privacy(bucket), packing, memory, draw)
        return exchange(wire, self.session, staged.host, weight=self.weight)

    def finish(self, staged: Staged) -> None:
        """Put the mean back into the gradient. REQUIRES: the work is done well."""
        decode(staged.host, staged.gradient)
