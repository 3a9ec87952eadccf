"""What may carry gradients between the sites in the ddp bench; each is a way of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TORCH_BUCKET_MB = 25.0


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """library: "isthmus", "gloo" (plain DDP over all ranks of all sites), or "alone": nothing
    crosses. codec, delay: of isthmus. bucket_mb: of DDP's buckets."""

    library: str
    codec: str = "f32"
    delay: int = 0
    bucket_mb: float = TORCH_BUCKET_MB

    @property
    def name(self) -> str:
        """In words: whatever is not as usual is said."""
        words = [f"isthmus {self.codec}" if self.library == "isthmus" else self.library]
        if self.bucket_mb != TORCH_BUCKET_MB:
            words.append(f"buckets of {self.bucket_mb:g} MB")
        if self.delay:
            words.append("a step late")
        return ", ".join(words)


def carriers(
    codecs: Sequence[str], late: Sequence[str], bucket_mb: Sequence[float], *, gloo: bool
) -> list[Carrier]:
    """Alone, every codec and gloo with every size of buckets, and codecs a step late with the first
    of the sizes: none of it waits for a bucket."""
    ours = [Carrier(library="isthmus", codec=c, bucket_mb=mb) for c in codecs for mb in bucket_mb]
    ours += [Carrier(library="isthmus", codec=c, delay=1, bucket_mb=bucket_mb[0]) for c in late]
    theirs = [Carrier(library="gloo", bucket_mb=mb) for mb in bucket_mb] if gloo else []
    return [Carrier(library="alone"), *ours, *theirs]
