"""Scales that are a mean over a block: summed as integers, so that the order does not matter."""

from __future__ import annotations

import numpy as np
from isthmus.kernels.codecs import scaling
from isthmus.kernels.codecs.reference import Counts, Floats, bf16_bits, bf16_values
from numpy.typing import NDArray

SQUARE_BITS = 12
MEAN_BITS = 23

SMALL, LARGE = np.float32(0.4528), np.float32(1.510)
THRESHOLD = np.float32(0.9816)


def plain(p: Floats) -> NDArray[np.bool_]:
    """Rows that get a scale: neither too small nor with an infinity or a NaN."""
    largest = scaling.largest(p)
    rows: NDArray[np.bool_] = (largest >= scaling.FLUSH) & (largest < scaling.INFINITY)
    return rows


def _fixed(p: Floats, bits: int) -> tuple[NDArray[np.uint64], Floats]:
    """|p| as integers of so many bits, and what brings them back."""
    exponents = (scaling.largest(p) >> np.uint32(23)).astype(np.int32) - 127
    shifts = np.where(plain(p), bits - 1 - exponents, 0)
    factors = np.exp2(shifts.astype(np.float64)).astype(np.float32)
    numbers = np.rint(np.where(plain(p)[:, None], np.abs(p), 0) * factors[:, None])
    return numbers.astype(np.uint64), (np.float32(1) / factors).astype(np.float32)


def _scales(p: Floats, means: Floats, cap: int) -> scaling.Scales:
    scales: scaling.Scales = np.minimum(bf16_bits(means), np.uint16(cap))
    scales[~plain(p)] = 0
    scales[scaling.largest(p) >= scaling.INFINITY] = scaling.NAN_SCALE
    return scales


def mean_magnitudes(p: Floats, filled: Counts) -> scaling.Scales:
    numbers, back = _fixed(p, MEAN_BITS)
    means = numbers.sum(axis=1).astype(np.float32) / filled.astype(np.float32) * back
    return _scales(p, means, 0x7F7F)


def root_mean_squares(p: Floats, filled: Counts) -> scaling.Scales:
    numbers, back = _fixed(p, SQUARE_BITS)
    sums = (numbers * numbers).sum(axis=1).astype(np.float32)
    roots = np.sqrt(sums / filled.astype(np.float32)) * back
    return _scales(p, roots, scaling.largest_scale(float(LARGE)))


def two_bit_codes(p: Floats, scales: scaling.Scales) -> NDArray[np.uint8]:
    """Bit 0: large, bit 1: negative."""
    limits = THRESHOLD * bf16_values(scales)
    large = (np.abs(p) > limits[:, None]).astype(np.uint8)
    codes: NDArray[np.uint8] = large | (np.signbit(p).astype(np.uint8) << np.uint8(1))
    codes[(scales == 0) | (scales == scaling.NAN_SCALE)] = 0
    return codes


def two_bit_values(codes: NDArray[np.uint8], scales: scaling.Scales) -> Floats:
    values = bf16_values(scales)[:, None]
    found = np.where(codes & 1, LARGE * values, SMALL * values)
    signed: Floats = np.where(codes & 2, -found, found).astype(np.float32)
    return signed


def pack_two_bits(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four codes a byte, the first in the lowest bits."""
    fours = codes.reshape(codes.shape[0], codes.shape[1] // 4, 4)
    packed = np.zeros(fours.shape[:2], np.uint8)
    for j in range(4):
        packed |= fours[:, :, j] << np.uint8(2 * j)
    return packed


def unpack_two_bits(section: NDArray[np.uint8]) -> NDArray[np.uint8]:
    fours = np.stack([(section >> np.uint8(2 * j)) & np.uint8(3) for j in range(4)], axis=2)
    return fours.reshape(section.shape[0], 4 * section.shape[1])
