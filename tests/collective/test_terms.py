"""Ranks that take the terms of a result instead of their sum, beside ranks that do not."""

from __future__ import annotations

import numpy as np
import pytest
from carrier import Floats, Net, assert_all_bits_equal
from isthmus import _core

SLICE = 32768
SEGMENTS = {
    "f32": [("f32", "f32", 2 * SLICE + 5)],
    "int4, int8": [("int4", "int8", 3 * SLICE + 129)],
    "bf16, f32": [("bf16", "f32", SLICE + 1)],
    "mixed": [("int4", "int8", SLICE + 3), ("bf16", "bf16", 7), ("sign", "f32", 2 * SLICE + 130)],
}
SEGMENTS["topk"] = [("topk", "topk", 5000), ("bf16", "bf16", 3), ("topk", "topk", SLICE + 1)]
CASES = [
    (algorithm, world, name)
    for algorithm, worlds in {"gather": (1, 2, 3, 5), "direct": (2, 3, 5), "ring": (2, 3)}.items()
    for world in worlds
    for name in SEGMENTS
    if algorithm == "gather" or name != "topk"
]


def wire_of(x: Floats, segments: list[tuple[str, str, int]]) -> bytes:
    offsets = _core.segment_offsets(segments)
    wire = np.zeros(offsets[-1], np.uint8)
    begin = 0
    for (up, _, elements), offset in zip(segments, offsets[:-1], strict=True):
        part = _core.encode(up, x[begin : begin + elements])
        wire[offset : offset + part.size] = part
        begin += elements
    return wire.tobytes()


def summed(executor: _core.Executor, segments: list[tuple[str, str, int]], *, down: bool) -> Floats:
    """What the terms make together, by the rule of collective/terms.hpp."""
    weights, divisor = executor.term_sum()
    names = [(low if down else up, low if down else up, n) for up, low, n in segments]
    offsets = _core.segment_offsets(names)
    parts = []
    for (name, _, elements), offset in zip(names, offsets[:-1], strict=True):
        total = np.zeros(0, np.float32)
        for i, (wire, weight) in enumerate(zip(executor.terms(), weights, strict=True)):
            assert len(wire) == offsets[-1]
            own = wire[offset : offset + _core.wire_size(name, elements)]
            if i == 0:
                total = _core.decode(name, own, elements) * np.float32(weight)
            else:
                _core.decode_add(name, own, weight, total)
        parts.append((total / np.float32(divisor)).astype(np.float32))
    return np.concatenate(parts)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("algorithm", "world", "name"), CASES)
def test_the_sum_of_the_terms_is_the_result_of_the_others(
    algorithm: str, world: int, name: str, weighted: bool
) -> None:
    segments = SEGMENTS[name]
    elements = sum(n for _, _, n in segments)
    random_numbers = np.random.default_rng(world)
    inputs = random_numbers.standard_normal((world, elements)).astype(np.float32)
    takers = {rank for rank in range(world) if rank % 2 == 0}
    executors = [
        _core.Executor(
            algorithm,
            rank=rank,
            world=world,
            wire=wire_of(x, segments),
            segments=segments,
            weights=[0.5 + rank for rank in range(world)] if weighted else [],
            mean=True,
            slice_elements=SLICE,
            terms=rank in takers,
        )
        for rank, x in enumerate(inputs)
    ]
    results = Net(executors, seed=world).run()
    for rank in takers:
        results[rank] = summed(executors[rank], segments, down=algorithm != "gather")
    assert_all_bits_equal(results)
    expected = np.average(inputs, axis=0, weights=np.arange(world) + 0.5 if weighted else None)
    assert np.linalg.norm(results[0] - expected) < 1.2 * np.linalg.norm(expected)


def test_a_malformed_term_is_refused_by_name() -> None:
    segments = [("int8", "int8", 500)]
    left, right = (
        _core.Executor(
            "gather",
            rank=rank,
            world=2,
            wire=wire_of(np.ones(500, np.float32), segments),
            segments=segments,
            weights=[],
            mean=True,
            slice_elements=SLICE,
            terms=True,
        )
        for rank in range(2)
    )
    left.start()
    piece = right.next(0)
    assert piece is not None
    wire = bytearray(piece.wire())
    wire[1] = 0xFF  # a negative scale
    left.place(1, piece.transfer, piece.offset, len(wire)).cast("B")[:] = bytes(wire)
    with pytest.raises(ValueError, match=r"rank 1 .*malformed as int8"):
        left.arrived(1, piece.transfer, piece.offset)
    assert not left.output_ready()
