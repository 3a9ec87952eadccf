# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator,valid-type"
"""topk in Triton (format.md): one program of 256 threads a block of 4096 elements.

The block stays in registers. Its K-th largest magnitude is found bit by bit, by counting; a running
sum then gives every kept element its place. Kept elements meet in a scratch row in global memory,
where a barrier makes them visible to the program's other threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from isthmus.kernels.codecs import quantize, scaling
from isthmus.kernels.codecs.rows import NOISE_PLACES, feed, load, store_left
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

WIDTH = 4096
WARPS = 8


@triton.jit
def kth_largest(sizes, K: tl.constexpr):
    """The largest t of which there are K sizes or more."""
    found = 0
    for i in range(31):
        candidate = found | (1 << (30 - i))
        enough = tl.sum((sizes >= candidate).to(tl.int32)) >= K
        found = tl.where(enough, candidate, found)
    return found


@triton.jit
def places_of_largest(p, K: tl.constexpr):
    """(whether each element is kept, its place among them). Of equals, the first ones are kept."""
    sizes = quantize.magnitudes(p)
    least = kth_largest(sizes, K)
    above = (sizes > least).to(tl.int32)
    equal = (sizes == least).to(tl.int32)
    both = tl.cumsum(above | (equal << 16), axis=0)
    above_yet, equal_yet = both & 0xFFFF, both >> 16
    wanted = K - tl.sum(above)
    kept = (above | (equal & (equal_yet <= wanted).to(tl.int32))) != 0
    return kept, above_yet + tl.minimum(equal_yet, wanted) - 1


@triton.jit
def zero_between(scales, places, blocks, PLACE_BYTES: tl.constexpr):
    """The zeros after the scales and after the places."""
    at = blocks + tl.arange(0, 8)
    tl.store(scales + at, tl.zeros([8], tl.int16), mask=at < tl.cdiv(blocks, 8) * 8)
    end = blocks * PLACE_BYTES
    at = end + tl.arange(0, 16)
    tl.store(places + at, tl.zeros([16], tl.uint8), mask=at < tl.cdiv(end, 16) * 16)


@triton.jit
def encode_block(
    x, now, next, scales, places, words, kept_places, kept_values, elements, beta,
    factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
    ENCODE: tl.constexpr, BITS: tl.constexpr, LIMIT: tl.constexpr, CAP: tl.constexpr,
    K: tl.constexpr, RESIDUAL: tl.constexpr, NEXT: tl.constexpr,
    NOISED: tl.constexpr, WIDTH: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, WIDTH)
    remaining = tl.minimum(elements - block * WIDTH, WIDTH).to(tl.int32)
    inside = at < remaining
    next += block * WIDTH
    kept_places += block * K
    kept_values += block * K
    p = load(x + block * WIDTH, at, inside, MASKED)
    if NOISED:
        call = tl.arange(0, WIDTH // 4)[None, :] + (noise_group + block * (WIDTH // 4)).to(tl.int32)
        gaussians = normals(call, noise_step, noise_bucket, noise_stream, noise_key)
        p = noised(p, tl.load(factor), spread, tl.reshape(gaussians, [WIDTH]))
        if MASKED:
            p = tl.where(inside, p, 0.0)
    p = feed(p, now + block * WIDTH, at, inside, beta, RESIDUAL, MASKED)
    kept, place = places_of_largest(p, K)
    tl.store(kept_places + place, at, mask=kept)
    tl.store(kept_values + place, p, mask=kept)
    if NEXT > 0:
        store_left(next, at, inside, p, NEXT, MASKED)
    tl.debug_barrier()

    k = tl.arange(0, K)
    mine = tl.load(kept_places + k)
    values = tl.load(kept_values + k)[None, :]
    filled = tl.minimum(remaining, K) + tl.zeros([1], tl.int32)
    scale, codes, decoded = ENCODE(values, filled, values, LIMIT, CAP, False)
    one = tl.arange(0, 1)
    tl.store(scales + block + one, scale.to(tl.int16))
    WORDS: tl.constexpr = K * BITS // 32
    word = block * WORDS + tl.arange(0, WORDS)[None, :]
    tl.store(words + word, quantize.pack(codes, BITS).to(tl.int32, bitcast=True))

    pair = tl.arange(0, K // 2)
    low = tl.load(kept_places + 2 * pair)
    high = tl.load(kept_places + 2 * pair + 1)
    both = low | (high << 12)
    to = places + block * (K // 2 * 3) + 3 * pair
    for i in tl.static_range(3):
        tl.store(to + i, ((both >> (8 * i)) & 255).to(tl.uint8))
    if NEXT > 0:
        left = tl.reshape(values - decoded, [K])
        store_left(next, mine, mine < remaining, left, NEXT, True)


@triton.jit(do_not_specialize=["elements", *NOISE_PLACES])
def encode_kernel(
    x, now, next, scales, places, words, kept_places, kept_values, elements, beta,
    factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
    ENCODE: tl.constexpr, BITS: tl.constexpr, LIMIT: tl.constexpr, CAP: tl.constexpr,
    K: tl.constexpr, RESIDUAL: tl.constexpr, NEXT: tl.constexpr,
    NOISED: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    if (tl.program_id(0).to(tl.int64) + 1) * WIDTH <= elements:
        encode_block(
            x, now, next, scales, places, words, kept_places, kept_values, elements, beta,
            factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
            ENCODE, BITS, LIMIT, CAP, K, RESIDUAL, NEXT, NOISED, WIDTH, False,
        )  # fmt: skip
    else:
        encode_block(
            x, now, next, scales, places, words, kept_places, kept_values, elements, beta,
            factor, spread, noise_key, noise_group, noise_step, noise_bucket, noise_stream,
            ENCODE, BITS, LIMIT, CAP, K, RESIDUAL, NEXT, NOISED, WIDTH, True,
        )  # fmt: skip
    blocks = tl.cdiv(elements, WIDTH)
    if tl.program_id(0) == blocks - 1:
        zero_between(scales, places, blocks, K // 2 * 3)


@triton.jit(do_not_specialize=["elements"])
def decode_kernel(
    scales, places, words, target, weight, elements,
    DECODE: tl.constexpr, BITS: tl.constexpr, ADD: tl.constexpr, K: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """ADD: target += weight * decoded where an element was kept; else target = decoded."""
    block = tl.program_id(0).to(tl.int64)
    if not ADD:
        at = block * WIDTH + tl.arange(0, WIDTH)
        zeros = tl.zeros([WIDTH], tl.float32)
        if (block + 1) * WIDTH <= elements:
            tl.store(target + at, zeros)
        else:
            tl.store(target + at, zeros, mask=at < elements)
        tl.debug_barrier()
    k = tl.arange(0, K)
    source = places + block * (K // 2 * 3) + 3 * (k // 2)
    both = tl.load(source).to(tl.int32)
    both |= tl.load(source + 1).to(tl.int32) << 8
    both |= tl.load(source + 2).to(tl.int32) << 16
    owner = block * WIDTH + ((both >> (12 * (k & 1))) & 4095)
    scale = tl.load(scales + block + tl.arange(0, 1)).to(tl.uint16, bitcast=True).to(tl.int32)
    WORDS: tl.constexpr = K * BITS // 32
    packed = tl.load(words + block * WORDS + tl.arange(0, WORDS)[None, :])
    codes = quantize.unpack(packed.to(tl.uint32, bitcast=True), BITS)
    values = tl.reshape(DECODE(scale, codes, BITS), [K])
    inside = owner < elements
    if ADD:
        product = weight * values
        values = tl.load(target + owner, mask=inside, other=0.0) + product
    tl.store(target + owner, values, mask=inside)


@dataclass(frozen=True)
class TopK(Decoder):
    """k of every 4096 elements, in so many bits each."""

    k: int
    bits: int

    def wire_size(self, elements: int) -> int:
        return self._bounds(elements)[-1]

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
        if dither is not None:
            raise ValueError("this codec offers no stochastic rounding")
        flat = checked(x, torch.float32, x.numel(), "x")
        wire = new_wire(x, self.wire_size(flat.numel()), out)
        now, following = checked_residuals(flat, residual, next_residual)
        blocks = -(-flat.numel() // WIDTH)
        kept_places = torch.empty(blocks * self.k, dtype=torch.int32, device=x.device)
        kept_values = torch.empty(blocks * self.k, dtype=torch.float32, device=x.device)
        launch(
            encode_kernel, blocks, flat, now.tensor, following.tensor,
            *self._sections(wire, flat.numel()), kept_places, kept_values, flat.numel(),
            float(beta), *noise_arguments(noise, flat), num_warps=WARPS,
            **self.encode_constants(now.kind, following.kind, noise is not None),
        )  # fmt: skip
        return wire

    def encode_constants(self, residual: int, following: int, noised: bool) -> dict[str, Any]:
        two = self.bits == 2
        return {
            "ENCODE": quantize.encode_two_bits if two else quantize.encode_integers,
            "BITS": self.bits,
            "LIMIT": 0 if two else 127,
            "CAP": scaling.largest_scale(1.510 if two else 127.0),
            "K": self.k,
            "RESIDUAL": residual,
            "NEXT": following,
            "NOISED": noised,
            "WIDTH": WIDTH,
        }

    def decode_constants(self, *, add: bool) -> dict[str, Any]:
        two = self.bits == 2
        return {
            "DECODE": quantize.decode_two_bits if two else quantize.decode_integers,
            "BITS": self.bits,
            "ADD": add,
            "K": self.k,
            "WIDTH": WIDTH,
        }

    def _decode(self, wire: torch.Tensor, weight: float, to: torch.Tensor, *, add: bool) -> None:
        elements = to.numel()
        launch(
            decode_kernel, -(-elements // WIDTH), *self._sections(wire, elements), to,
            weight, elements, num_warps=WARPS, **self.decode_constants(add=add),
        )  # fmt: skip

    def _bounds(self, elements: int) -> tuple[int, int, int]:
        """Where places and values begin, and where the values end."""
        blocks = -(-elements // WIDTH)
        places = -(-2 * blocks // 16) * 16
        words = places + -(-blocks * (self.k // 2 * 3) // 16) * 16
        return places, words, words + blocks * self.k * self.bits // 8

    def _sections(
        self, wire: torch.Tensor, elements: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        flat = checked(wire, torch.uint8, self.wire_size(elements), "wire")
        places, words, end = self._bounds(elements)
        return (
            section(flat, 0, places, torch.int16),
            section(flat, places, words, torch.uint8),
            section(flat, words, end, torch.int32),
        )


CODECS = {"topk": TopK(64, 2)} | {
    f"topk-{k}-{values}": TopK(k, 2 if values == "int2" else 8)
    for values, ks in (("int2", (16, 32, 128)), ("int8", (16, 32, 64, 128)))
    for k in ks
}
