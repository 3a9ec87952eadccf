"""The stages by themselves, and their doors. No network."""

import re
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.doors import Bucket, Released
from isthmus.errors import Refused
from isthmus.stages.clip import clip
from isthmus.stages.encode import encode
from isthmus.stages.exchange import exchange
from isthmus.stages.noise import without_privacy

_package = Path(__file__).parents[2] / "python" / "isthmus"


def _bucket(*values: float) -> Bucket:
    return Bucket(np.array(values, np.float32), layout=7)


def test_clip_leaves_a_short_bucket_alone() -> None:
    bucket = _bucket(3.0, 4.0)
    assert clip(bucket, 5.0) is bucket


def test_clip_scales_a_long_bucket_to_the_norm_and_keeps_its_direction() -> None:
    bucket = _bucket(30.0, 40.0)
    clipped = clip(bucket, 5.0)
    np.testing.assert_allclose(clipped.values, [3.0, 4.0], rtol=1e-6)
    assert clipped.values.dtype == np.float32
    assert clipped.layout == 7
    np.testing.assert_array_equal(bucket.values, [30.0, 40.0])


def test_clip_of_values_whose_squares_overflow_float32_is_right() -> None:
    np.testing.assert_allclose(clip(_bucket(3e30, 4e30), 5.0).values, [3.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clip_does_not_hide_what_is_not_finite(bad: float) -> None:
    assert not np.isfinite(clip(_bucket(1.0, bad), 5.0).values).all()


@pytest.mark.parametrize("norm", [0.0, -1.0, np.nan, np.inf])
def test_clip_refuses_a_norm_that_bounds_nothing(norm: float) -> None:
    with pytest.raises(Refused, match="clip norm"):
        clip(_bucket(1.0), norm)


def test_f32_passes_without_a_copy() -> None:
    bucket = _bucket(1.0, 2.0)
    wire = encode(without_privacy(bucket), "f32")
    assert np.shares_memory(wire.data, bucket.values)
    assert (wire.codec, wire.elements, wire.layout) == ("f32", 2, 7)


def test_bf16_goes_through_the_codec() -> None:
    wire = encode(Released(np.array([1.0, -2.5], np.float32), 7), "bf16")
    assert wire.data.nbytes == 4
    np.testing.assert_array_equal(_core.decode("bf16", wire.data, 2), [1.0, -2.5])


def test_encode_takes_nothing_that_was_not_released() -> None:
    with pytest.raises(Refused, match="encode takes Released, not Bucket"):
        encode(_bucket(1.0), "f32")  # type: ignore[arg-type]


def test_exchange_takes_nothing_that_was_not_encoded() -> None:
    released = without_privacy(_bucket(1.0))
    with pytest.raises(Refused, match="exchange takes Wire, not Released"):
        exchange(released, None, released.values, weight=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("door", "maker"), [("Released", "noise.py"), ("Wire", "encode.py")])
def test_a_door_has_one_maker(door: str, maker: str) -> None:
    making = re.compile(rf"(?<!class )\b{door}\(")
    makers = [path.name for path in _package.rglob("*.py") if making.search(path.read_text())]
    assert makers == [maker]
