"""Clip and noise: the same bits everywhere, a bound that holds, noise that is Gaussian."""

import functools
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors
from isthmus.kernels.dp.clip_noise import reference
from isthmus.kernels.dp.clip_noise.reference import Place

BY_CODE = pytest.mark.parametrize("implementation", _core.codec_implementations())
LENGTHS = (0, 1, 3, 4, 5, 63, 64, 65, 1023, 1024, 1025, 5000, (1 << 20) + 77)
PLACE = Place(key=2**63 + 3, step=1, bucket=2, stream=3, group=2**32 - 5)


def noise(factor: float, spread: float, place: Place = PLACE) -> tuple:
    return (factor, spread, place.key, place.step, place.bucket, place.stream, place.group)


@functools.cache
def noised(elements: int, norm: float, spread: float) -> tuple:
    """What the reference makes of this many elements: the squares, the factor, and the bytes."""
    x = vectors.normal(elements, elements)
    squares = reference.sum_of_squares(x)
    factor = reference.factor(squares, norm)
    return squares, factor, reference.clip_noise(x, factor, spread, PLACE).tobytes()


@pytest.mark.parametrize("elements", LENGTHS)
@BY_CODE
def test_all_implementations_make_the_references_bits(elements, implementation):
    x = vectors.normal(elements, elements)
    for norm, spread in ((1.0, 0.0), (1e30, 1.5), (3.0, 1e-3)):
        squares, factor, expected = noised(elements, norm, spread)
        assert _core.sum_of_squares(x) == squares
        assert _core.clip_factor(squares, norm) == factor
        how = noise(float(factor), spread)
        made = _core.clip_noise(x, how, implementation=implementation)
        assert made.tobytes() == expected
        in_place = x.copy()
        _core.clip_noise(in_place, how, out=in_place, implementation=implementation)
        assert in_place.tobytes() == expected


@BY_CODE
@pytest.mark.parametrize("codec", codecs.NAMES)
def test_encoding_with_noise_is_encoding_what_was_noised(codec, implementation):
    for elements in (1, 130, 4096, 9001):
        x, how = vectors.normal(elements, 3), noise(0.25, 2.0)
        y = _core.clip_noise(x, how)
        options = {"implementation": implementation}
        if codecs.feeds(codec):
            now, left = vectors.normal(elements, 4), np.zeros(elements, np.float32)
            after = left.copy()
            fed = _core.encode(codec, y, residual=now, next_residual=left, beta=0.95)
            options |= {"residual": now, "next_residual": after, "beta": 0.95}
            made = _core.encode(codec, x, noise=how, **options)
            assert made.tobytes() == fed.tobytes() and vectors.same(left, after)
        if codecs.dithers(codec):
            wire = _core.encode(codec, y, dither=(1, 2, 3, 4))
            made = _core.encode(codec, x, noise=how, dither=(1, 2, 3, 4))
            assert made.tobytes() == wire.tobytes()
        made = _core.encode(codec, x, noise=how, implementation=implementation)
        assert made.tobytes() == _core.encode(codec, y).tobytes()


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e18])
def test_a_clipped_vector_is_never_longer_than_the_norm(scale):
    rng = np.random.default_rng(0)
    for norm in (1e-3, 1.0, 7.7):
        for elements in (1, 2, 100, 3000):
            x = (rng.standard_normal(elements) * scale).astype(np.float32)
            factor = _core.clip_factor(_core.sum_of_squares(x), norm)
            y = _core.clip_noise(x, noise(factor, 0.0)).astype(np.float64)
            assert np.sqrt(np.square(y).sum()) <= norm
            if np.sqrt(np.square(x.astype(np.float64)).sum()) > norm:
                assert np.sqrt(np.square(y).sum()) > norm * (1 - 1e-6)
            else:
                assert (y == x).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_dropped_and_its_noise_stays(bad):
    x = vectors.normal(2000, 1)
    x[77] = bad
    factor = _core.clip_factor(_core.sum_of_squares(x), 1.0)
    assert factor == 0
    y = _core.clip_noise(x, noise(factor, 1.0))
    assert y.tobytes() == _core.clip_noise(np.zeros(2000, np.float32), noise(1.0, 1.0)).tobytes()
    assert np.isfinite(y).all() and y.std() > 0.9


def test_noise_is_gaussian_in_moments_tails_and_independence():
    g = reference.gaussians(Place(key=5), 1 << 20).astype(np.float64)
    n = g.size
    assert abs(g.mean()) < 4 / n**0.5
    assert abs(g.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((g**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((g**4).mean() - 3) < 4 * (96 / n) ** 0.5
    for bound, share in ((1.0, 0.3173105), (2.0, 0.0455003), (3.0, 0.0026998), (4.0, 6.334e-5)):
        found = (np.abs(g) > bound).mean()
        assert abs(found - share) < 4 * (share / n) ** 0.5
    for lag in (1, 2, 3, 4, 64):
        assert abs((g[lag:] * g[:-lag]).mean()) < 4 / n**0.5


def test_every_place_draws_its_own_numbers():
    places = [
        Place(1), Place(2), Place(1, step=1), Place(1, bucket=1), Place(1, stream=1),
        Place(1, group=256),
    ]  # fmt: skip
    drawn = [reference.gaussians(place, 1000) for place in places]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
    assert (reference.gaussians(Place(1), 2024)[1024:] == drawn[5]).all()


def test_what_cannot_be_meant_is_refused():
    x = np.zeros(8, np.float32)
    for norm in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="norm"):
            _core.clip_factor(1.0, norm)
        with pytest.raises(ValueError, match="norm"):
            reference.factor(1.0, norm)
    for how, text in (
        ((1.0, 1.0), "noise is"),
        ((1.5, 1.0, 1, 2, 3, 4), "factor"),
        ((np.nan, 1.0, 1, 2, 3, 4), "factor"),
        ((1.0, -1.0, 1, 2, 3, 4), "spread"),
        ((1.0, np.inf, 1, 2, 3, 4), "spread"),
    ):
        with pytest.raises(ValueError, match=text):
            _core.clip_noise(x, how)
        with pytest.raises(ValueError, match=text):
            _core.encode("int4", x, noise=how)
    with pytest.raises(TypeError, match="float32"):
        _core.clip_noise(x.astype(np.float64), noise(1.0, 1.0))
    with pytest.raises(ValueError, match="out has 7"):
        _core.clip_noise(x, noise(1.0, 1.0), out=x[:7])


def test_the_interpreted_kernels_agree_with_the_core(run_interpreted):
    run_interpreted(Path(__file__).with_name("interpreted.py"))
