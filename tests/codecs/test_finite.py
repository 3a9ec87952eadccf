"""A copy that says whether all values are finite."""

import numpy as np
import pytest
from isthmus import _core

LARGE = (1 << 20) + 5077  # goes past the caches: a head, pages side by side, the rest, a tail


@pytest.mark.parametrize("implementation", _core.codec_implementations())
@pytest.mark.parametrize("elements", [0, 1, 4096, 10_001, LARGE])
@pytest.mark.parametrize("skip", [0, 3])
def test_it_copies_every_value_and_none_beside(
    implementation: str, elements: int, skip: int
) -> None:
    x = np.random.default_rng(1).standard_normal(elements).astype(np.float32)
    room = np.full(elements + 64, 7, np.float32)
    out = room[skip : skip + elements]
    assert _core.copy_finite(x, out, implementation=implementation)
    assert np.array_equal(out, x)
    assert (room[:skip] == 7).all() and (room[skip + elements :] == 7).all()


@pytest.mark.parametrize("implementation", _core.codec_implementations())
@pytest.mark.parametrize("elements", [1, 10_001, LARGE])
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, -np.nan])
def test_one_value_that_is_not_finite_is_seen_wherever_it_stands(
    implementation: str, elements: int, odd: float
) -> None:
    x = np.full(elements, np.finfo(np.float32).max, np.float32)
    x[1::2] = -np.float32(1e-45)
    out = np.empty(elements + 1, np.float32)[1:]
    assert _core.copy_finite(x, out, implementation=implementation)
    end = elements - 1
    for at in {0, end // 2, end, *(max(0, end - n) for n in (9, 4000, 5100, 6000, 8192, 17_000))}:
        kept, x[at] = x[at], odd
        assert not _core.copy_finite(x, out, implementation=implementation)
        assert np.array_equal(out.view(np.uint32), x.view(np.uint32))
        x[at] = kept
