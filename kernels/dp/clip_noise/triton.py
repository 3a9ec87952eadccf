# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator,valid-type"
"""clip and noise in Triton (format.md). Nothing here waits for the device.

The same arithmetic runs inside the encoders, where a codec's encode is given `noise`.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs.triton import Noise, checked, launch
from isthmus.kernels.dp.clip_noise.box_muller import noised, normals

SQUARES = 1024
BLOCK = 1024
WARPS = 8  # four elements a thread: a call of Philox each, and few registers


@triton.jit
def halved(values, WIDTH: tl.constexpr):
    """The sums of the lower and the upper half of (WIDTH,)."""
    return tl.sum(tl.reshape(values, [2, WIDTH // 2]), axis=0)


@triton.jit
def sums_kernel(x, sums, elements, SQUARED: tl.constexpr, SQUARES: tl.constexpr):
    """A program adds up 1,024 elements, half onto half; with SQUARED, their squares."""
    begin = tl.program_id(0).to(tl.int64) * SQUARES
    at = begin + tl.arange(0, SQUARES)
    values = tl.load(x + at, mask=at < elements, other=0.0).to(tl.float64)
    if SQUARED:
        values = values * values
    s = halved(values, 1024)
    s = halved(s, 512)
    s = halved(s, 256)
    s = halved(s, 128)
    s = halved(s, 64)
    s = halved(s, 32)
    s = halved(s, 16)
    s = halved(s, 8)
    s = halved(s, 4)
    s = halved(s, 2)
    tl.store(sums + tl.program_id(0) + tl.arange(0, 1), s)


@triton.jit(do_not_specialize=["elements", "key", "group", "step", "bucket", "stream"])
def clip_noise_kernel(
    x, out, elements, factor, spread, key, group, step, bucket, stream, BLOCK: tl.constexpr
):
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    at = begin + tl.arange(0, BLOCK)
    call = (group + begin // 4).to(tl.int32) + tl.arange(0, BLOCK // 4)[None, :]
    gaussians = tl.reshape(normals(call, step, bucket, stream, key), [BLOCK])
    if begin + BLOCK <= elements:
        tl.store(out + at, noised(tl.load(x + at), tl.load(factor), spread, gaussians))
    else:
        inside = at < elements
        values = tl.load(x + at, mask=inside, other=0.0)
        tl.store(out + at, noised(values, tl.load(factor), spread, gaussians), mask=inside)


def sum_of_squares(x: torch.Tensor) -> torch.Tensor:
    """float64, one element, on x's device. x: float32, flat."""
    values = checked(x, torch.float32, x.numel(), "x")
    if values.numel() == 0:
        return torch.zeros(1, dtype=torch.float64, device=x.device)
    squared = True
    while squared or values.numel() > 1:
        programs = -(-values.numel() // SQUARES)
        sums = torch.empty(programs, dtype=torch.float64, device=x.device)
        launch(
            sums_kernel, programs, values, sums, values.numel(), SQUARED=squared, SQUARES=SQUARES
        )
        values, squared = sums, False
    return values


def clip_factor(squares: torch.Tensor, norm: float) -> torch.Tensor:
    """float32, one element: what clips a vector of that sum of squares. ValueError: a bad norm."""
    if not (norm > 0 and math.isfinite(norm)):
        raise ValueError(f"norm is {norm!r}; expected a number above 0")
    length = squares.sqrt()
    shrinking = (norm / length * (1 - 2**-22)).to(torch.float32)
    found = torch.where(length <= norm, torch.ones_like(shrinking), shrinking)
    return torch.where(torch.isfinite(squares), found, torch.zeros_like(found))


def clip_noise(x: torch.Tensor, noise: Noise, out: torch.Tensor | None = None) -> torch.Tensor:
    """factor * x + spread * Gaussians. `out` may be `x`."""
    flat = checked(x, torch.float32, x.numel(), "x")
    target = torch.empty_like(flat) if out is None else out
    to = checked(target, torch.float32, flat.numel(), "out")
    programs = -(-flat.numel() // BLOCK)
    launch(
        clip_noise_kernel, programs, flat, to, flat.numel(), *noise, num_warps=WARPS, BLOCK=BLOCK
    )
    return target
