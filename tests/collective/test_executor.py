"""A world of executors in memory: slices move in a seeded order, results agree bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from carrier import Net, assert_all_bits_equal
from isthmus import _core
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SLICE = 64
SIZES = (1, 5, SLICE, SLICE + 1, 1000, 3 * SLICE * 8 + 17)


def to_bf16(x: Floats) -> bytes:
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def from_bf16(wire: bytes) -> Floats:
    return (np.frombuffer(wire, np.uint16).astype(np.uint32) << 16).view(np.float32)


def encode(codec: str, x: Floats) -> bytes:
    return x.tobytes() if codec == "f32" else to_bf16(x)


def decode(codec: str, wire: bytes) -> Floats:
    return np.frombuffer(wire, np.float32) if codec == "f32" else from_bf16(wire)


@dataclass(frozen=True)
class Case:
    algorithm: str
    inputs: list[Floats]
    up: str = "f32"
    down: str = "f32"
    weights: tuple[float, ...] = ()
    mean: bool = True
    root: int = 0

    def decoded(self) -> list[Floats]:
        return [decode(self.up, encode(self.up, x)) for x in self.inputs]

    def executors(self) -> list[_core.Executor]:
        return [
            _core.Executor(
                self.algorithm,
                rank=rank,
                world=len(self.inputs),
                wire=encode(self.up, x),
                segments=[(self.up, self.down, x.size)],
                weights=self.weights,
                mean=self.mean,
                slice_elements=SLICE,
                root=self.root,
            )
            for rank, x in enumerate(self.inputs)
        ]


def inputs_of(world: int, elements: int, seed: int) -> list[Floats]:
    random_numbers = np.random.default_rng(seed)
    scales = 10.0 ** random_numbers.integers(-3, 4, size=(world, 1))
    made = (random_numbers.standard_normal((world, elements)) * scales).astype(np.float32)
    made[random_numbers.random(made.shape) < 0.1] = np.float32(-0.0)
    return list(made)


def roster_sum(case: Case) -> Floats:
    """Terms in rank order, every product, sum and quotient rounded to float32."""
    terms = case.decoded()
    weights = [np.float32(weight) for weight in case.weights] or [np.float32(1)] * len(terms)
    if case.mean and len(set(weights)) == 1:
        weights = [np.float32(1)] * len(terms)
    total, divisor = weights[0] * terms[0], weights[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = total + weight * term
        divisor = np.float32(divisor + weight)
    result: Floats = (total / divisor if case.mean else total).astype(np.float32)
    return result


def uneven(world: int) -> tuple[float, ...]:
    return tuple(0.1 + 1.7 * rank for rank in range(world))


@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("algorithm", ["direct", "gather"])
@pytest.mark.parametrize("world", range(1, 9))
def test_f32_is_the_roster_order_sum_bit_for_bit(
    world: int, algorithm: str, weighted: bool, mean: bool
) -> None:
    for seed, elements in enumerate(SIZES):
        weights = uneven(world) if weighted else ()
        case = Case(algorithm, inputs_of(world, elements, seed), weights=weights, mean=mean)
        assert_all_bits_equal(Net(case.executors(), seed).run(), roster_sum(case))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("world", range(1, 9))
def test_a_ring_ends_alike_everywhere_and_within_rounding(world: int, weighted: bool) -> None:
    for seed, elements in enumerate(SIZES):
        weights = uneven(world) if weighted else ()
        case = Case("ring", inputs_of(world, elements, seed), weights=weights)
        results = Net(case.executors(), seed).run()
        assert_all_bits_equal(results)
        bound = 1e-6 * world * np.max(np.abs(case.inputs), axis=0)
        assert np.all(np.abs(results[0] - roster_sum(case)) <= bound + 1e-30)


@pytest.mark.parametrize("codecs", [("bf16", "bf16"), ("bf16", "f32"), ("f32", "bf16")], ids=str)
@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("world", [1, 2, 3, 5, 8])
def test_lossy_codecs_end_alike_everywhere(
    world: int, algorithm: str, codecs: tuple[str, str]
) -> None:
    up, down = codecs
    for seed, elements in enumerate(SIZES):
        case = Case(
            algorithm, inputs_of(world, elements, seed), up=up, down=down, weights=uneven(world)
        )
        results = Net(case.executors(), seed).run()
        assert_all_bits_equal(results)
        expected = roster_sum(case)
        if algorithm == "direct" and world > 1:
            expected = decode(down, encode(down, expected))
        if algorithm != "ring" or world == 1:
            assert_all_bits_equal(results, expected)
        bound = 2.0**-8 * world * np.max(np.abs(case.decoded()), axis=0)
        assert np.all(np.abs(results[0] - expected) <= bound + 1e-30)


@pytest.mark.parametrize("codec", ["f32", "bf16"])
@pytest.mark.parametrize("world", range(1, 6))
def test_a_broadcast_is_the_roots_input_whatever_the_weights(world: int, codec: str) -> None:
    for root in range(world):
        inputs = inputs_of(world, 200, seed=root)
        case = Case("broadcast", inputs, up=codec, root=root, weights=uneven(world))
        assert_all_bits_equal(Net(case.executors(), root).run(), case.decoded()[root])


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_a_mean_of_equal_weights_is_a_plain_mean(algorithm: str) -> None:
    inputs = inputs_of(2, 500, seed=1)
    case = Case(algorithm, inputs, weights=(0.3, 0.3))
    expected = ((inputs[0] + inputs[1]) / np.float32(2)).astype(np.float32)
    assert_all_bits_equal(Net(case.executors(), 1).run(), expected)
    alone = Case(algorithm, inputs[:1], weights=(0.3,))
    assert_all_bits_equal(Net(alone.executors(), 1).run(), inputs[0])


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_sums_of_extreme_values_are_divided_and_not_multiplied_by_an_inverse(
    algorithm: str,
) -> None:
    special = np.array([np.inf, 1e-45, 3e-45, -0.0, 3.4e38, 1.0, 5.0, 1e-38], np.float32)
    for world in (2, 3, 4, 6):
        case = Case(algorithm, [special, *[np.full(8, -0.0, np.float32)] * (world - 1)])
        expected = (special / np.float32(world)).astype(np.float32)
        assert_all_bits_equal(Net(case.executors(), world).run(), expected)


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_the_order_of_slices_does_not_change_a_bit(algorithm: str) -> None:
    case = Case(algorithm, inputs_of(4, 1500, seed=3), weights=uneven(4))
    first = Net(case.executors(), 0).run()
    for seed in range(1, 30):
        assert_all_bits_equal(Net(case.executors(), seed).run(), first[0])


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_the_order_of_the_workers_does_not_change_a_bit(algorithm: str) -> None:
    case = Case(algorithm, inputs_of(4, 1500, seed=3), up="bf16", down="bf16", weights=uneven(4))
    first = Net(case.executors(), 0).run()
    for seed in range(1, 30):
        assert_all_bits_equal(Net(case.executors(), seed).run(), first[0])


def test_nothing_stands_before_its_work_is_done() -> None:
    case = Case("gather", inputs_of(2, SLICE, seed=1), up="bf16", down="bf16")
    executor, peer = case.executors()
    executor.start()
    piece = peer.next(0)
    assert piece is not None
    executor.take(1, piece.transfer, piece.offset, piece.wire())
    assert executor.to_compute() == 1 and not executor.waits_for(1)
    assert not executor.output_ready() and not executor.input_free()
    executor.compute(0)
    assert executor.output_ready()
    assert_all_bits_equal([executor.output()], roster_sum(case))


def test_a_sum_leaves_before_the_inputs_only_where_it_is_asked_to() -> None:
    own, total = 0, 1  # transfers of `direct`
    for sums_first, expected in ((True, [total, own, own]), (False, [own, own, total])):
        left, right = Case("direct", inputs_of(2, 4 * SLICE, seed=1)).executors()
        left.start()
        piece = right.next(0)
        assert piece is not None
        left.take(1, piece.transfer, piece.offset, piece.wire())
        pieces = [left.next(1, sums_first=sums_first) for _ in expected]
        assert [piece and piece.transfer for piece in pieces] == expected
        assert not left.has_next(1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("algorithm", ["direct", "gather"])
def test_threads_make_the_same_bits(algorithm: str, threads: int) -> None:
    """A rank whose peers' slices all come at once, again and again."""
    case = Case(algorithm, inputs_of(3, 200 * SLICE, seed=2), up="bf16", down="bf16")
    alone = Net(case.executors(), 0)
    expected = alone.run()[0]
    executors = case.executors()
    rank0 = _core.Executor(
        algorithm,
        rank=0,
        world=3,
        wire=encode("bf16", case.inputs[0]),
        segments=[("bf16", "bf16", case.inputs[0].size)],
        weights=(),
        mean=True,
        slice_elements=SLICE,
        threads=threads,
    )
    Net([rank0, *executors[1:]], 1).run_with_threads()
    assert_all_bits_equal([rank0.output()], expected)


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring", "broadcast"])
def test_an_empty_operation_is_finished_at_once(algorithm: str) -> None:
    case = Case(algorithm, [np.empty(0, np.float32)] * 3)
    assert all(result.size == 0 for result in Net(case.executors(), 0).run())


