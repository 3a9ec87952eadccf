"""Wires from strangers: an error or numbers, never a read or write outside, never another result.

`make asan` runs this file with guards around every array.
"""

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors

BY_CODE = pytest.mark.parametrize("implementation", _core.codec_implementations())
BY_CODEC = pytest.mark.parametrize("codec", codecs.NAMES)
SCALED = [name for name in codecs.NAMES if name not in ("f32", "bf16")]


def decoded(codec, wire, elements, implementation):
    """The elements, or None for a wire that is refused."""
    guarded = np.full(elements + 64, 12345.0, np.float32)
    try:
        _core.decode(codec, wire, elements, out=guarded[32:-32], implementation=implementation)
    except ValueError as refused:
        assert "malformed" in str(refused) and codec in str(refused)
        assert (guarded == 12345.0).all()
        return None
    assert (guarded[:32] == 12345.0).all() and (guarded[-32:] == 12345.0).all()
    return guarded[32:-32]


def expected(codec, wire, elements):
    try:
        return codecs.reference(codec).decode(wire, elements)
    except ValueError:
        return None


@BY_CODE
@BY_CODEC
def test_random_bytes_are_read_as_the_reference_reads_them(codec, implementation):
    rng = np.random.default_rng(3)
    for elements in (1, 129, 4096, 4097, 9000):
        for _ in range(10):
            wire = rng.integers(0, 256, _core.wire_size(codec, elements), dtype=np.uint8)
            found, right = (
                decoded(codec, wire, elements, implementation),
                expected(codec, wire, elements),
            )
            assert (found is None) == (right is None)
            assert found is None or vectors.same(found, right)


@BY_CODE
@BY_CODEC
def test_changed_bytes_of_good_wires_are_read_as_the_reference_reads_them(codec, implementation):
    rng = np.random.default_rng(4)
    refused = 0
    for elements in (1, 1000, 4097):
        good = _core.encode(codec, vectors.normal(elements, elements))
        for _ in range(60):
            wire = good.copy()
            wire[rng.integers(0, wire.size)] = rng.integers(0, 256)
            found, right = (
                decoded(codec, wire, elements, implementation),
                expected(codec, wire, elements),
            )
            assert (found is None) == (right is None)
            assert found is None or vectors.same(found, right)
            refused += found is None
    assert refused > 0 or codec in ("f32", "bf16", "int8", "int4", "int2", "sign")


@BY_CODE
@pytest.mark.parametrize("codec", SCALED)
@pytest.mark.parametrize("scale", [0x8000, 0x7F80, 0xFF80, 0x7FC1, 0xFFC0, 0x7F81, 0xBF80])
def test_scales_that_no_encoder_writes_are_refused(codec, scale, implementation):
    wire = _core.encode(codec, vectors.normal(10_000, 1))
    for block in (0, 1):
        bad = wire.copy()
        bad[2 * block : 2 * block + 2] = np.array([scale], "<u2").view(np.uint8)
        assert decoded(codec, bad, 10_000, implementation) is None
        total = np.ones(10_000, np.float32)
        with pytest.raises(ValueError, match="malformed"):
            _core.decode_add(codec, bad, 1.0, total, implementation=implementation)
        assert (total == 1).all()


@BY_CODE
@pytest.mark.parametrize("codec", [name for name in SCALED if name.startswith("topk")])
def test_places_out_of_order_or_twice_are_refused(codec, implementation):
    elements = 4096
    wire = _core.encode(codec, vectors.normal(elements, 1))
    (_, scale_bytes), _, _ = _core.pieces(codec, elements, 0, elements)
    bad = wire.copy()
    bad[scale_bytes : scale_bytes + 3] = (5, 0x50, 0)  # places 5 and 5
    assert decoded(codec, bad, elements, implementation) is None
    bad[scale_bytes : scale_bytes + 3] = (6, 0x50, 0)  # places 6 and 5
    assert decoded(codec, bad, elements, implementation) is None


@BY_CODE
@pytest.mark.parametrize("codec", SCALED)
def test_bytes_between_sections_must_be_zero(codec, implementation):
    elements = 130
    wire = _core.encode(codec, vectors.normal(elements, 1))
    at = _core.pieces(codec, elements, 0, elements)[0][1] - 1  # the last one before the second
    bad = wire.copy()
    bad[at] = 1
    assert decoded(codec, bad, elements, implementation) is None
