"""terms: the wires that a mean is the weighted sum of, for who decodes and adds by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from isthmus import _core


@dataclass(frozen=True)
class Terms:
    """What an exchange brings: every site's wire, by rank, or the one that owners made of all.

    count: how many. stride: bytes from one to the next. segments: of each, as the native core
    takes them; the first codec counts.
    """

    count: int
    stride: int
    segments: Sequence[tuple[str, str, int]]

    @property
    def bytes(self) -> int:
        return self.count * self.stride

    @cached_property
    def offsets(self) -> list[int]:
        """Where each segment begins in a term; last, where the last one ends."""
        return _core.segment_offsets(self.segments)


@dataclass(frozen=True)
class TermSum:
    """mean = (the sum of weights[i] * term i, in order) / divisor, in float32 at each step."""

    weights: list[float]
    divisor: float
