"""f32 in NumPy (format.md)."""

import numpy as np
from numpy.typing import NDArray

WIDTH = 4


def wire_size(elements: int) -> int:
    return WIDTH * elements


def pieces(elements: int, begin: int, count: int) -> list[tuple[int, int]]:
    return [(WIDTH * begin, WIDTH * count)]


def encode(x: NDArray[np.float32]) -> NDArray[np.uint8]:
    return x.astype("<f4").view(np.uint8)


def decode(wire: NDArray[np.uint8], elements: int) -> NDArray[np.float32]:
    if wire.size != wire_size(elements):
        raise ValueError(f"a wire of {elements} elements has {wire_size(elements)} bytes")
    return wire.view("<f4").astype(np.float32)
