"""How far the sum of an all-reduce is from the exact one: 8 bits up and down, and its bias."""

import numpy as np
import pytest
from isthmus import _core

ELEMENTS = 1 << 20  # a bucket of 4 MiB


def mean_by_direct(values: list[np.ndarray], up: str, down: str) -> np.ndarray:
    """As every site ends with it: decoded, summed in the order of the ranks, encoded again."""
    total = np.zeros(ELEMENTS, np.float32)
    for x in values:
        _core.decode_add(up, _core.encode(up, x), 1.0, total)
    total /= np.float32(len(values))
    return _core.decode(down, _core.encode(down, total), ELEMENTS)


def gradients(sites: int, seed: int = 0) -> list[np.ndarray]:
    """What the sites share, and a third of it in noise of their own."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(ELEMENTS)
    own = [rng.standard_normal(ELEMENTS) / 3 for _ in range(sites)]
    return [(common + x).astype(np.float32) for x in own]


def error(values: list[np.ndarray]) -> float:
    exact = np.mean(np.array(values, np.float64), axis=0)
    found = mean_by_direct(values, "int8", "int8")
    usual = np.abs(exact) < 50  # the outlier itself is not what is asked about
    return float(np.linalg.norm((found - exact)[usual]) / np.linalg.norm(exact[usual]))


@pytest.mark.parametrize("sites", [2, 4, 8])
def test_the_error_of_eight_bits_is_small_and_one_outlier_hardly_moves_it(sites):
    values = gradients(sites)
    plain = error(values)
    assert 1e-3 < plain <= 0.009
    for x in values:
        x[4711] = 100.0
    assert error(values) <= 1.1 * plain


@pytest.mark.parametrize("codec", ["int8", "int4"])
@pytest.mark.parametrize("stochastic", [False, True])
def test_rounding_has_no_bias(codec, stochastic):
    """Below a thousandth of a standard deviation, over blocks whose values sit between levels."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(ELEMENTS).astype(np.float32)
    sums, rounds = np.zeros(ELEMENTS), 8
    for step in range(rounds):
        dither = (99, step, 0, 0) if stochastic else None
        sums += _core.decode(codec, _core.encode(codec, x, dither=dither), ELEMENTS)
        if not stochastic:
            sums *= rounds
            break
    assert abs(float(np.mean(sums / rounds - x))) < 1e-3


@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_stochastic_rounding_is_right_on_average_element_by_element(codec):
    x = np.linspace(-1, 1, 1024).astype(np.float32)
    rounds = 4000
    sums = np.zeros(x.size)
    for step in range(rounds):
        wire = _core.encode(codec, x, dither=(5, step, 1, 1))
        sums += _core.decode(codec, wire, x.size)
    level = {"int8": 1 / 127, "int4": 1 / 7}[codec]
    worst = np.abs(sums / rounds - x).max()
    assert worst < 5 * 0.5 * level / rounds**0.5 + level * 2**-8
