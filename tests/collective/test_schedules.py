"""Schedules proved for worlds of 1 to 64 without a network, as data."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus import _core

WORLDS = range(1, 65)
ALL_REDUCES = ("direct", "gather", "ring")
ALGORITHMS = (*ALL_REDUCES, "broadcast")
# (elements, block): fewer than a block, fewer blocks than ranks, ragged, even.
SIZES = ((1, 1), (3, 4), (7, 1), (130, 128), (1000, 7), (64 * 63 * 4, 4), (100_001, 128))

Schedule = dict[str, list[dict[str, Any]]]
World = list[Schedule]


def world_of(algorithm: str, world: int, elements: int, block: int, root: int = 0) -> World:
    return [
        _core.schedule(
            algorithm, rank=rank, world=world, elements=elements, block=block, root=root
        )
        for rank in range(world)
    ]


def codec_side(schedule: Schedule, send: dict[str, Any]) -> str:
    """Which codec the bytes of a send are in, up or down, by what the sender makes them from."""
    if send["source"] == "input":
        return "up"
    if send["source"] == "sum":
        return "down" if schedule["sums"][send["from"]]["kind"] == "total" else "up"
    return "down" if schedule["receives"][send["from"]]["role"] == "result" else "up"


def matched(schedules: World) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(sender, receiver, transfer) -> (index of the send, index of the receive); asserts a match."""
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

    def __init__(self, schedules: World) -> None:
        self.schedules = schedules
        self.sender: dict[tuple[int, int], tuple[int, int]] = {}
        for (source, target, _), (send, receive) in matched(schedules).items():
            self.sender[target, receive] = (source, send)
        self.known: dict[tuple[str, int, int], tuple[tuple[int, ...], int]] = {}

    def value(self, kind: str, rank: int, i: int) -> tuple[tuple[int, ...], int]:
        """Contributing ranks (each as often as it was added) and one-way delays until it is there."""
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
        inputs = [self.known[need] for need in self.needs(kind, rank, i)]
        ranks = [who for value in inputs for who in value[0]]
        delays = max((value[1] for value in inputs), default=0)
        if kind == "sum":
            ranks += [rank] * self.schedules[rank]["sums"][i]["terms"].count(-1)
            return tuple(ranks), delays
        return tuple(ranks) or (self.sender[rank, i][0],), delays + 1


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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("world", WORLDS)
def test_each_send_meets_one_receive_of_the_same_span_and_codec(algorithm: str, world: int) -> None:
    for elements, block in SIZES:
        schedules = world_of(algorithm, world, elements, block, root=world // 2)
        for (source, target, _), (send, receive) in matched(schedules).items():
            ours = schedules[source]["sends"][send]
            theirs = schedules[target]["receives"][receive]
            begin, count = ours["span"]
            assert ours["span"] == theirs["span"]
            assert begin % block == 0 and 0 < count and begin + count <= elements
            assert count % block == 0 or begin + count == elements
            down = codec_side(schedules[source], ours) == "down"
            assert down == (theirs["role"] == "result")


@pytest.mark.parametrize("algorithm", ALL_REDUCES)
@pytest.mark.parametrize("world", WORLDS)
def test_every_output_element_is_written_once_and_holds_every_input_once(
    algorithm: str, world: int
) -> None:
    for elements, block in SIZES if world < 20 or world % 16 < 2 else SIZES[2:5]:
        schedules = world_of(algorithm, world, elements, block)
        flow = Flow(schedules)
        for rank, schedule in enumerate(schedules):
            written = 0
            for (begin, count), kind, i in outputs(schedule):
                assert begin == written
                written += count
                contributors, _ = flow.value(kind, rank, i)
                assert sorted(contributors) == list(range(world))
                if algorithm != "ring":
                    assert list(contributors) == list(range(world)), "not in rank order"
            assert written == elements


@pytest.mark.parametrize("algorithm", ALL_REDUCES)
@pytest.mark.parametrize("world", WORLDS)
def test_one_way_delays_are_as_the_design_says(algorithm: str, world: int) -> None:
    schedules = world_of(algorithm, world, 64 * 64, 1)
    flow = Flow(schedules)
    delays = max(
        flow.value(kind, rank, i)[1]
        for rank, schedule in enumerate(schedules)
        for _, kind, i in outputs(schedule)
    )
    expected = {"direct": 2, "gather": 1, "ring": 2 * (world - 1)}[algorithm]
    assert delays == (expected if world > 1 else 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("world", WORLDS)
def test_bytes_sent_by_a_rank_are_as_the_design_says(algorithm: str, world: int) -> None:
    elements = 7 * world * (world + 1)  # shares are even
    up_bytes, down_bytes = 1, 1000
    for rank, schedule in enumerate(world_of(algorithm, world, elements, 7)):
        size = {"up": up_bytes, "down": down_bytes}
        sent = sum(
            send["span"][1] * size[codec_side(schedule, send)] for send in schedule["sends"]
        )
        share = elements // world
        assert sent == {
            "direct": (world - 1) * share * (up_bytes + down_bytes),
            "gather": (world - 1) * elements * up_bytes,
            "ring": (world - 1) * share * (up_bytes + down_bytes),
            "broadcast": (world - 1) * elements * up_bytes if rank == 0 else 0,
        }[algorithm]


@pytest.mark.parametrize("world", WORLDS)
def test_a_ring_talks_to_its_neighbours_only(world: int) -> None:
    for rank, schedule in enumerate(world_of("ring", world, 1000, 1)):
        assert {send["peer"] for send in schedule["sends"]} <= {(rank + 1) % world}
        assert {receive["peer"] for receive in schedule["receives"]} <= {(rank - 1) % world}


@pytest.mark.parametrize("world", WORLDS)
def test_a_broadcast_gives_every_rank_the_roots_input(world: int) -> None:
    for root in {0, world // 2, world - 1}:
        schedules = world_of("broadcast", world, 130, 128, root=root)
        flow = Flow(schedules)
        for rank, schedule in enumerate(schedules):
            [(span, kind, i)] = outputs(schedule)
            assert span == (0, 130)
            assert flow.value(kind, rank, i) == ((root,), 0 if rank == root else 1)


@pytest.mark.parametrize("world", WORLDS)
def test_shares_of_owners_differ_by_one_block_at_most(world: int) -> None:
    for elements, block in SIZES:
        owned = [
            total["span"][1]
            for schedule in world_of("direct", world, elements, block)
            for total in schedule["sums"]
        ]
        blocks = [-(-count // block) for count in owned] + [0] * (world - len(owned))
        assert sum(owned) == elements
        assert max(blocks) - min(blocks) <= 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_to_reduce_is_an_empty_schedule(algorithm: str) -> None:
    for schedule in world_of(algorithm, 5, 0, 4):
        assert schedule == {"sends": [], "receives": [], "sums": []}


def test_choose_gathers_what_is_small_or_goes_to_one_peer() -> None:
    large = 10_000_000
    assert _core.choose(1, large, "f32", "f32") == "gather"
    assert _core.choose(2, large, "f32", "f32") == "gather"
    assert _core.choose(3, large, "f32", "f32") == "direct"
    assert _core.choose(3, 1, "f32", "f32") == "gather"
    assert _core.choose(3, 32 * 1024, "f32", "f32") == "gather"
    assert _core.choose(3, 32 * 1024 + 1, "f32", "f32") == "direct"
    assert _core.choose(3, 64 * 1024, "bf16", "f32") == "gather"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_codecs_that_take_sums_are_allowed_every_schedule(algorithm: str) -> None:
    _core.check_schedule(algorithm, world=4, elements=100, up="bf16", down="f32")
