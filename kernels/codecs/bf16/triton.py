# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""bf16 in Triton (format.md).

Integer arithmetic, as the hardware's conversion would lose a NaN's sign and payload.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs.triton import (
    Dither,
    Noise,
    checked,
    launch_flat,
    new_floats,
    new_wire,
    words,
)
from isthmus.kernels.dp.clip_noise.triton import clip_noise

WIDTH = 2


@triton.jit
def bits_of(x):
    word = x.to(tl.uint32, bitcast=True)
    upper = word >> 16
    rounded = (word + 0x7FFF + (upper & 1)) >> 16
    nan = (word & 0x7FFFFFFF) > 0x7F800000
    return tl.where(nan, upper | 0x40, rounded).to(tl.uint16).to(tl.int16, bitcast=True)


@triton.jit
def value_of(bits):
    return (bits.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def encode_kernel(x, wire, elements, BLOCK: tl.constexpr):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    if begin + BLOCK <= elements:
        tl.store(wire + at, bits_of(tl.load(x + at)))
    else:
        inside = at < elements
        tl.store(wire + at, bits_of(tl.load(x + at, mask=inside)), mask=inside)


@triton.jit
def decode_kernel(wire, out, elements, BLOCK: tl.constexpr):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    if begin + BLOCK <= elements:
        tl.store(out + at, value_of(tl.load(wire + at)))
    else:
        inside = at < elements
        tl.store(out + at, value_of(tl.load(wire + at, mask=inside)), mask=inside)


@triton.jit
def decode_add_kernel(wire, total, weight, elements, BLOCK: tl.constexpr):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    if begin + BLOCK <= elements:
        product = weight * value_of(tl.load(wire + at))
        tl.store(total + at, tl.load(total + at) + product)
    else:
        inside = at < elements
        product = weight * value_of(tl.load(wire + at, mask=inside))
        tl.store(total + at, tl.load(total + at, mask=inside) + product, mask=inside)


class Bf16:
    """The codec."""

    def wire_size(self, elements: int) -> int:
        return WIDTH * elements

    def encode(
        self,
        x: torch.Tensor,
        out: torch.Tensor | None = None,
        *,
        residual: torch.Tensor | None = None,
        next_residual: torch.Tensor | None = None,
        beta: float = 1.0,
        dither: Dither | None = None,
        noise: Noise | None = None,
    ) -> torch.Tensor:
        if residual is not None or next_residual is not None or dither is not None:
            raise ValueError("bf16 takes neither error feedback nor stochastic rounding")
        flat = checked(x, torch.float32, x.numel(), "x")
        if noise is not None:
            flat = clip_noise(flat, noise)  # a pass of its own
        wire = new_wire(x, self.wire_size(flat.numel()), out)
        launch_flat(encode_kernel, flat.numel(), flat, words(wire, flat.numel(), torch.int16))
        return wire

    def decode(
        self, wire: torch.Tensor, elements: int, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        values = new_floats(wire, elements, out)
        flat = checked(values, torch.float32, elements, "out")
        launch_flat(decode_kernel, elements, words(wire, elements, torch.int16), flat)
        return values

    def decode_add(self, wire: torch.Tensor, weight: float, total: torch.Tensor) -> None:
        flat = checked(total, torch.float32, total.numel(), "total")
        launch_flat(
            decode_add_kernel,
            flat.numel(),
            words(wire, flat.numel(), torch.int16),
            flat,
            float(weight),
        )


CODECS = {"bf16": Bf16()}
