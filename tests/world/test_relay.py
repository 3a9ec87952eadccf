"""Worlds in which some sites cannot connect to each other: other ways are found, and carry all."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from isthmus import _core

Report = Mapping[str, Any]

SUM = {"collective": "all_reduce", "algorithm": "direct", "elements": 4000}
LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}
NAMES = ("a-site", "b-site", "c-site", "d-site")
# (from, to, refused): from cannot connect to to.
Blocks = Sequence[tuple[int, int, bool]]


def between(a: int, b: int, refused: bool = False) -> Blocks:
    return ((a, b, refused), (b, a, refused))


def hidden(site: int, world: int) -> Blocks:
    return tuple((other, site, False) for other in range(world) if other != site)


def site(report: Report, name: str) -> Mapping[str, Any]:
    return next(site for site in report["sites"] if site["name"] == name)


def ways(report: Report) -> dict[tuple[str, str], str]:
    """(site, peer) -> by way of whom, of all that are not connected directly."""
    return {
        (site["name"], peer): by
        for site in report["sites"]
        for peer, by in site["by_way_of"].items()
    }


def well(report: Report) -> None:
    assert not report["broken"]
    for one in report["sites"]:
        assert {work["code"] for work in [one["joined"], *one["works"]]} == {"ok"}


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_two_sites_that_cannot_connect_are_connected_by_the_third(
    algorithm: str, refused: bool
) -> None:
    report = _core.simulate(
        1,
        sites=3,
        blocks=between(0, 2, refused),
        operations=[{**LARGE, "algorithm": algorithm}, {"collective": "all_gather"}],
    )
    well(report)
    assert ways(report) == {("a-site", "c-site"): "b-site", ("c-site", "a-site"): "b-site"}


def test_of_several_third_sites_the_one_of_the_lowest_rank_connects_two() -> None:
    report = _core.simulate(1, sites=5, blocks=between(3, 4), operations=[SUM])
    well(report)
    assert set(ways(report).values()) == {"a-site"}


def test_a_third_site_that_does_not_reach_one_of_the_two_is_passed_over() -> None:
    blocks = [*between(3, 4), *between(0, 3), *between(1, 4)]
    report = _core.simulate(1, sites=5, blocks=blocks, operations=[SUM])
    well(report)
    assert ways(report)["d-site", "e-site"] == ways(report)["e-site", "d-site"] == "c-site"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(("origin", "target"), [(0, 1), (1, 0), (2, 1), (1, 2)])
def test_two_sites_of_which_one_can_connect_to_the_other_need_no_third(
    origin: int, target: int, refused: bool
) -> None:
    report = _core.simulate(1, sites=3, blocks=[(origin, target, refused)], operations=[SUM])
    well(report)
    assert not ways(report)


def test_two_of_two_sites_need_only_one_direction() -> None:
    well(_core.simulate(1, sites=2, blocks=[(1, 0, False)], operations=[SUM]))


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("pair", [*itertools.combinations(range(3), 2)])
def test_two_sites_that_nobody_reaches_meet_at_a_third_that_they_reach(
    pair: tuple[int, int], listens: bool
) -> None:
    blocks = [] if not listens else [block for one in pair for block in hidden(one, 3)]
    report = _core.simulate(
        1, sites=3, blocks=blocks, without_listener=[] if listens else pair, operations=[LARGE]
    )
    well(report)
    a, b = (NAMES[i] for i in pair)
    (third,) = set(NAMES[:3]) - {a, b}
    assert ways(report) == {(a, b): third, (b, a): third}


def test_without_a_common_third_site_both_are_named_and_what_to_do() -> None:
    blocks = [*between(0, 2), *between(1, 2)]
    report = _core.simulate(1, sites=3, blocks=blocks, operations=[SUM])
    for one in report["sites"]:
        assert one["joined"]["code"] == "refused"
        text = one["joined"]["text"]
        assert 'site "c-site" cannot reach site "' in text
        assert 'nor by way of site "' in text
        assert "check advertise=" in text and "a third site be one that both can reach" in text


def test_two_sites_without_a_third_say_what_they_said_before() -> None:
    report = _core.simulate(1, sites=2, blocks=between(0, 1, refused=True), operations=[SUM])
    for one in report["sites"]:
        assert one["joined"]["code"] == "refused"
        assert "connection refused" in one["joined"]["text"]
        assert "third" not in one["joined"]["text"]
        assert one["joined"]["ended"] < 8, "counted from ten seconds after the last has come"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("strict", [[0], [2], [0, 2]])
def test_a_site_that_forbids_relaying_is_reached_directly_or_not_at_all(
    strict: list[int], refused: bool
) -> None:
    report = _core.simulate(
        1, sites=3, blocks=between(0, 2, refused), without_relay=strict, operations=[SUM]
    )
    for one in report["sites"]:
        assert one["joined"]["code"] == "refused"
        text = one["joined"]["text"]
        assert 'site "c-site" cannot reach site "a-site"' in text
        assert "relay=False" in text and "third site" in text
    well(_core.simulate(1, sites=3, blocks=[(2, 0, refused)], without_relay=strict))


def test_two_sites_that_nobody_reaches_and_that_forbid_relaying_are_told_both_reasons() -> None:
    report = _core.simulate(1, sites=3, without_listener=[0, 1], without_relay=[1])
    text = site(report, "a-site")["joined"]["text"]
    assert 'neither site "a-site" nor site "b-site" can be dialled' in text
    assert "relay=False" in text


def test_a_site_that_forbids_relaying_carries_nothing_for_others() -> None:
    report = _core.simulate(1, sites=4, blocks=between(2, 3), without_relay=[0], operations=[SUM])
    well(report)
    assert set(ways(report).values()) == {"b-site"}
    report = _core.simulate(1, sites=3, blocks=between(1, 2), without_relay=[0], operations=[SUM])
    text = site(report, "c-site")["joined"]["text"]
    assert 'nor by way of site "a-site" (it passes on nothing for others (relay=False))' in text


def test_a_ring_whose_order_avoids_the_pair_needs_no_third_site() -> None:
    """With the pair in the ring, what goes from the one to the other leaves site a-site as well."""
    by_rank, around = (
        _core.simulate(
            1,
            sites=4,
            blocks=between(1, 2),
            operations=[{**LARGE, "algorithm": "ring", "order": order}],
            bits_per_s=20_000_000,
        )
        for order in ([], [0, 1, 3, 2])
    )
    well(by_rank)
    well(around)
    ends = [site(report, "d-site")["works"][0]["ended"] for report in (by_rank, around)]
    assert ends[1] < 0.7 * ends[0]


@pytest.mark.parametrize("kind", ["kill", "freeze", "leave"])
def test_whoever_loses_the_relay_names_it_and_not_who_was_reached_by_way_of_it(kind: str) -> None:
    for seed in range(20):
        report = _core.simulate(
            seed,
            sites=4,
            blocks=between(0, 2),
            operations=[LARGE, LARGE],
            bits_per_s=20_000_000,
            torn=True,
            troubles=[{"kind": kind, "at": 0.1 + 0.005 * seed, "site": 1}],
        )
        assert not report["broken"]
        assert ways(report)["a-site", "c-site"] == "b-site"
        for name in ("a-site", "c-site", "d-site"):
            last = site(report, name)["works"][-1]
            assert (last["code"], last["site"]) == ("peer_lost", "b-site")


def test_who_is_lost_beyond_the_relay_is_named_with_the_way() -> None:
    report = _core.simulate(
        1,
        sites=3,
        blocks=between(0, 2),
        operations=[{**SUM, "submit": [0.0, 3.0, 3.0]}],
        troubles=[{"kind": "kill", "at": 0.5, "site": 2}],
    )
    assert not report["broken"]
    for name in ("a-site", "b-site"):
        (work,) = site(report, name)["works"]
        assert (work["code"], work["site"]) == ("peer_lost", "c-site")


KINDS = ("kill", "freeze", "cut", "clog", "truncate", "corrupt", "lie", "leave")
BEGIN = 10.0  # seconds that a world with blocks is given to find its ways


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_at_any_moment_makes_a_relayed_world_hang_or_lie(kind: str) -> None:
    """From the first dial on; other ways are taken 4 s after it."""
    for seed in range(120):
        blocks = [between(0, 2), between(1, 2), hidden(0, 4), [*hidden(0, 4), *hidden(3, 4)]]
        trouble = {
            "kind": kind,
            "at": -BEGIN + 3.9 + 0.01 * seed if seed % 3 else 0.005 * seed,
            "site": seed % 4,
            "peer": (seed + 1 + seed // 4 % 3) % 4,
            "seconds": 30.0 if kind == "clog" else 12.0,
        }
        report = _core.simulate(
            seed,
            sites=4,
            blocks=blocks[seed % len(blocks)],
            operations=[LARGE, SUM],
            bits_per_s=50_000_000,
            window_bytes=100_000,
            loss=0.01,
            torn=True,
            troubles=[trouble],
        )
        assert not report["broken"], f"seed {seed}, {trouble}: {report['broken'][0]}"


def test_sites_that_close_at_once_after_a_long_relayed_exchange_lose_nothing() -> None:
    report = _core.simulate(
        1,
        sites=3,
        blocks=between(0, 2),
        operations=[{"collective": "all_reduce", "algorithm": "gather", "elements": 3_000_000}],
        bits_per_s=20_000_000,
        close_after=0.0,
    )
    well(report)
    assert ways(report)


def test_a_relay_that_is_done_stays_for_those_that_are_not() -> None:
    """The root's bytes reach b-site, the relay, at once; by way of it they reach c-site, which is
    slow, for much longer than a site that closes waits for others."""
    report = _core.simulate(
        1,
        sites=3,
        blocks=between(0, 2),
        operations=[{"collective": "broadcast", "root": 0, "elements": 4_000_000}],
        bits_per_s=50_000_000,
        window_bytes=100_000,
        close_after=0.0,
        troubles=[{"kind": "slow", "at": 0.0, "site": 2, "factor": 20}],
    )
    well(report)
    assert ways(report)["c-site", "a-site"] == "b-site"
    ends = {name: site(report, name)["works"][0]["ended"] for name in NAMES[:3]}
    assert ends["c-site"] > ends["b-site"] + 10


def test_a_relayed_world_runs_the_same_way_twice() -> None:
    first, again = (
        _core.simulate(5, sites=4, blocks=between(0, 3), operations=[LARGE], torn=True, loss=0.02)
        for _ in range(2)
    )
    assert first == again
