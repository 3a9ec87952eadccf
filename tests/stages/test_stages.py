"""The stages by themselves, and their doors. No network."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from isthmus import _core
from isthmus.codecs import Bf16, Feedback, Int4
from isthmus.doors import Bucket, Released
from isthmus.errors import Refused
from isthmus.packing import EXACT, Packing, Way, pack
from isthmus.stages.clip import clip
from isthmus.stages.encode import Draw, Memory, encode
from isthmus.stages.exchange import exchange
from isthmus.stages.noise import without_privacy

torch = pytest.importorskip("torch")
_package = Path(__file__).parents[2] / "python" / "isthmus"


_draw = Draw(key=1, step=2, bucket=3)


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
    wire = encode(without_privacy(bucket), pack([(EXACT, 2)]), None, _draw)
    assert np.shares_memory(wire.data, bucket.values)
    assert (wire.packing.table, wire.layout) == ([("f32", "f32", 2)], 7)


def test_bf16_goes_through_the_codec() -> None:
    released = Released(np.array([1.0, -2.5], np.float32), 7)
    packing = pack([(Way(Bf16()), 2)])
    wire = encode(released, packing, _memory(packing), _draw)
    assert wire.data.nbytes == 4
    np.testing.assert_array_equal(_core.decode("bf16", wire.data, 2), [1.0, -2.5])


def _memory(packing: Packing, now: Any = None, left: Any = None) -> Memory:
    wire = torch.zeros(packing.offsets[-1], dtype=torch.uint8)
    others = (None,) * (len(packing.segments) - 1)
    return Memory(wire, wire, (now, *others), (left, *others))


def _mixed() -> tuple[Packing, np.ndarray]:
    packing = pack([(Way(Int4(), Feedback()), 300), (Way(Bf16()), 5), (EXACT, 3)])
    return packing, np.random.default_rng(0).standard_normal(308).astype(np.float32)


def test_a_wire_of_segments_has_each_codecs_bytes_where_the_core_expects_them() -> None:
    packing, values = _mixed()
    wire = encode(Released(values, 7), packing, _memory(packing), _draw)
    begin = 0
    for (up, _, elements), at in zip(packing.table, packing.offsets, strict=False):
        own = _core.encode(up, values[begin : begin + elements])
        assert at % 16 == 0
        assert wire.data[at : at + own.size].tobytes() == own.tobytes()
        begin += elements
    assert wire.data.nbytes == packing.offsets[-1]


def test_residuals_are_read_from_now_and_written_to_next_only() -> None:
    packing, values = _mixed()
    now, left = torch.randn(300), torch.zeros(300)
    kept = now.clone()
    memory = _memory(packing, now, left)
    wire = encode(Released(values, 7), packing, memory, _draw)
    sent = _core.decode("int4", wire.data[: _core.wire_size("int4", 300)], 300)
    assert np.shares_memory(wire.data, memory.wire.numpy())
    assert torch.equal(now, kept)
    np.testing.assert_array_equal(left.numpy(), (values[:300] + now.numpy()) - sent)


def test_stochastic_rounding_draws_anew_for_every_step_bucket_and_segment() -> None:
    packing = pack([(Way(Int4(rounding="stochastic")), 256), (EXACT, 1), (Way(Bf16()), 1)])
    again = pack([(Way(Bf16()), 1), (Way(Int4(rounding="stochastic")), 256)])
    values = np.linspace(-1, 1, 258).astype(np.float32)

    def wire(packing: Packing, values: np.ndarray, draw: Draw) -> bytes:
        at = next(i for i, s in enumerate(packing.segments) if s.elements == 256)
        begin = packing.offsets[at]
        data = encode(Released(values, 7), packing, _memory(packing), draw).data
        return data[begin : begin + _core.wire_size("int4", 256)].tobytes()

    first = wire(packing, values, _draw)
    assert first == wire(packing, values, _draw)
    others = [Draw(2, 2, 3), Draw(1, 3, 3), Draw(1, 2, 4)]
    moved = np.concatenate([[0], values[:256]]).astype(np.float32)
    seen = {first, wire(again, moved, _draw), *(wire(packing, values, d) for d in others)}
    assert len(seen) == 5


def test_a_packing_of_another_size_is_refused() -> None:
    with pytest.raises(Refused, match="3 values are packed as 2"):
        encode(without_privacy(_bucket(1.0, 2.0, 3.0)), pack([(EXACT, 2)]), None, _draw)


def test_encode_takes_nothing_that_was_not_released() -> None:
    with pytest.raises(Refused, match="encode takes Released, not Bucket"):
        encode(_bucket(1.0), pack([(EXACT, 1)]), None, _draw)  # type: ignore[arg-type]


def test_exchange_takes_nothing_that_was_not_encoded() -> None:
    released = without_privacy(_bucket(1.0))
    with pytest.raises(Refused, match="exchange takes Wire, not Released"):
        exchange(released, None, released.values, weight=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("door", "maker"), [("Released", "noise.py"), ("Wire", "encode.py")])
def test_a_door_has_one_maker(door: str, maker: str) -> None:
    making = re.compile(rf"(?<!class )\b{door}\(")
    makers = [path.name for path in _package.rglob("*.py") if making.search(path.read_text())]
    assert makers == [maker]


def test_a_device_makes_the_hosts_bytes_residuals_and_means(
    run_interpreted: Callable[[Path], None],
) -> None:
    run_interpreted(Path(__file__).with_name("on_device.py"))
