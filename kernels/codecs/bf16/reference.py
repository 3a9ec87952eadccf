"""bf16 in NumPy (format.md)."""

import numpy as np
from numpy.typing import NDArray

WIDTH = 2


def wire_size(elements: int) -> int:
    return WIDTH * elements


def pieces(elements: int, begin: int, count: int) -> list[tuple[int, int]]:
    return [(WIDTH * begin, WIDTH * count)]


def encode(x: NDArray[np.float32]) -> NDArray[np.uint8]:
    words = x.view(np.uint32)
    upper = words >> 16
    odd = upper & 1
    rounded = (words + 0x7FFF + odd) >> 16  # wraps for some NaNs, which are replaced next
    bits = np.where(np.isnan(x), upper | 0x40, rounded)
    return bits.astype("<u2").view(np.uint8)


def decode(wire: NDArray[np.uint8], elements: int) -> NDArray[np.float32]:
    if wire.size != wire_size(elements):
        raise ValueError(f"a wire of {elements} elements has {wire_size(elements)} bytes")
    return (wire.view("<u2").astype(np.uint32) << 16).view(np.float32)
