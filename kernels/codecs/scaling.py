"""What the references of the codecs with a scale share. Rows are blocks."""

from __future__ import annotations

import numpy as np
from isthmus.kernels.codecs.reference import Bytes, Floats, bf16_values
from numpy.typing import NDArray

INFINITY = 0x7F800000
NAN_SCALE = 0x7FC0
FLUSH = int(np.float32(2.0**-100).view(np.uint32))
"""A block whose largest magnitude is below 2^-100 counts as zeros."""

Scales = NDArray[np.uint16]


def magnitudes(p: Floats) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = p.view(np.uint32) & np.uint32(0x7FFFFFFF)
    return words


def largest(p: Floats) -> NDArray[np.uint32]:
    """The largest magnitude of each row, as bits."""
    found: NDArray[np.uint32] = magnitudes(p).max(axis=1)
    return found


def upper_bf16(x: Floats) -> Scales:
    """Rounded up, for finite numbers that are not negative."""
    upper: Scales = ((x.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16)).astype(np.uint16)
    return upper


def largest_scale(factor: float) -> int:
    """The bits of the largest bfloat16 that times `factor` is finite."""
    bits = np.arange(0x7F80, dtype=np.uint16)
    products = bf16_values(bits).astype(np.float64) * factor
    return int(bits[products <= float(np.finfo(np.float32).max)][-1])


def stored(scales: Scales) -> Bytes:
    return scales.astype("<u2").view(np.uint8).reshape(-1, 2)


def loaded(section: Bytes) -> Scales:
    return np.ascontiguousarray(section).view("<u2").astype(np.uint16).reshape(-1)


def valid(section: Bytes) -> bool:
    """Every scale is zero, positive and finite, or the one NaN."""
    scales = loaded(section)
    return bool(((scales < INFINITY >> 16) | (scales == NAN_SCALE)).all())
