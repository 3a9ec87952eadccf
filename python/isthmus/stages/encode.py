"""encode: released values to wire bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.doors import Released, Wire
from isthmus.errors import Refused
from isthmus.packing import Packing, Segment

Residual = NDArray[np.float32] | NDArray[np.uint16]  # uint16: bfloat16


@dataclass(frozen=True)
class Memory:
    """What encode may write. One array for each segment; None where its way has no feedback.

    wire: as many bytes as the packing says, zeros at first. now: residuals that were left by the
    last good step (None: none yet). next: those that this step leaves, if it ends well.
    """

    wire: NDArray[np.uint8]
    now: tuple[Residual | None, ...]
    next: tuple[Residual | None, ...]


@dataclass(frozen=True)
class Draw:
    """Where stochastic rounding takes its numbers: no two buckets of a run from the same place."""

    key: int
    step: int
    bucket: int


def new_memory(packing: Packing) -> Memory:
    """For who keeps no residuals."""
    none = (None,) * len(packing.segments)
    return Memory(np.zeros(packing.offsets[-1], np.uint8), none, none)


def encode(released: Released, packing: Packing, memory: Memory | None, draw: Draw) -> Wire:
    """f32 passes as it is, without a copy: then the wire is the values' own memory.

    memory: None for a new one. The residuals of `now` are read, those of `next` written.
    """
    if not isinstance(released, Released):
        raise Refused(f"encode takes Released, not {type(released).__name__}: pass noise first")
    if released.values.size != packing.elements:
        raise Refused(f"{released.values.size} values are packed as {packing.elements}")
    if packing.exact:
        return Wire(packing, released.values, released.layout)
    memory = new_memory(packing) if memory is None else memory
    begin = 0
    for i, segment in enumerate(packing.segments):
        values = released.values[begin : begin + segment.elements]
        _encode_segment(i, segment, values, packing, memory, draw)
        begin += segment.elements
    return Wire(packing, memory.wire, released.layout)


def _encode_segment(
    i: int,
    segment: Segment,
    values: NDArray[np.float32],
    packing: Packing,
    memory: Memory,
    draw: Draw,
) -> None:
    at, codec, feedback = packing.offsets[i], segment.way.codec, segment.way.feedback
    _core.encode(
        codec.up,
        values,
        out=memory.wire[at : at + _core.wire_size(codec.up, segment.elements)],
        residual=memory.now[i],
        next_residual=memory.next[i],
        beta=1.0 if feedback is None else feedback.beta,
        dither=(draw.key, draw.step, draw.bucket, i) if codec.stochastic else None,
    )
