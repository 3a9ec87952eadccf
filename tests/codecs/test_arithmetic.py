"""What codecs promise about numbers: roundings, NaNs, weights, ragged lengths, unaligned wires."""

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors

IMPLEMENTATIONS = _core.codec_implementations()
BY_CODE = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
BY_CODEC = pytest.mark.parametrize("codec", codecs.NAMES)


def every_upper_half():
    """All 65,536 upper halves of a float32, each with lower halves around the tie."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (upper[:, None] | lower).reshape(-1).view(np.float32)


@BY_CODE
@BY_CODEC
def test_all_kinds_of_float_make_the_references_wire(codec, implementation):
    x = every_upper_half()
    wire = codecs.reference(codec).encode(x)
    assert _core.encode(codec, x, implementation=implementation).tobytes() == wire.tobytes()
    decoded = _core.decode(codec, wire, x.size, implementation=implementation)
    assert decoded.tobytes() == codecs.reference(codec).decode(wire, x.size).tobytes()


@BY_CODE
@BY_CODEC
@pytest.mark.parametrize("weight", [1.0, -1.0, 0.0, 0.1, 1 / 3, 3e38, 1e-40, np.inf, np.nan])
def test_sums_round_the_product_and_then_the_sum(codec, implementation, weight):
    x = vectors.normal(1027, 3)
    wire = _core.encode(codec, x)
    expected = vectors.normal(1027, 4)
    total = expected.copy()
    codecs.reference(codec).decode_add(wire, weight, expected)
    _core.decode_add(codec, wire, weight, total, implementation=implementation)
    assert vectors.same(total, expected)


@BY_CODE
@BY_CODEC
def test_a_fused_multiply_add_would_be_noticed(codec, implementation):
    wire = _core.encode(codec, np.random.default_rng(4).standard_normal(5000).astype(np.float32))
    y = _core.decode(codec, wire, 5000)
    weight = np.float32(1 / 3)
    total = -(weight * y)  # rounded: so the sum is zero, and a fused one what the rounding left
    exact = weight.astype(np.float64) * y
    assert (exact != -total).any()
    _core.decode_add(codec, wire, float(weight), total, implementation=implementation)
    assert (total == 0).all()


@BY_CODE
@BY_CODEC
def test_every_length_and_alignment_gives_the_same_elements(codec, implementation):
    x = vectors.normal(100, 9)
    for elements in range(x.size + 1):
        expected = codecs.reference(codec).encode(x[:elements])
        space = np.zeros(expected.size + 3, np.uint8)
        wire = space[3:]
        _core.encode(codec, x[:elements], out=wire, implementation=implementation)
        assert wire.tobytes() == expected.tobytes() and not space[:3].any()
        out = _core.decode(codec, wire, elements, implementation=implementation)
        assert out.tobytes() == codecs.reference(codec).decode(expected, elements).tobytes()
        total = np.ones(elements, np.float32)
        _core.decode_add(codec, wire, 0.5, total, implementation=implementation)
        assert (total == 1 + np.float32(0.5) * out).all()


@BY_CODE
@BY_CODEC
def test_ragged_ends_of_every_kind_of_length(codec, implementation):
    kernels, block = codecs.reference(codec), codecs.reference(codec).block
    for elements in (block - 1, block, block + 1, 3 * block + 5, 9 * block - 1):
        x = vectors.normal(elements, elements)
        wire = _core.encode(codec, x, implementation=implementation)
        assert wire.tobytes() == kernels.encode(x).tobytes()
        out = _core.decode(codec, wire, elements, implementation=implementation)
        assert out.tobytes() == kernels.decode(wire, elements).tobytes()


@BY_CODE
def test_bf16_rounds_to_nearest_and_ties_to_even(implementation):
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 + 2**-9], np.float32)
    wire = _core.encode("bf16", x, implementation=implementation)
    assert _core.decode("bf16", wire, 4).tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, 1.0]


@BY_CODE
def test_bf16_is_within_half_a_unit_of_its_input(implementation):
    x = vectors.normal(5000, 1)
    y = _core.decode("bf16", _core.encode("bf16", x, implementation=implementation), x.size)
    assert (np.abs(y - x) <= np.abs(x) * 2.0**-8 / (1 + 2.0**-8)).all()


@BY_CODE
@pytest.mark.parametrize("codec", ["f32", "bf16"])
def test_nans_stay_nans_and_infinities_infinities(codec, implementation):
    payloads = np.array([1, 0x7FFF, 0x8000, 0x3FFFFF, 0x400000, 0x7FFFFF], np.uint32)
    for sign in (0, 0x80000000):
        nans = (payloads | 0x7F800000 | sign).view(np.float32)
        x = np.tile(np.append(nans, np.float32(np.inf) * (-1 if sign else 1)), 7)
        y = _core.decode(codec, _core.encode(codec, x, implementation=implementation), x.size)
        assert np.isnan(y[np.isnan(x)]).all()
        assert (y[~np.isnan(x)] == x[~np.isnan(x)]).all()
        assert (np.signbit(y) == np.signbit(x)).all()


@BY_CODE
@BY_CODEC
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_spoils_its_block_and_no_other(codec, bad, implementation):
    block = codecs.reference(codec).block
    for at in (0, block // 2, block - 1, 2 * block - 1):
        x = vectors.normal(3 * block, 8)
        x[block + at - (block if at >= block else 0)] = bad
        y = _core.decode(codec, _core.encode(codec, x, implementation=implementation), x.size)
        assert not np.isfinite(y[block : 2 * block]).all()
        assert np.isfinite(y[:block]).all() and np.isfinite(y[2 * block :]).all()


@BY_CODE
def test_large_copies_are_exact_too(implementation):
    x = vectors.normal((2 << 20) // 4 + 5, 2)
    wire = _core.encode("f32", x, implementation=implementation)
    assert wire.tobytes() == x.tobytes()
    out = _core.decode("f32", wire, x.size, implementation=implementation)
    assert out.tobytes() == x.tobytes()


@BY_CODE
def test_an_f32_wire_may_be_decoded_where_it_lies(implementation):
    x = vectors.normal(999, 2)
    before = x.tobytes()
    _core.decode("f32", x.view(np.uint8), x.size, out=x, implementation=implementation)
    assert x.tobytes() == before


@BY_CODE
@pytest.mark.parametrize(("up", "down"), [("int4", "int8"), ("sign", "bf16"), ("topk", "f32")])
@pytest.mark.parametrize("divisor", [1.0, 3.0, 4.0])
def test_an_owners_step_is_its_parts_one_after_another(up, down, divisor, implementation):
    xs = np.random.default_rng(9).standard_normal((3, 9001)).astype(np.float32)
    wires = [_core.encode(up, x) for x in xs]
    plain = codecs.reference(up)
    total = sum((plain.decode(wire, 9001) for wire in wires[1:]), plain.decode(wires[0], 9001))
    expected = codecs.reference(down).encode((total / np.float32(divisor)).astype(np.float32))
    made, out = np.zeros(9001, np.float32), np.ones(expected.nbytes, np.uint8)
    how = {"divisor": divisor, "down": down, "out": out, "implementation": implementation}
    _core.sum_wires(up, wires, made, **how)
    assert out.tobytes() == expected.tobytes()
    assert made.tobytes() == codecs.reference(down).decode(expected, 9001).tobytes()


def test_an_owners_step_takes_wires_of_the_totals_length_only():
    total, wire = np.zeros(256, np.float32), _core.encode("int8", np.zeros(256, np.float32))
    how = {"divisor": 1.0, "down": "int8", "out": np.zeros_like(wire)}
    for wires, problem in [([], "no wire"), ([wire[:-1]], "has 272 bytes, not 271")]:
        with pytest.raises(ValueError, match=problem):
            _core.sum_wires("int8", wires, total, **how)
    wire[1] = 0xFF
    with pytest.raises(ValueError, match="malformed int8 wire"):
        _core.sum_wires("int8", [wire], total, **how)
    with pytest.raises(ValueError, match="not 4"):
        _core.sum_wires("int8", [wire], total, **how | {"out": np.zeros(4, np.uint8)})
