# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator,valid-type"
"""Codecs of 128-element blocks with a scale each, in Triton: one warp a block.

A program handles ROWS blocks in one pass: values stay in registers from the largest magnitude to
the packed words, and the residual is read and written beside them. Full programs go without masks,
so that loads and stores stay 16 bytes wide; only the last one may be ragged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs import quantize, scaling
from isthmus.kernels.codecs.triton import (
    Decoder,
    Dither,
    Noise,
    checked,
    checked_residuals,
    launch,
    new_wire,
    noise_arguments,
    section,
)
from isthmus.kernels.dp.clip_noise.box_muller import noised, normals
from isthmus.kernels.rng.triton import units

WIDTH = 128
ROWS = 8
WARPS, NOISED_WARPS = 4, 8


@triton.jit
def load(x, at, inside, MASKED: tl.constexpr):
    if MASKED:
        p = tl.load(x + at, mask=inside, other=0.0)
    else:
        p = tl.load(x + at)
    return p


@triton.jit
def feed(p, now, at, inside, beta, RESIDUAL: tl.constexpr, MASKED: tl.constexpr):
    """p + beta * residual. RESIDUAL: 0 none, 1 float32, 2 bfloat16."""
    if RESIDUAL > 0:
        if MASKED:
            left = tl.load(now + at, mask=inside, other=0)
        else:
            left = tl.load(now + at)
        if RESIDUAL == 2:
            left = quantize.bf16_value(left.to(tl.uint16, bitcast=True))
        p = p + beta * left
    return p


@triton.jit
def store_left(next, at, inside, left, NEXT: tl.constexpr, MASKED: tl.constexpr):
    if NEXT == 2:
        left = quantize.bf16_bits(left).to(tl.uint16).to(tl.int16, bitcast=True)
    if MASKED:
        tl.store(next + at, left, mask=inside)
    else:
        tl.store(next + at, left)


@triton.jit
def encode_rows(
    x, now, next, scales, words, elements, first, beta, key, group, step, bucket, stream,
    factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
    ENCODE: tl.constexpr, BITS: tl.constexpr, LIMIT: tl.constexpr, CAP: tl.constexpr,
    RESIDUAL: tl.constexpr, NEXT: tl.constexpr, STOCHASTIC: tl.constexpr,
    NOISED: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    begin = first * WIDTH
    row = tl.arange(0, ROWS)
    at = row[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    remaining = tl.minimum(elements - begin, ROWS * WIDTH).to(tl.int32)
    inside = at < remaining
    p = load(x + begin, at, inside, MASKED)
    if NOISED:
        call = row[:, None] * (WIDTH // 4) + tl.arange(0, WIDTH // 4)[None, :]
        call += (noise_group + first * (WIDTH // 4)).to(tl.int32)
        gaussians = normals(call, noise_step, noise_bucket, noise_stream, noise_key)
        p = noised(p, tl.load(factor), spread, gaussians)
        if MASKED:
            p = tl.where(inside, p, 0.0)
    p = feed(p, now + begin, at, inside, beta, RESIDUAL, MASKED)
    filled = tl.minimum(tl.maximum(remaining - row * WIDTH, 1), WIDTH)
    numbers = p
    if STOCHASTIC:
        calls = row[:, None] * (WIDTH // 8) + tl.arange(0, WIDTH // 8)[None, :]
        start = (group + first * (WIDTH // 8)).to(tl.int32)
        numbers = units(start + calls, step, bucket, stream, key)
    scale, codes, decoded = ENCODE(p, filled, numbers, LIMIT, CAP, STOCHASTIC)
    packed = quantize.pack(codes, BITS).to(tl.int32, bitcast=True)
    WORDS: tl.constexpr = WIDTH * BITS // 32
    where = row[:, None] * WORDS + tl.arange(0, WORDS)[None, :]
    scales += first
    words += first * WORDS
    if MASKED:
        # Rows after the last block have a scale of zero: the zeros between sections.
        blocks = tl.cdiv(remaining, WIDTH)
        tl.store(scales + row, scale.to(tl.int16), mask=row < tl.cdiv(blocks, 8) * 8)
        tl.store(words + where, packed, mask=(row < blocks)[:, None])
    else:
        tl.store(scales + row, scale.to(tl.int16))
        tl.store(words + where, packed)
    if NEXT > 0:
        store_left(next + begin, at, inside, p - decoded, NEXT, MASKED)


PLACES = ["key", "group", "step", "bucket", "stream"]
NOISE_PLACES = [f"noise_{name}" for name in PLACES]


# What changes from call to call is not compiled in.
@triton.jit(do_not_specialize=["elements", *PLACES, *NOISE_PLACES])
def encode_kernel(
    x, now, next, scales, words, elements, beta, key, group, step, bucket, stream,
    factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
    ENCODE: tl.constexpr, BITS: tl.constexpr, LIMIT: tl.constexpr, CAP: tl.constexpr,
    RESIDUAL: tl.constexpr, NEXT: tl.constexpr, STOCHASTIC: tl.constexpr,
    NOISED: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * ROWS
    if (first + ROWS) * WIDTH <= elements:
        encode_rows(
            x, now, next, scales, words, elements, first, beta, key, group, step, bucket, stream,
            factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
            ENCODE, BITS, LIMIT, CAP, RESIDUAL, NEXT, STOCHASTIC, NOISED, WIDTH, ROWS, False,
        )  # fmt: skip
    else:
        encode_rows(
            x, now, next, scales, words, elements, first, beta, key, group, step, bucket, stream,
            factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
            ENCODE, BITS, LIMIT, CAP, RESIDUAL, NEXT, STOCHASTIC, NOISED, WIDTH, ROWS, True,
        )  # fmt: skip


@triton.jit
def decode_rows(
    scales, words, target, weight, elements, first,
    DECODE: tl.constexpr, BITS: tl.constexpr, ADD: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    row = tl.arange(0, ROWS)
    at = row[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    remaining = tl.minimum(elements - first * WIDTH, ROWS * WIDTH).to(tl.int32)
    inside = at < remaining
    WORDS: tl.constexpr = WIDTH * BITS // 32
    where = row[:, None] * WORDS + tl.arange(0, WORDS)[None, :]
    scales += first
    words += first * WORDS
    target += first * WIDTH
    if MASKED:
        blocks = tl.cdiv(remaining, WIDTH)
        scale = tl.load(scales + row, mask=row < blocks, other=0)
        packed = tl.load(words + where, mask=(row < blocks)[:, None], other=0)
    else:
        scale = tl.load(scales + row)
        packed = tl.load(words + where)
    wide = scale.to(tl.uint16, bitcast=True).to(tl.int32)
    values = DECODE(wide, quantize.unpack(packed.to(tl.uint32, bitcast=True), BITS), BITS)
    if ADD:
        product = weight * values
        if MASKED:
            values = tl.load(target + at, mask=inside, other=0.0) + product
        else:
            values = tl.load(target + at) + product
    if MASKED:
        tl.store(target + at, values, mask=inside)
    else:
        tl.store(target + at, values)


@triton.jit(do_not_specialize=["elements"])
def decode_kernel(
    scales, words, target, weight, elements,
    DECODE: tl.constexpr, BITS: tl.constexpr, ADD: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """ADD: target += weight * decoded; else target = decoded."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    if (first + ROWS) * WIDTH <= elements:
        decode_rows(
            scales, words, target, weight, elements, first, DECODE, BITS, ADD, WIDTH, ROWS, False
        )
    else:
        decode_rows(
            scales, words, target, weight, elements, first, DECODE, BITS, ADD, WIDTH, ROWS, True
        )


