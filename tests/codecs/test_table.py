"""The table, pieces, and what the binding refuses."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors

BY_CODEC = pytest.mark.parametrize("codec", codecs.NAMES)


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def probe() -> np.ndarray:
    state, words = 1, []
    for _ in range(4096 + 300):
        state = (state * 1664525 + 1013904223) % 2**32
        words.append(state)
    return np.array(words, np.uint32).view(np.float32)


def test_table_hash_covers_ids_names_and_formats():
    hashed = b"".join(
        bytes([row["id"], row["variant"]])
        + row["name"].encode()
        + codecs.reference(row["name"]).encode(probe()).tobytes()
        for row in _core.codec_table()
    )
    assert _core.codec_table_hash() == fnv1a(hashed)


def test_table_hash_is_the_same_in_another_process():
    program = "from isthmus import _core; print(_core.codec_table_hash())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) == _core.codec_table_hash()


def test_ids_and_names_are_unique_and_on_the_wire_as_documented():
    table = _core.codec_table()
    assert (
        len({(row["id"], row["variant"]) for row in table})
        == len({row["name"] for row in table})
        == len(table)
    )
    ids = {row["name"]: row["id"] for row in table}
    assert (ids["f32"], ids["bf16"], ids["int8"], ids["int4"], ids["int2"]) == (1, 2, 3, 4, 5)
    assert (ids["sign"], ids["topk"], ids["topk-16-int8"]) == (6, 7, 7)
    assert all(0 < row["id"] < 256 for row in table)


@BY_CODEC
def test_pieces_of_a_range_are_the_wire_of_its_elements(codec):
    granule = next(row["granule"] for row in _core.codec_table() if row["name"] == codec)
    x = vectors.normal(5 * granule + 1, 5)
    wire = _core.encode(codec, x).tobytes()
    bounds = [*range(0, x.size, granule), x.size]
    for begin, end in itertools.combinations_with_replacement(bounds, 2):
        if begin % granule:
            continue
        pieces = _core.pieces(codec, x.size, begin, end - begin)
        assert pieces == codecs.reference(codec).pieces(x.size, begin, end - begin)
        joined = b"".join(wire[at : at + size] for at, size in pieces)
        assert joined == _core.encode(codec, x[begin:end]).tobytes()


@BY_CODEC
def test_ranges_outside_the_elements_are_refused(codec):
    for begin, count in ((0, 9), (9, 0), (8, 1), (4, 2**64 - 4)):
        with pytest.raises(ValueError, match="not within 8 elements"):
            _core.pieces(codec, 8, begin, count)


@pytest.mark.parametrize("codec", [name for name in codecs.NAMES if name not in ("f32", "bf16")])
def test_ranges_that_cut_a_block_are_refused(codec):
    granule = codecs.reference(codec).granule
    for begin, count in ((1, granule), (granule, granule - 1), (0, 7)):
        with pytest.raises(ValueError, match=f"a multiple of {granule} elements"):
            _core.pieces(codec, 4 * granule, begin, count)


def test_an_unknown_codec_names_the_known_ones():
    calls = [
        lambda: _core.encode("int3", np.zeros(1, np.float32)),
        lambda: _core.decode("int3", b"", 0),
        lambda: _core.decode_add("int3", b"", 1.0, np.zeros(0, np.float32)),
        lambda: _core.wire_size("int3", 1),
        lambda: _core.pieces("int3", 1, 0, 1),
        lambda: codecs.reference("int3"),
        lambda: codecs.device("int3"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"no codec 'int3'; known codecs: f32, bf16, int8"):
            call()


def test_an_unknown_implementation_names_those_of_this_machine():
    with pytest.raises(ValueError, match=r"no implementation 'mmx' on this machine.*portable"):
        _core.encode("f32", np.zeros(1, np.float32), implementation="mmx")


@BY_CODEC
@pytest.mark.parametrize("change", [-1, 1, 4])
def test_a_wire_of_another_size_is_refused_and_nothing_is_written(codec, change):
    wire = bytes(_core.wire_size(codec, 10) + change)
    total = np.ones(10, np.float32)
    with pytest.raises(ValueError, match=f"a {codec} wire of 10 elements has"):
        _core.decode(codec, wire, 10, out=total)
    with pytest.raises(ValueError, match=f"a {codec} wire of 10 elements has"):
        _core.decode_add(codec, wire, 1.0, total)
    with pytest.raises(ValueError, match=f"a {codec} wire of 10 elements has"):
        _core.encode(codec, total, out=np.zeros(len(wire), np.uint8))
    with pytest.raises(ValueError, match="10 elements has"):
        codecs.reference(codec).decode(np.frombuffer(wire, np.uint8), 10)
    assert (total == 1).all()


@BY_CODEC
def test_absurd_numbers_of_elements_are_refused(codec):
    for elements in (2**48 + 1, 2**62, 2**64 - 1):
        with pytest.raises(ValueError, match="too many"):
            _core.wire_size(codec, elements)
        with pytest.raises(ValueError, match="too many"):
            _core.decode(codec, b"", elements)


def test_arrays_of_the_wrong_kind_are_refused():
    good = np.zeros(8, np.float32)
    read_only = np.zeros(8, np.float32)
    read_only.flags.writeable = False
    wire = _core.encode("f32", good)
    for dtype in (np.float64, np.float16, np.int32, ">f4"):
        with pytest.raises(TypeError, match="must be float32, not"):
            _core.encode("f32", good.astype(dtype))
    with pytest.raises(TypeError, match="total must be float32, not float64"):
        _core.decode_add("f32", wire, 1.0, good.astype(np.float64))
    with pytest.raises(TypeError, match="out must be uint8, not float32"):
        _core.encode("f32", good, out=good)
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        _core.encode("f32", good[::2])
    with pytest.raises(ValueError, match="total must be C-contiguous"):
        _core.decode_add("f32", wire[:16], 1.0, good[::2])
    with pytest.raises(ValueError, match="total must be writeable"):
        _core.decode_add("f32", wire, 1.0, read_only)
    with pytest.raises(ValueError, match="out must be writeable"):
        _core.decode("f32", wire, 8, out=read_only)
    with pytest.raises(ValueError, match="out has 8 elements, not 4"):
        _core.decode("f32", wire[:16], 4, out=good)
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        _core.decode("f32", wire[::2], 4)
    with pytest.raises(TypeError):
        _core.decode("f32", "a text", 2)


def test_shapes_are_taken_flat_and_results_go_into_out():
    x = vectors.normal(12, 6)
    out = np.zeros(24, np.uint8)
    assert _core.encode("bf16", x.reshape(3, 4), out=out) is out
    assert out.tobytes() == _core.encode("bf16", x).tobytes()


def seen_during_arithmetic(x: np.ndarray, wire: np.ndarray) -> bool:
    """Whether this thread got a turn between the beginning and the end of a call in another."""
    ended = threading.Event()

    def work() -> None:
        _core.decode_add("bf16", wire, 1.0, x)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    seen = not ended.is_set()
    thread.join()
    return seen


def test_arithmetic_lets_other_threads_run():
    x = np.zeros(4 << 20, np.float32)
    wire = _core.encode("bf16", x)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # a thread now gives way only where it releases the lock itself
    try:
        assert any(seen_during_arithmetic(x, wire) for _ in range(100))
    finally:
        sys.setswitchinterval(switch)
