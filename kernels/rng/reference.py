"""Philox4x32-10 in NumPy, and what stochastic rounding takes from it.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011. Not a cryptographic
generator: whoever knows the key knows the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from isthmus.kernels.codecs.reference import Dither

Words = NDArray[np.uint32]

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counters: Words, key: int) -> Words:
    """Four random words for each row of four counter words. key: 64 bits."""
    c0, c1, c2, c3 = (counters[:, i].astype(np.uint64) for i in range(4))
    mask = np.uint64(0xFFFFFFFF)
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(_ROUNDS):
        a, b = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (b >> np.uint64(32)) ^ c1 ^ np.uint64(low),
            b & mask,
            (a >> np.uint64(32)) ^ c3 ^ np.uint64(high),
            a & mask,
        )
        low, high = (low + _WEYL[0]) & 0xFFFFFFFF, (high + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def units(dither: Dither, elements: int) -> NDArray[np.float32]:
    """A number in [0, 1) for each element: 16 random bits each, so one call serves eight.

    Element i takes half i % 8 (the low half of the first word is half 0) of the call with counter
    (group + i // 8, step, bucket, stream).
    """
    groups = (dither.group + np.arange(-(-elements // 8), dtype=np.uint64)).astype(np.uint32)
    counters = np.empty((groups.size, 4), np.uint32)
    counters[:, 0] = groups
    counters[:, 1:] = (dither.step, dither.bucket, dither.stream)
    halves = philox(counters, dither.key).astype("<u4").view("<u2").reshape(-1)
    found: NDArray[np.float32] = halves[:elements].astype(np.float32) * np.float32(2.0**-16)
    return found
