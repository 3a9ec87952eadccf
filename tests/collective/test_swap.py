"""A swap's rounds, proved without a network: a round-robin tournament of all ranks."""

import pytest
from isthmus import _core

WORLDS = range(1, 65)


def rounds(world: int) -> int:
    return world - 1 if world % 2 == 0 else world


def schedules(world: int, round: int) -> list[dict[str, list[dict[str, object]]]]:
    return [
        _core.schedule("swap", rank=rank, world=world, elements=130, block=128, root=round)
        for rank in range(world)
    ]


@pytest.mark.parametrize("world", WORLDS)
def test_in_all_rounds_together_each_meets_each_once(world: int) -> None:
    met: set[tuple[int, int]] = set()
    for round in range(rounds(world)):
        for rank, schedule in enumerate(schedules(world, round)):
            for send in schedule["sends"]:
                pair = (rank, send["peer"])
                assert pair not in met
                met.add(pair)  # type: ignore[arg-type]
    assert met == {(a, b) for a in range(world) for b in range(world) if a != b}


@pytest.mark.parametrize("world", WORLDS)
def test_partners_send_each_other_all_and_who_has_none_keeps_its_own(world: int) -> None:
    for round in range(rounds(world)):
        alone = 0
        for rank, schedule in enumerate(schedules(world, round)):
            if not schedule["sends"]:
                assert schedule["sums"] == [{"span": (0, 130), "terms": [-1], "kind": "copy"}]
                alone += 1
                continue
            [send], [receive] = schedule["sends"], schedule["receives"]
            assert send["peer"] == receive["peer"] != rank
            assert send["span"] == receive["span"] == (0, 130)
            assert receive["role"] == "copy" and send["source"] == "input"
        assert alone == world % 2
