"""Schedules proved for worlds of 1 to 64 without a network, as data."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

import pytest
from isthmus import _core

WORLDS = range(1, 65)

ALGORITHMS = ("direct", "gather", "ring", "broadcast")
# (elements, block): fewer than a block, fewer blocks than ranks, ragged, even.
SIZES = ((1, 1), (3, 4), (7, 1), (130, 128), (1000, 7), (64 * 63 * 4, 4), (100_001, 128))

Schedule = dict[str, list[dict[str, Any]]]
Schedules = list[Schedule]


def schedules_of(algorithm: str, world: int, elements: int, block: int, root: int = 0) -> Schedules:
    return [
        _core.schedule(algorithm, rank=rank, world=world, elements=elements, block=block, root=root)
        for rank in range(world)
    ]


def codec_side(schedule: Schedule, send: dict[str, Any]) -> str:
    """Which codec the bytes of a send are in, up or down, by what the sender makes them from."""
    if send["source"] == "input":
        return "up"
    if send["source"] == "sum":
        return "down" if schedule["sums"][send["from"]]["kind"] == "total" else "up"
    return "down" if schedule["receives"][send["from"]]["role"] == "result" else "up"


def matched(schedules: Schedules) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(sender, receiver, transfer) -> indices of the send and the receive; both must be."""
    sends: dict[tuple[int, int, int], int] = {}
    receives: dict[tuple[int, int, int], int] = {}
    for rank, schedule in enumerate(schedules):
        for i, send in enumerate(schedule["sends"]):
            key = (rank, send["peer"], send["transfer"])
            assert send["peer"] != rank and key not in sends
            sends[key] = i
        for i, receive in enumerate(schedule["receives"]):
            key = (receive["peer"], rank, receive["transfer"])
            assert receive["peer"] != rank and key not in receives
            receives[key] = i
    assert sends.keys() == receives.keys()
    return {key: (sends[key], receives[key]) for key in sends}


class Flow:
    """Follows a world's data from inputs to outputs: who contributed, and after how many delays."""

    def __init__(self, schedules: Schedules) -> None:
        self.schedules = schedules
        self.sender: dict[tuple[int, int], tuple[int, int]] = {}
        for (source, target, _), (send, receive) in matched(schedules).items():
            self.sender[target, receive] = (source, send)
        self.known: dict[tuple[str, int, int], tuple[tuple[int, ...], int]] = {}

    def value(self, kind: str, rank: int, i: int) -> tuple[tuple[int, ...], int]:
        """Contributing ranks, each as often as it was added, and one-way delays until then."""
        todo = [(kind, rank, i)]
        while todo:
            needs = [need for need in self.needs(*todo[-1]) if need not in self.known]
            if needs:
                assert len(todo) < 1000, "a schedule waits for itself"
                todo.extend(needs)
            else:
                node = todo.pop()
                self.known[node] = self.combine(*node)
        return self.known[kind, rank, i]

    def needs(self, kind: str, rank: int, i: int) -> list[tuple[str, int, int]]:
        if kind == "sum":
            terms = self.schedules[rank]["sums"][i]["terms"]
            return [("receive", rank, term) for term in terms if term >= 0]
        source, number = self.sender[rank, i]
        send = self.schedules[source]["sends"][number]
        if send["source"] == "input":
            return []
        return [("sum" if send["source"] == "sum" else "receive", source, send["from"])]

    def combine(self, kind: str, rank: int, i: int) -> tuple[tuple[int, ...], int]:
        if kind == "receive":
            source = self.sender[rank, i][0]
            carried = [self.known[need] for need in self.needs(kind, rank, i)] or [((source,), 0)]
            return carried[0][0], carried[0][1] + 1
        terms = [
            ((rank,), 0) if term < 0 else self.known["receive", rank, term]
            for term in self.schedules[rank]["sums"][i]["terms"]
        ]
        return tuple(who for term in terms for who in term[0]), max(term[1] for term in terms)


def outputs(schedule: Schedule) -> list[tuple[tuple[int, int], str, int]]:
    """(span, kind of node, index) of all that writes a rank's result."""
    found = [
        (receive["span"], "receive", i)
        for i, receive in enumerate(schedule["receives"])
        if receive["role"] in ("result", "copy")
    ]
    found += [
        (total["span"], "sum", i)
        for i, total in enumerate(schedule["sums"])
        if total["kind"] != "partial"
    ]
    return sorted(found)


