# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""bf16 in Triton (format.md).

Integer arithmetic, as the hardware's conversion would lose a NaN's sign and payload.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs.flat import Flat


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


CODECS = {
    "bf16": Flat(
        "bf16",
        encode_kernel,
        decode_kernel,
        decode_add_kernel,
        word=torch.int16,
        plain=torch.float32,
        summed=torch.int16,
    )
}
