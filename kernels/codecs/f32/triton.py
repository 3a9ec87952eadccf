# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""f32 in Triton (format.md). Elements travel as integers, so that no NaN is touched."""

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


class F32:
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
            raise ValueError("f32 takes neither error feedback nor stochastic rounding")
        flat = checked(x, torch.float32, x.numel(), "x")
        if noise is not None:
            flat = clip_noise(flat, noise)  # a pass of its own
        wire = new_wire(x, self.wire_size(flat.numel()), out)
        launch_flat(
            copy_kernel,
            flat.numel(),
            flat.view(torch.int32),
            words(wire, flat.numel(), torch.int32),
        )
        return wire

    def decode(
        self, wire: torch.Tensor, elements: int, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        values = new_floats(wire, elements, out)
        flat = checked(values, torch.float32, elements, "out")
        launch_flat(
            copy_kernel, elements, words(wire, elements, torch.int32), flat.view(torch.int32)
        )
        return values

    def decode_add(self, wire: torch.Tensor, weight: float, total: torch.Tensor) -> None:
        flat = checked(total, torch.float32, total.numel(), "total")
        launch_flat(
            decode_add_kernel,
            flat.numel(),
            words(wire, flat.numel(), torch.float32),
            flat,
            float(weight),
        )


CODECS = {"f32": F32()}
