# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""f32 in Triton (format.md). Elements travel as integers, so that no NaN is touched."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs.triton import checked, launch, new_floats, new_wire, words

WIDTH = 4


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


def encode(x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """The wire (uint8) of float32 elements."""
    flat = checked(x, torch.float32, x.numel(), "x")
    wire = new_wire(x, WIDTH * flat.numel(), out)
    launch(
        copy_kernel,
        flat.numel(),
        flat.view(torch.int32),
        words(wire, flat.numel(), torch.int32),
    )
    return wire


def decode(wire: torch.Tensor, elements: int, out: torch.Tensor | None = None) -> torch.Tensor:
    """The float32 elements of a wire."""
    values = new_floats(wire, elements, out)
    flat = checked(values, torch.float32, elements, "out")
    launch(copy_kernel, elements, words(wire, elements, torch.int32), flat.view(torch.int32))
    return values


def decode_add(wire: torch.Tensor, weight: float, total: torch.Tensor) -> None:
    """total += weight * decoded, in place."""
    flat = checked(total, torch.float32, total.numel(), "total")
    values = words(wire, flat.numel(), torch.float32)
    launch(decode_add_kernel, flat.numel(), values, flat, float(weight))
