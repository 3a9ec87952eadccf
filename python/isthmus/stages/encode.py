"""encode: released values to wire bytes, where the values are.

In host memory the native core encodes; on a device Triton does, on the current stream, and only the
wire is copied to the host. The same bytes and residuals come of both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.arrays import Tensor, copy_to_host, words_view
from isthmus.doors import Released, Wire
from isthmus.errors import Refused
from isthmus.packing import Packing, Segment


@dataclass(frozen=True)
class Memory:
    """What encode may write: tensors where the values are; one residual for each segment, None
    where its way has no feedback.

    wire: as many bytes as the packing says, zeros at first. host: the same in host memory; may be
    `wire` itself. now: residuals that the last good step left (None: none yet). next: those that
    this step leaves, if it ends well.
    """

    wire: Tensor
    host: Tensor
    now: tuple[Tensor | None, ...]
    next: tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Draw:
    """Where stochastic rounding takes its numbers: no two buckets of a run from the same place."""

    key: int
    step: int
    bucket: int


def encode(released: Released, packing: Packing, memory: Memory | None, draw: Draw) -> Wire:
    """f32 in host memory passes as it is, without a copy: the wire is the values' own memory.

    memory: None only for such. The residuals of `now` are read, those of `next` written.
    """
    if not isinstance(released, Released):
        raise Refused(f"encode takes Released, not {type(released).__name__}: pass noise first")
    values = released.values
    in_host_memory = isinstance(values, np.ndarray)
    if len(values) != packing.elements:
        raise Refused(f"{len(values)} values are packed as {packing.elements}")
    if packing.exact and isinstance(values, np.ndarray):
        return Wire(packing, values, released.layout)
    if memory is None:
        raise Refused("encode needs memory for a wire that is not the values themselves")
    begin = 0
    for i, segment in enumerate(packing.segments):
        part = values[begin : begin + segment.elements]
        write: Callable[..., None] = _on_host if in_host_memory else _on_device
        write(i, segment, part, packing.offsets[i], memory, draw)
        begin += segment.elements
    if memory.host is not memory.wire:
        copy_to_host(memory.wire, memory.host)
    return Wire(packing, memory.host.numpy(), released.layout)


def _on_host(
    i: int,
    segment: Segment,
    values: NDArray[np.float32],
    at: int,
    memory: Memory,
    draw: Draw,
) -> None:
    codec, feedback = segment.way.codec, segment.way.feedback
    now, following = memory.now[i], memory.next[i]
    _core.encode(
        codec.up,
        values,
        out=memory.wire.numpy()[at : at + _core.wire_size(codec.up, segment.elements)],
        residual=None if now is None else words_view(now),
        next_residual=None if following is None else words_view(following),
        beta=1.0 if feedback is None else feedback.beta,
        dither=(draw.key, draw.step, draw.bucket, i) if codec.stochastic else None,
    )


def _on_device(
    i: int, segment: Segment, values: Tensor, at: int, memory: Memory, draw: Draw
) -> None:
    from isthmus.kernels import codecs

    codec, feedback = segment.way.codec, segment.way.feedback
    codecs.device(codec.up).encode(
        values,
        memory.wire[at : at + _core.wire_size(codec.up, segment.elements)],
        residual=memory.now[i],
        next_residual=memory.next[i],
        beta=1.0 if feedback is None else feedback.beta,
        dither=(draw.key, 0, draw.step, draw.bucket, i) if codec.stochastic else None,
    )
