"""packing: which parameter travels in which way, and so what a bucket's wire is made of."""

import bisect
import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from isthmus import _core
from isthmus.codecs import F32, Bf16, Codec, Feedback, parse
from isthmus.errors import Refused

CodecRule = str | Codec | Mapping[str, str | Codec]
FeedbackRule = bool | Feedback
_whole_blocks = 4096  # elements: a number of whole blocks of every codec


@dataclass(frozen=True)
class Way:
    """How one parameter travels. feedback: None for no residual."""

    codec: Codec
    feedback: Feedback | None = None


EXACT = Way(F32())


class Rules:
    """From a parameter's name and number of dimensions to its way.

    codec: one for all parameters of two dimensions or more, the others (norms, biases) then go as
    bf16; or a mapping from patterns ("*.weight", see fnmatch) to codecs, of which the first that
    matches a name counts. feedback: True (wherever the codec takes it, except int8), False, or
    Feedback(...) wherever the codec takes it.
    """

    def __init__(self, codec: CodecRule, feedback: FeedbackRule = True) -> None:
        if isinstance(codec, Mapping):
            if not codec:
                raise Refused("codec is an empty mapping: give it a pattern, such as '*'")
            self._patterns = [(pattern, parse(each)) for pattern, each in codec.items()]
            self.text = json.dumps({pattern: str(each) for pattern, each in self._patterns})
            codecs = [each for _, each in self._patterns]
        else:
            self._patterns = []
            self._codec = parse(codec)
            self.text = str(self._codec)
            codecs = [self._codec]
        if not isinstance(feedback, bool | Feedback):
            raise Refused(f"feedback is {feedback!r}; expected True, False or a Feedback")
        if isinstance(feedback, Feedback) and not any(each.takes_feedback for each in codecs):
            raise Refused(
                f"error feedback has no use with {self.text}: it is for int8, int4, int2, sign and "
                "topk, rounded to nearest"
            )
        self._feedback = feedback

    def of(self, name: str, dimensions: int) -> Way:
        """Refused: no pattern matches the name."""
        codec = self._codec_of(name, dimensions)
        if self._feedback is False or not codec.takes_feedback:
            return Way(codec)
        if isinstance(self._feedback, Feedback):
            return Way(codec, self._feedback)
        return Way(codec, None if codec.up == "int8" else Feedback())

    def _codec_of(self, name: str, dimensions: int) -> Codec:
        if not self._patterns:
            lossless = self._codec.up in ("f32", "bf16")
            return self._codec if dimensions > 1 or lossless else Bf16()
        for pattern, codec in self._patterns:
            if fnmatch.fnmatchcase(name, pattern):
                return codec
        raise Refused(
            f"no pattern of codec matches parameter {name!r}: end the mapping with '*', such as "
            "'*': 'bf16'"
        )


@dataclass(frozen=True)
class Segment:
    """A run of a bucket's elements that travel in one way."""

    way: Way
    elements: int


@dataclass(frozen=True)
class Packing:
    """A bucket's segments in order: neighbours that travel in one way are one segment."""

    segments: tuple[Segment, ...]

    @cached_property
    def elements(self) -> int:
        return sum(segment.elements for segment in self.segments)

    @cached_property
    def table(self) -> list[tuple[str, str, int]]:
        """As the native core takes it."""
        return [(s.way.codec.up, s.way.codec.down, s.elements) for s in self.segments]

    @cached_property
    def offsets(self) -> list[int]:
        """Where each segment's wire begins; last, where the last one ends."""
        return _core.segment_offsets(self.table)

    def part(self, begin: int, end: int) -> "Packing":
        """Of elements [begin, end) of the bucket."""
        segments = []
        at = 0
        for segment in self.segments:
            here = min(end, at + segment.elements) - max(begin, at)
            if here > 0:
                segments.append(Segment(segment.way, here))
            at += segment.elements
        return Packing(tuple(segments))

    @property
    def exact(self) -> bool:
        """Whether the wire is the elements as they are."""
        return len(self.table) == 1 and self.table[0][0] == "f32"


def pack(parts: Sequence[tuple[Way, int]]) -> Packing:
    """The packing of parameters with so many elements each. Empty ones count for nothing."""
    filled = [(way, elements) for way, elements in parts if elements]
    return Packing(
        tuple(
            Segment(way, sum(elements for _, elements in run))
            for way, run in groupby(filled, key=lambda part: part[0])
        )
    )


def cut(packing: Packing, shards: int) -> tuple[int, ...]:
    """Where to cut a bucket into so many shards: their edges, from 0 to its number of elements.

    Shards are as even as whole blocks of the segments allow, so that one that is cut travels as the
    same wire in pieces. What is too small for that is one shard, and the others are empty.
    """
    offers = [0]
    for segment in packing.segments:
        begin = offers[-1]
        offers += range(begin + _whole_blocks, begin + segment.elements, _whole_blocks)
        offers.append(begin + segment.elements)
    total = offers[-1]
    inner = [_nearest(offers, total * shard / shards) for shard in range(1, shards)]
    return (0, *inner, total)


def _nearest(offers: Sequence[int], ideal: float) -> int:
    """Of two that are equally near, the later."""
    above = bisect.bisect_left(offers, ideal)
    if above == 0 or offers[above] - ideal <= ideal - offers[above - 1]:
        return offers[above]
    return offers[above - 1]
