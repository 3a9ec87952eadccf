# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""f32 in Triton (format.md). Elements travel as integers, so that no NaN is touched."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs.flat import Flat


@triton.jit
def copy_kernel(source, target, elements, BLOCK: tl.constexpr):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    if begin + BLOCK <= elements:
        tl.store(target + at, tl.load(source + at))
    else:
        inside = at < elements
        tl.store(target + at, tl.load(source + at, mask=inside), mask=inside)


@triton.jit
def decode_add_kernel(wire, total, weight, elements, BLOCK: tl.constexpr):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    if begin + BLOCK <= elements:
        product = weight * tl.load(wire + at)
        tl.store(total + at, tl.load(total + at) + product)
    else:
        inside = at < elements
        product = weight * tl.load(wire + at, mask=inside)
        tl.store(total + at, tl.load(total + at, mask=inside) + product, mask=inside)


CODECS = {
    "f32": Flat(
        "f32",
        copy_kernel,
        copy_kernel,
        decode_add_kernel,
        word=torch.int32,
        plain=torch.int32,
        summed=torch.float32,
    )
}
