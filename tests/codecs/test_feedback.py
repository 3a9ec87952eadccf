"""Error feedback and stochastic rounding: the same from all implementations, and what for."""

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors
from isthmus.kernels.codecs.reference import Dither
from isthmus.kernels.rng.reference import philox

IMPLEMENTATIONS = _core.codec_implementations()
BY_CODE = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
FEEDS = [name for name in codecs.NAMES if codecs.feeds(name)]
DITHERS = [name for name in codecs.NAMES if codecs.dithers(name)]
CONTRACTION = {
    "int8": 0.01,
    "int4": 0.15,
    "int2": 0.45,
    "sign": 1.2,
    "topk": 4.3,
    "topk-64-int8": 3.4,
}


def adversarial(elements: int, seed: int) -> np.ndarray:
    """Random bits here, ordinary gradients there, runs of zeros, of equal values, of denormals."""
    rng = np.random.default_rng(seed)
    x = vectors.normal(elements, seed)
    for begin in range(0, elements, 512):
        part = x[begin : begin + 512]
        kind = rng.integers(0, 6)
        if kind == 0:
            part[:] = rng.integers(0, 2**32, part.size, dtype=np.uint32).view(np.float32)
        elif kind == 1:
            part[:] = 0
        elif kind == 2:
            part[:] = np.float32(rng.standard_normal())
        elif kind == 3:
            part[:] = rng.integers(0, 2**23, part.size, dtype=np.uint32).view(np.float32)
        elif kind == 4:
            part[rng.integers(0, part.size)] = 3e38
    return x


@BY_CODE
@pytest.mark.parametrize("codec", FEEDS)
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
@pytest.mark.parametrize("in_place", [False, True])
def test_feedback_is_the_references(codec, kind, in_place, implementation):
    kernels = codecs.reference(codec)
    for elements, beta in ((5000, 1.0), (12289, 0.95), (127, -0.3)):
        x, left = adversarial(elements, elements), adversarial(elements, 7)
        residual = left if kind == np.float32 else (left.view(np.uint32) >> 16).astype(np.uint16)
        expected, after = kernels.encode_with_feedback(x, residual, beta=beta)
        kept = residual.copy()
        target = residual if in_place else np.full_like(residual, 3)
        wire = _core.encode(
            codec,
            x,
            residual=residual,
            next_residual=target,
            beta=beta,
            implementation=implementation,
        )
        assert wire.tobytes() == expected.tobytes()
        if kind == np.float32:
            assert vectors.same(target, after)
        else:
            nan = (after & 0x7FFF) > 0x7F80
            assert (((target & 0x7FFF) > 0x7F80) == nan).all()
            assert (target[~nan] == after[~nan]).all()
        assert in_place or residual.tobytes() == kept.tobytes()


@BY_CODE
@pytest.mark.parametrize("codec", FEEDS)
@pytest.mark.parametrize("past_a_line", [0, 4, 32])
def test_no_residual_yet_is_one_of_zeros(codec, past_a_line, implementation):
    """Wherever it lies: whole lines of 64 bytes may be written another way."""
    x = vectors.normal(5000, 3)
    memory = np.full(x.nbytes + 128, 5, np.uint8)
    begin = -memory.ctypes.data % 64 + past_a_line
    left = memory[begin : begin + x.nbytes].view(np.float32)
    wire = _core.encode(codec, x, next_residual=left, implementation=implementation)
    assert wire.tobytes() == codecs.reference(codec).encode(x).tobytes()
    assert (left == x - codecs.reference(codec).decode(wire, x.size)).all()
    assert (memory[:begin] == 5).all() and (memory[begin + x.nbytes :] == 5).all()


@BY_CODE
@pytest.mark.parametrize("codec", DITHERS)
def test_dithered_wires_are_the_references(codec, implementation):
    for elements in (1, 8, 127, 5000, 12288):
        x = adversarial(elements, elements + 1)
        place = Dither(key=0xFEDCBA9876543210, step=2**32 - 1, bucket=9, stream=4)
        expected = codecs.reference(codec).encode(x, dither=place)
        wire = _core.encode(
            codec,
            x,
            dither=(place.key, place.step, place.bucket, place.stream),
            implementation=implementation,
        )
        assert wire.tobytes() == expected.tobytes()


@BY_CODE
@pytest.mark.parametrize("codec", DITHERS)
def test_dithering_a_range_of_its_own_continues_the_numbers(codec, implementation):
    """Slices and kernels may begin anywhere that is a multiple of eight elements."""
    x = vectors.normal(4096, 5)
    place = (77, 1, 2, 3)
    whole = _core.decode(codec, _core.encode(codec, x, dither=place), x.size)
    begin = 1024
    wire = _core.encode(
        codec, x[begin:], dither=(*place, begin // 8), implementation=implementation
    )
    assert _core.decode(codec, wire, x.size - begin).tobytes() == whole[begin:].tobytes()


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    assert philox(np.array([counter], np.uint32), key)[0].tolist() == list(expected)


@pytest.mark.parametrize("codec", [name for name in codecs.NAMES if name not in FEEDS])
def test_feedback_is_refused_where_it_is_not_offered(codec):
    x = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match=f"{codec}.*feedback"):
        _core.encode(codec, x, next_residual=x.copy())


@pytest.mark.parametrize("codec", [name for name in codecs.NAMES if name not in DITHERS])
def test_stochastic_rounding_is_refused_where_it_is_not_offered(codec):
    with pytest.raises(ValueError, match=f"{codec}.*stochastic"):
        _core.encode(codec, np.zeros(8, np.float32), dither=(1, 2, 3, 4))


def contraction(codec: str, steps: int) -> list[float]:
    """|residual| / |gradient| after each of `steps` steps of fresh Gaussian gradients."""
    rng = np.random.default_rng(0)
    left = np.zeros(1 << 15, np.float32)
    found = []
    for _ in range(steps):
        x = rng.standard_normal(left.size).astype(np.float32)
        _core.encode(codec, x, residual=left, next_residual=left)
        found.append(float(np.linalg.norm(left) / np.linalg.norm(x)))
    return found


@pytest.mark.parametrize("codec", FEEDS)
def test_the_contraction_gate_holds_for_every_codec_that_takes_feedback(codec):
    """The residual settles: what the table calls `feedback` is measured here."""
    density = {"16": 256, "32": 128, "64": 64, "128": 32}
    k = codec.split("-")[1] if "-" in codec else "64"
    steps = 10 * density[k] if codec.startswith("topk") and k in ("16", "32") else 300
    found = contraction(codec, steps)
    assert found[-1] < 1.1 * found[steps // 2]
    if codec in CONTRACTION:
        assert max(found[:100]) < CONTRACTION[codec]


def test_the_gate_would_notice_one_bit_scaled_by_the_largest():
    """Its residual never settles: what a codec with feedback must never be."""
    rng = np.random.default_rng(0)
    left = np.zeros((256, 128), np.float32)
    found = []
    for _ in range(300):
        x = rng.standard_normal(left.shape).astype(np.float32)
        p = x + left
        left = p - np.sign(p) * np.abs(p).max(axis=1, keepdims=True)
        found.append(float(np.linalg.norm(left) / np.linalg.norm(x)))
    assert found[-1] > 1.1 * found[150]