def test_an_output_is_not_ready_and_an_input_not_free_before_the_peers_came() -> None:
    left, right = Case("gather", inputs_of(2, 2 * SLICE, seed=0)).executors()
    left.start()
    right.start()
    slices = []
    while (piece := right.next(0)) is not None:
        slices.append(piece)
    assert [piece.offset for piece in slices] == [0, SLICE]
    for piece in slices:
        assert not left.output_ready() and not left.input_free() and left.waits_for(1)
        left.place(1, piece.transfer, piece.offset, 4 * SLICE).cast("B")[:] = piece.wire()
        left.arrived(1, piece.transfer, piece.offset)
    assert left.output_ready() and not left.finished() and not left.waits_for(1)
    assert not left.input_free(), "its own slices are not sent"
    while (piece := left.next(1)) is not None:
        assert not left.finished()
        left.sent(piece)
    assert left.finished() and left.input_free()


HOSTILE = {
    "an unknown transfer": (1, 77, 0, 4 * SLICE, "no such transfer"),
    "a huge transfer": (1, 2**32 - 1, 0, 4 * SLICE, "no such transfer"),
    "a misaligned offset": (1, 0, 1, 4 * SLICE, "offset 1: no slice begins there"),
    "an offset past the end": (1, 0, 64 * SLICE, 4 * SLICE, "no slice begins there"),
    "a huge offset": (1, 0, 2**64 - SLICE, 4 * SLICE, "no slice begins there"),
    "too few bytes": (1, 0, 0, 4 * SLICE - 1, f"{4 * SLICE - 1} bytes: expected {4 * SLICE}"),
    "too many bytes": (1, 0, 0, 2**63, f"expected {4 * SLICE}"),
    "no bytes": (1, 0, 0, 0, "0 bytes: expected"),
    "a slice from oneself": (0, 0, 0, 4 * SLICE, "no such transfer"),
    "a slice from nobody": (3, 0, 0, 4 * SLICE, "expected ranks below 3"),
    "a slice from rank -1": (-1, 0, 0, 4 * SLICE, "expected ranks below 3"),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("algorithm", ["direct", "gather"])
def test_a_hostile_slice_is_refused_by_name_and_the_operation_ends_well(
    algorithm: str, hostile: tuple[int, int, int, int, str]
) -> None:
    peer, transfer, offset, size, text = hostile
    case = Case(algorithm, inputs_of(3, 12 * SLICE, seed=5))
    executors = case.executors()
    with pytest.raises(ValueError, match=f"rank {peer} .*{text}"):
        executors[0].place(peer, transfer, offset, size)
    with pytest.raises(ValueError, match=f"rank {peer} .*transfer {transfer} at offset {offset}"):
        executors[0].arrived(peer, transfer, offset)
    results = Net(executors, 5).run()
    with pytest.raises(ValueError, match=f"rank {peer} "):
        executors[0].place(peer, transfer, offset, size)
    assert_all_bits_equal(results, roster_sum(case))


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_a_slice_that_comes_twice_or_out_of_turn_is_refused(algorithm: str) -> None:
    case = Case(algorithm, inputs_of(3, 12 * SLICE, seed=6))
    executors = case.executors()
    piece = executors[2].next(0)
    assert piece is not None
    name = (2, piece.transfer, piece.offset)
    with pytest.raises(ValueError, match="expected to place it first"):
        executors[0].arrived(*name)
    executors[0].place(*name, len(piece.wire())).cast("B")[:] = piece.wire()
    with pytest.raises(ValueError, match=r"rank 2 .*got it again"):
        executors[0].place(*name, len(piece.wire()))
    executors[0].arrived(*name)
    executors[2].sent(piece)
    for refused in (
        lambda: executors[0].arrived(*name),
        lambda: executors[0].place(*name, 256),
        lambda: executors[0].take(*name, piece.wire()),
    ):
        with pytest.raises(ValueError, match=r"rank 2 .*got it again"):
            refused()
    results = Net(executors, 6).run()
    assert_all_bits_equal(results)
    assert np.allclose(results[0], roster_sum(case), rtol=1e-5, atol=1e-2)
