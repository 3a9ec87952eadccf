"""Streams that are added to links and taken from them while operations run, in the simulator."""

from collections.abc import Mapping
from typing import Any

import pytest
from isthmus import _core

Report = Mapping[str, Any]

# Long enough for several changes: 1.2 MB at 20 Mbit/s.
LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}


def streams(report: Report, site: str) -> dict[str, int]:
    return dict(next(s["streams"] for s in report["sites"] if s["name"] == site))


def well(report: Report) -> None:
    assert not report["broken"]
    for site in report["sites"]:
        assert [work["code"] for work in site["works"]] == ["ok"] * len(site["works"])


def change(at: float, count: int, site: int = 0, peer: int = 1) -> dict[str, Any]:
    return {"at": at, "site": site, "peer": peer, "count": count}


def test_both_ends_have_the_streams_that_were_asked_for_last() -> None:
    late = {**LARGE, "submit": [1.0] * 3}
    report = _core.simulate(
        1,
        sites=3,
        operations=[LARGE, late],
        bits_per_s=20_000_000,
        changes=[change(0.0, 5), change(0.1, 2), change(0.2, 3, 2, 0)],
    )
    well(report)
    assert streams(report, "a-site") == {"b-site": 2, "c-site": 3}
    assert streams(report, "b-site") == {"a-site": 2, "c-site": 1}
    assert streams(report, "c-site") == {"a-site": 3, "b-site": 1}


@pytest.mark.parametrize("seed", range(20))
def test_streams_that_come_and_go_in_the_middle_of_operations_lose_and_double_nothing(
    seed: int,
) -> None:
    counts = [1 + (seed + 5 * i) % 7 for i in range(40)]
    report = _core.simulate(
        seed,
        sites=2,
        operations=[LARGE, LARGE, LARGE],
        bits_per_s=20_000_000,
        window_bytes=64 << 10,
        torn=True,
        loss=0.002,
        changes=[change(0.05 * i, count) for i, count in enumerate(counts)],
    )
    well(report)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_cut_while_streams_are_added_only_delays_them(seconds: float) -> None:
    cut = {"kind": "cut", "at": 0.11, "seconds": seconds, "site": 0, "peer": 1}
    report = _core.simulate(
        1,
        sites=2,
        operations=[LARGE, {**LARGE, "submit": [4.0, 4.0]}],
        bits_per_s=20_000_000,
        changes=[change(0.1, 4)],
        troubles=[cut],
    )
    well(report)
    assert streams(report, "a-site") == {"b-site": 4}
    assert streams(report, "b-site") == {"a-site": 4}


def test_drawn_worlds_change_streams_and_some_do_not() -> None:
    changing = [
        any("data streams between" in line for line in _core.simulate(seed)["world"])
        for seed in range(40)
    ]
    assert 10 < sum(changing) < 30


def test_streams_more_of_a_relayed_link_take_its_way() -> None:
    report = _core.simulate(
        1,
        sites=3,
        blocks=[(1, 2, True), (2, 1, True)],
        operations=[{**LARGE, "submit": [2.0] * 3}],
        bits_per_s=20_000_000,
        changes=[change(0.0, 3, 1, 2)],
    )
    well(report)
    assert streams(report, "b-site") == {"a-site": 1, "c-site": 3}
    assert streams(report, "c-site") == {"a-site": 1, "b-site": 3}
    ways = {site["name"]: site["by_way_of"] for site in report["sites"]}
    assert ways["b-site"] == {"c-site": "a-site"}
