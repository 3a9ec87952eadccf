"""Every implementation on this processor makes the golden vectors, and they are the reference's."""

from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors

IMPLEMENTATIONS = ["reference", *_core.codec_implementations()]
CASES = [pytest.param(c, v, id=f"{c}-{v.name}") for c in codecs.NAMES for v in vectors.load(c)]
ROOT = Path(codecs.__file__).parent


@pytest.mark.parametrize("codec", codecs.NAMES)
def test_vectors_are_what_the_reference_makes(codec):
    assert vectors.differences(codec) == []


def test_a_changed_vector_is_noticed(monkeypatch):
    found = vectors.load("bf16")
    changed = found[3].wire.copy()
    changed[0] ^= 1
    object.__setattr__(found[3], "wire", changed)
    monkeypatch.setattr(vectors, "load", lambda codec: found)
    assert vectors.differences("bf16") == [
        f"bf16: vector {found[3].name!r}: wire differs from the reference"
    ]


@pytest.mark.parametrize("codec", codecs.NAMES)
def test_vectors_cover_sizes(codec):
    assert set(vectors.SIZES) <= {vector.input.size for vector in vectors.load(codec)}


@pytest.mark.parametrize("codec", codecs.FOLDERS)
def test_vectors_cover_edges(codec):
    found = vectors.load(codec)
    values = np.concatenate([vector.input for vector in found])
    assert np.isnan(values).any() and np.isposinf(values).any() and np.isneginf(values).any()
    assert np.signbit(values[values == 0]).any()
    smallest = np.finfo(np.float32).tiny
    assert ((np.abs(values) < smallest) & (values != 0)).any()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("codec", "vector"), CASES)
def test_implementation_makes_the_vector(codec, vector, implementation):
    total = vector.total.copy()
    if implementation == "reference":
        wire = codecs.reference(codec).encode(vector.input)
        decoded = codecs.reference(codec).decode(vector.wire, vector.input.size)
        codecs.reference(codec).decode_add(vector.wire, vector.weight, total)
    else:
        wire = _core.encode(codec, vector.input, implementation=implementation)
        decoded = _core.decode(codec, vector.wire, vector.input.size, implementation=implementation)
        _core.decode_add(codec, vector.wire, vector.weight, total, implementation=implementation)
    assert wire.tobytes() == vector.wire.tobytes()
    assert decoded.tobytes() == vector.decoded.tobytes()
    assert vectors.same(total, vector.sum)


FED = [case for case in CASES if codecs.feeds(case.values[0])]
DITHERED = [case for case in CASES if codecs.dithers(case.values[0])]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("codec", "vector"), FED)
def test_implementation_feeds_back_as_the_vector(codec, vector, implementation):
    if implementation == "reference":
        wire, left = codecs.reference(codec).encode_with_feedback(
            vector.input, vector.residual, beta=vectors.BETA
        )
    else:
        left = np.full_like(vector.residual, 9)
        wire = _core.encode(
            codec,
            vector.input,
            residual=vector.residual,
            next_residual=left,
            beta=vectors.BETA,
            implementation=implementation,
        )
    assert wire.tobytes() == vector.fed_wire.tobytes()
    assert vectors.same(left, vector.next_residual)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("codec", "vector"), DITHERED)
def test_implementation_dithers_as_the_vector(codec, vector, implementation):
    place = vectors.DITHER
    if implementation == "reference":
        wire = codecs.reference(codec).encode(vector.input, dither=place)
    else:
        wire = _core.encode(
            codec,
            vector.input,
            dither=(place.key, place.step, place.bucket, place.stream, place.group),
            implementation=implementation,
        )
    assert wire.tobytes() == vector.dithered.tobytes()


def test_every_codec_of_the_table_has_a_folder_and_every_folder_a_row():
    table = {row["name"]: row for row in _core.codec_table()}
    assert list(codecs.NAMES) == list(table)
    assert {path.parent.name for path in ROOT.glob("*/format.md")} == set(codecs.FOLDERS)
    for folder, number in codecs.FOLDERS.items():
        assert table[folder]["id"] == number and table[folder]["variant"] == 0
        for part in ("format.md", "reference.py", "vectors.json", "cpu.cpp"):
            assert (ROOT / folder / part).exists(), f"{folder} has no {part}"
