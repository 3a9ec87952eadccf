"""clip and noise in NumPy (format.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from isthmus.kernels.rng.reference import philox
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BLOCK = 1024
LOG = (
    -0.49999988079071045,
    0.33333656191825867,
    -0.2500211000442505,
    0.19973693788051605,
    -0.1656429022550583,
    0.14789512753486633,
    -0.14324887096881866,
    0.09132901579141617,
)
SIN = (1.5707963705062866, -0.6459634900093079, 0.07968021929264069, -0.004602163098752499)
COS = (1.0, -1.2337005138397217, 0.25366920232772827, -0.02086007036268711, 0.00090362987248227)
LN2 = 0.6931471824645996


@dataclass(frozen=True)
class Place:
    """Where noise is drawn; no place may serve twice. group: of the first element's call."""

    key: int  # 64 bits
    step: int = 0
    bucket: int = 0
    stream: int = 0
    group: int = 0


def sum_of_squares(x: Floats) -> float:
    """In the one order that all implementations keep."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = _sums(np.square(x.astype(np.float64)))
        while found.size > 1:
            found = _sums(found)
    return float(found[0]) if found.size else 0.0


def factor(squares: float, norm: float) -> np.float32:
    """What clips a vector of that sum of squares to `norm`; 0: drop it. ValueError: a bad norm."""
    if not (norm > 0 and math.isfinite(norm)):
        raise ValueError(f"norm is {norm!r}; expected a number above 0")
    found = 0.0
    if math.isfinite(squares):
        length = math.sqrt(squares)
        found = 1.0 if length <= norm else norm / length * (1 - 2**-22)
    rounded: np.float32 = np.float32(found)
    return rounded


def gaussians(place: Place, elements: int) -> Floats:
    """One for each element."""
    calls = -(-elements // 4)
    counters = np.empty((calls, 4), np.uint32)
    counters[:, 0] = (place.group + np.arange(calls, dtype=np.uint64)).astype(np.uint32)
    counters[:, 1:] = (place.step, place.bucket, place.stream)
    words = philox(counters, place.key).reshape(-1, 2)
    first, second = pairs(words[:, 0], words[:, 1])
    return np.stack([first, second], axis=1).reshape(-1)[:elements]


def clip_noise(x: Floats, factor: np.float32, spread: float, place: Place) -> Floats:
    """x times the factor, plus noise of the standard deviation `spread`."""
    clipped = x * factor if factor != 0 else np.zeros_like(x)
    found: Floats = clipped + np.float32(spread) * gaussians(place, x.size)
    return found


def pairs(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> tuple[Floats, Floats]:
    """Box and Muller's two normals of each pair of words."""
    r = _radius(a)
    turn = (((b << np.uint32(2)) >> np.uint32(9)).astype(np.float32)) * np.float32(2.0**-23)
    turn = turn - np.float32(0.5)
    z = turn * turn
    sine, cosine = turn * _horner(SIN, z), _horner(COS, z)
    quarter = b >> np.uint32(30)
    odd = (quarter & 1) == 1
    first, second = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    first = np.where((quarter == 1) | (quarter == 2), -first, first)
    second = np.where(quarter >= 2, -second, second)
    return (first * r).astype(np.float32), (second * r).astype(np.float32)


def _radius(a: NDArray[np.uint32]) -> Floats:
    u = ((a >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    bits = u.view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    f = (bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1)
    log = exponent.astype(np.float32) * np.float32(LN2) + (f + (f * f) * _horner(LOG, f))
    root: Floats = np.sqrt(np.float32(-2) * log)
    return root


def _horner(coefficients: tuple[float, ...], x: Floats) -> Floats:
    found: Floats = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        found = found * x + np.float32(c)
    return found


def _sums(values: Doubles) -> Doubles:
    rows = np.zeros(-(-values.size // BLOCK) * BLOCK)
    rows[: values.size] = values
    found = rows.reshape(-1, BLOCK)
    while found.shape[1] > 1:
        half = found.shape[1] // 2
        found = found[:, :half] + found[:, half:]
    return found.reshape(-1)
