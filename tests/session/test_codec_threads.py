"""Sessions whose slices are decoded, added and encoded by threads of their own."""

import threading
from collections.abc import Iterator

import isthmus
import numpy as np
import pytest
from isthmus import testing
from isthmus.session import Session
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ELEMENTS = 300_000


@pytest.fixture(scope="module")
def threaded() -> Iterator[list[Session]]:
    with testing.sites(3, codec_threads=2) as sessions:
        yield sessions


def inputs(seed: int) -> list[Floats]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(ELEMENTS, np.float32) for _ in range(3)]


def mean_of(sessions: list[Session], codec: str, schedule: str, seed: int) -> list[Floats]:
    xs = inputs(seed)
    works = [
        s.all_reduce(x, codec=codec, schedule=schedule) for s, x in zip(sessions, xs, strict=True)
    ]
    for work in works:
        work.wait(20)
    return xs


@pytest.mark.parametrize("schedule", ["direct", "gather", "ring"])
@pytest.mark.parametrize("codec", ["f32", "bf16", "int8", "int4"])
def test_they_bring_the_same_bits_as_no_threads(
    threaded: list[Session], codec: str, schedule: str
) -> None:
    with testing.sites(3, codec_threads=0) as plain:
        expected = mean_of(plain, codec, schedule, seed=1)
    for _ in range(3):
        results = mean_of(threaded, codec, schedule, seed=1)
        assert [x.tobytes() for x in results] == [expected[0].tobytes()] * 3


def test_closing_in_the_middle_gives_back_memory_that_nobody_reads(
    threaded: list[Session],
) -> None:
    before = threading.active_count()
    for seed in range(5):
        with testing.sites(3, codec_threads=2) as sessions:
            xs = inputs(seed)
            works = [s.all_reduce(x, codec="int4") for s, x in zip(sessions, xs, strict=True)]
            works += [
                s.all_reduce(x, codec="int4") for s, x in zip(sessions, inputs(9), strict=True)
            ]
            testing.close(*sessions[seed % 3 :])
            for work in works:
                try:
                    work.wait(20)
                except isthmus.IsthmusError:
                    continue
    assert threading.active_count() == before
    mean_of(threaded, "int4", "auto", seed=2)