@dataclass(frozen=True)
class Rows(Decoder):
    """A codec. `encoding` and `decoding`: of quantize.py. factor: of the largest scale."""

    encoding: Any
    decoding: Any
    bits: int
    limit: int
    factor: float
    dithers: bool = False

    def wire_size(self, elements: int) -> int:
        return self._words_at(elements) + self._blocks(elements) * WIDTH * self.bits // 8

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
        flat = checked(x, torch.float32, x.numel(), "x")
        wire = new_wire(x, self.wire_size(flat.numel()), out)
        scales, words = self._sections(wire, flat.numel())
        now, following = checked_residuals(flat, residual, next_residual)
        if dither is not None and not self.dithers:
            raise ValueError("this codec offers no stochastic rounding")
        constants = self.encode_constants(
            now.kind, following.kind, dither is not None, noise is not None
        )
        key, group, step, bucket, stream = dither or (0, 0, 0, 0, 0)
        launch(
            encode_kernel, self._programs(flat.numel()), flat, now.tensor, following.tensor,
            scales, words, flat.numel(), float(beta), key, group, step, bucket, stream,
            *noise_arguments(noise, flat), num_warps=WARPS if noise is None else NOISED_WARPS,
            **constants,
        )  # fmt: skip
        return wire

    def encode_constants(
        self, residual: int, following: int, stochastic: bool, noised: bool
    ) -> dict[str, Any]:
        return {
            "ENCODE": self.encoding,
            "BITS": self.bits,
            "LIMIT": self.limit,
            "CAP": scaling.largest_scale(self.factor),
            "RESIDUAL": residual,
            "NEXT": following,
            "STOCHASTIC": stochastic,
            "NOISED": noised,
            "WIDTH": WIDTH,
            "ROWS": ROWS,
        }

    def decode_constants(self, *, add: bool) -> dict[str, Any]:
        return {
            "DECODE": self.decoding,
            "BITS": self.bits,
            "ADD": add,
            "WIDTH": WIDTH,
            "ROWS": ROWS,
        }

    def _decode(self, wire: torch.Tensor, weight: float, to: torch.Tensor, *, add: bool) -> None:
        elements = to.numel()
        scales, words = self._sections(wire, elements)
        launch(
            decode_kernel, self._programs(elements), scales, words, to, weight, elements,
            **self.decode_constants(add=add),
        )  # fmt: skip

    def _sections(self, wire: torch.Tensor, elements: int) -> tuple[torch.Tensor, torch.Tensor]:
        flat = checked(wire, torch.uint8, self.wire_size(elements), "wire")
        at = self._words_at(elements)
        return section(flat, 0, at, torch.int16), section(flat, at, flat.numel(), torch.int32)

    def _words_at(self, elements: int) -> int:
        return -(-2 * self._blocks(elements) // 16) * 16

    def _blocks(self, elements: int) -> int:
        return -(-elements // WIDTH)

    def _programs(self, elements: int) -> int:
        return -(-self._blocks(elements) // ROWS)