@dataclass(frozen=True)
class World:
    """All ranks' schedules of one collective."""

    algorithm: str
    size: int
    elements: int
    block: int
    schedules: Schedules
    flow: Flow

    def share(self, owner: int) -> int:
        """Elements of a share, dealt out block by block: as even as blocks allow."""
        blocks = -(-self.elements // self.block)
        counts = [len(range(owner, blocks, self.size)) for owner in range(self.size)]
        begin = sum(counts[:owner]) * self.block
        return max(0, min(begin + counts[owner] * self.block, self.elements) - begin)


def cases() -> list[tuple[str, int, int, int]]:
    """Every size for small worlds; larger ones, whose schedules are long, take turns."""
    return [
        (algorithm, world, *size)
        for algorithm in ALGORITHMS
        for world in WORLDS
        for size in (SIZES if world <= 8 else (SIZES[world % len(SIZES)],))
    ]


@pytest.fixture(scope="module", params=cases(), ids=lambda case: "-".join(map(str, case)))
def world(request: pytest.FixtureRequest) -> World:
    algorithm, size, elements, block = request.param
    schedules = schedules_of(algorithm, size, elements, block)
    return World(algorithm, size, elements, block, schedules, Flow(schedules))


def test_each_send_meets_one_receive_of_the_same_span_and_codec(world: World) -> None:
    for (source, target, _), (send, receive) in matched(world.schedules).items():
        ours = world.schedules[source]["sends"][send]
        theirs = world.schedules[target]["receives"][receive]
        begin, count = ours["span"]
        assert ours["span"] == theirs["span"]
        assert begin % world.block == 0 and count > 0 and begin + count <= world.elements
        assert count % world.block == 0 or begin + count == world.elements
        down = codec_side(world.schedules[source], ours) == "down"
        assert down == (theirs["role"] == "result")


def test_every_output_element_is_written_once_and_holds_every_input_once(world: World) -> None:
    for rank, schedule in enumerate(world.schedules):
        written = 0
        for (begin, count), kind, i in outputs(schedule):
            assert begin == written
            written += count
            contributors, _ = world.flow.value(kind, rank, i)
            if world.algorithm == "broadcast":
                assert contributors == (0,)
            elif world.algorithm == "ring":
                assert sorted(contributors) == list(range(world.size))
            else:
                assert contributors == tuple(range(world.size)), "not in rank order"
        assert written == world.elements


def test_one_way_delays_are_as_the_design_says(world: World) -> None:
    delays = max(
        world.flow.value(kind, rank, i)[1]
        for rank, schedule in enumerate(world.schedules)
        for _, kind, i in outputs(schedule)
    )
    hops = {"direct": 2, "gather": 1, "ring": 2 * (world.size - 1), "broadcast": 1}
    assert delays == (hops[world.algorithm] if world.size > 1 else 0)


def test_bytes_sent_by_a_rank_are_as_the_design_says(world: World) -> None:
    up, down = 1, 1000
    n, size = world.elements, world.size
    for rank, schedule in enumerate(world.schedules):
        sides = [(send["span"][1], codec_side(schedule, send)) for send in schedule["sends"]]
        sent = sum(count * (up if side == "up" else down) for count, side in sides)
        own, after, last = (world.share((rank + step) % size) for step in (0, 1, 2))
        # With even shares, own = n / size, these are the formulas of the design.
        assert sent == (
            0
            if size == 1
            else {
                "direct": (n - own) * up + (size - 1) * own * down,
                "gather": (size - 1) * n * up,
                "ring": (n - after) * up + (n - last) * down,
                "broadcast": (size - 1) * n * up if rank == 0 else 0,
            }[world.algorithm]
        )


def test_ranks_talk_to_others_only_and_in_a_ring_to_neighbours(world: World) -> None:
    for rank, schedule in enumerate(world.schedules):
        others = set(range(world.size)) - {rank}
        ring = world.algorithm == "ring"
        to = others & {(rank + 1) % world.size} if ring else others
        come = others & {(rank - 1) % world.size} if ring else others
        assert {send["peer"] for send in schedule["sends"]} <= to
        assert {receive["peer"] for receive in schedule["receives"]} <= come


def drawn_shares(world: int) -> list[int]:
    """Of 65536, some of them nothing."""
    draw = random.Random(world)
    weights = [draw.choice([0, 1, 5, draw.random()]) for _ in range(world)]
    weights[world // 2] += 1
    cut = [0, *itertools.accumulate(weights)]
    at = [round(65536 * c / cut[-1]) for c in cut]
    return [b - a for a, b in itertools.pairwise(at)]


@pytest.mark.parametrize("size", WORLDS)
@pytest.mark.parametrize(("elements", "block"), [(100_001, 128), (3, 4), (65536 * 3, 1)])
def test_uneven_shares_still_sum_everything_once_and_near_to_what_was_asked(
    size: int, elements: int, block: int
) -> None:
    shares = drawn_shares(size)
    schedules = [
        _core.schedule(
            "direct", rank=rank, world=size, elements=elements, block=block, shares=shares
        )
        for rank in range(size)
    ]
    flow = Flow(schedules)
    for rank, schedule in enumerate(schedules):
        written = 0
        for (begin, count), kind, i in outputs(schedule):
            assert begin == written
            written += count
            assert flow.value(kind, rank, i)[0] == tuple(range(size))
        assert written == elements
        own = sum(total["span"][1] for total in schedule["sums"])
        assert abs(own - elements * shares[rank] / 65536) <= 2 * block


@pytest.mark.parametrize("size", WORLDS)
@pytest.mark.parametrize(("elements", "block"), [(100_001, 128), (3, 4), (64 * 63 * 4, 4)])
def test_a_ring_in_any_order_is_the_ring_by_rank_with_other_names(
    size: int, elements: int, block: int
) -> None:
    order = random.Random(size).sample(range(size), size)
    by_rank = schedules_of("ring", size, elements, block)
    schedules = [
        _core.schedule("ring", rank=rank, world=size, elements=elements, block=block, order=order)
        for rank in range(size)
    ]
    matched(schedules)
    for place, rank in enumerate(order):
        named = by_rank[place]  # no other place reads it
        for transfer in (*named["sends"], *named["receives"]):
            transfer["peer"] = order[transfer["peer"]]
        assert schedules[rank] == named


def test_an_order_is_each_rank_once() -> None:
    for order in ([0, 1], [0, 1, 1], [1, 2, 3]):
        with pytest.raises(Exception, match="each rank once"):
            _core.schedule("ring", rank=0, world=3, elements=9, block=1, order=order)


@pytest.mark.parametrize("size", WORLDS)
def test_a_broadcast_gives_every_rank_the_roots_input(size: int) -> None:
    for root in {0, size // 2, size - 1}:
        schedules = schedules_of("broadcast", size, 130, 128, root=root)
        flow = Flow(schedules)
        for rank, schedule in enumerate(schedules):
            [(span, kind, i)] = outputs(schedule)
            assert span == (0, 130)
            assert flow.value(kind, rank, i) == ((root,), 0 if rank == root else 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_to_reduce_is_an_empty_schedule(algorithm: str) -> None:
    for schedule in schedules_of(algorithm, 5, 0, 4):
        assert schedule == {"sends": [], "receives": [], "sums": []}


def test_choose_gathers_what_is_small() -> None:
    assert _core.choose(1, [("f32", "f32", 10_000_000)]) == "gather"
    assert _core.choose(3, [("f32", "f32", 1)]) == "gather"
    assert _core.choose(3, [("f32", "f32", 512 * 1024)]) == "gather"
    assert _core.choose(3, [("f32", "f32", 512 * 1024 + 1)]) == "direct"
    assert _core.choose(3, [("bf16", "f32", 1024 * 1024)]) == "gather"


def test_between_two_sites_only_a_lossless_codec_takes_direct() -> None:
    assert _core.choose(2, [("f32", "f32", 10_000_000)]) == "direct"
    assert _core.choose(2, [("bf16", "bf16", 10_000_000)]) == "gather"
    assert _core.choose(3, [("bf16", "bf16", 10_000_000)]) == "direct"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_codecs_that_take_sums_are_allowed_every_schedule(algorithm: str) -> None:
    _core.check_schedule(algorithm, segments=[("bf16", "f32", 100)])


def test_slices_are_small_only_of_plain_elements_within_a_machine() -> None:
    plain, encoded = [("f32", "f32", 1_000_000)], [("int4", "int8", 1_000_000)]
    assert _core.chosen_slice(3, plain, one_machine=True) == 32 * 1024
    assert _core.chosen_slice(3, plain, one_machine=False) == 64 * 1024
    assert _core.chosen_slice(3, encoded, one_machine=True) == 64 * 1024
