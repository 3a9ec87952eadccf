"""Worlds whose sites carry on after a loss: who is left finishes everything, with the same bits."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from isthmus import _core

Report = Mapping[str, Any]
SEEDS_A_BLOCK = 250

SUM = {"collective": "all_reduce", "algorithm": "direct", "elements": 4000}
LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}
RATE = 20_000_000  # bits a second: the large one takes about half a second


def site(report: Report, name: str) -> Mapping[str, Any]:
    return next(site for site in report["sites"] if site["name"] == name)


def contributors(report: Report, name: str) -> list[list[str]]:
    return [[who[0] for who in work["contributors"]] for work in site(report, name)["works"]]


def lose(*troubles: Mapping[str, Any], sites: int = 4, **settings: Any) -> Report:
    defaults = {"operations": [LARGE, SUM], "bits_per_s": RATE, "close_after": 20.0}
    return _core.simulate(
        1, sites=sites, carry_on=True, troubles=list(troubles), **{**defaults, **settings}
    )


@pytest.mark.parametrize("block", range(8))
def test_no_loss_makes_those_who_are_left_hang_or_differ_or_count_twice(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        report = _core.simulate(seed, losses=True)
        assert not report["broken"], (
            f"python -m isthmus.simulation --losses --seed {seed}: {report['broken'][0]}"
        )


def test_drawn_losses_meet_every_kind_of_end() -> None:
    seen: Counter[str] = Counter()
    for seed in range(400):
        report = _core.simulate(seed, losses=True)
        for one in report["sites"]:
            seen["begun again"] += one["again"]
            seen["taken from another site"] += one["taken"]
            seen["given up"] += "gave this site up" in one["failure"]
            seen["too few"] += "too few" in one["failure"]
            seen["two losses"] += one["living"] and len(report["sites"]) - len(one["roster"]) > 1
            for work in one["works"]:
                if one["living"] and not one["failure"] and work["code"] == "ok":
                    part = len(work["contributors"]) < len(report["sites"])
                    seen["of a part" if part else "of all"] += 1
    kinds = ("begun again", "taken from another site", "given up", "too few", "two losses")
    assert all(seen[kind] for kind in (*kinds, "of a part", "of all")), seen


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("killed", range(4))
def test_a_killed_site_is_left_out_of_all_that_was_under_way(algorithm: str, killed: int) -> None:
    large = {**LARGE, "algorithm": algorithm}
    report = lose({"kind": "kill", "at": 0.1, "site": killed}, operations=[large, SUM])
    assert not report["broken"]
    left = [name for name in "abcd" if name != "abcd"[killed]]
    for name in left:
        assert contributors(report, f"{name}-site") == [left, left]
        assert site(report, f"{name}-site")["again"] == 2


def test_who_is_left_goes_on_two_delays_after_the_last_of_them_has_noticed() -> None:
    delay = 0.02
    report = lose(
        {"kind": "kill", "at": 1.005, "site": 2},
        operations=[{**SUM, "submit": [1.0] * 4}],
        latency=delay,
        bits_per_s=1_000_000_000,
    )
    assert not report["broken"]
    work = site(report, "a-site")["works"][0]
    assert [who[0] for who in work["contributors"]] == ["a", "b", "d"]
    # The news of the death, "lost", "out", and then the operation's own two delays.
    assert work["ended"] < 1.005 + 5 * delay + 0.01


def test_a_killed_site_leaves_what_was_done_before_with_all_contributors() -> None:
    later = {**SUM, "submit": [2.0] * 4}
    report = lose({"kind": "kill", "at": 1.5, "site": 0}, operations=[SUM, later])
    assert not report["broken"]
    assert contributors(report, "b-site") == [["a", "b", "c", "d"], ["b", "c", "d"]]


def test_a_result_that_one_has_and_others_lack_is_given_to_them() -> None:
    taken = 0
    for step in range(60):
        report = lose({"kind": "kill", "at": 0.65 + step * 0.003, "site": 3}, operations=[LARGE])
        assert not report["broken"], step
        counted = contributors(report, "a-site")[0]
        assert counted in (["a", "b", "c"], ["a", "b", "c", "d"])
        taken += sum(one["taken"] for one in report["sites"])
    assert taken > 0


def test_two_deaths_at_once_and_one_after_the_other_are_survived() -> None:
    for apart in (0.0, 0.01, 0.03, 0.06, 0.3):
        report = lose(
            {"kind": "kill", "at": 0.1, "site": 1},
            {"kind": "kill", "at": 0.1 + apart, "site": 4},
            sites=5,
        )
        assert not report["broken"], apart
        assert site(report, "a-site")["roster"] == ["a-site", "c-site", "d-site"]
        # Three of five, and then two of three, and so on: of the last roster, not of the first.
    report = lose(*({"kind": "kill", "at": 0.1 + i, "site": i} for i in range(3)), sites=5)
    assert not report["broken"]
    assert site(report, "e-site")["roster"] == ["d-site", "e-site"]


def test_of_a_pair_that_is_cut_one_goes_and_the_others_keep_their_bits() -> None:
    report = lose({"kind": "cut", "at": 0.1, "site": 0, "peer": 2})
    assert not report["broken"]
    assert "gave this site up" in site(report, "c-site")["failure"]
    assert site(report, "a-site")["roster"] == ["a-site", "b-site", "d-site"]


def test_of_two_sites_the_favourite_goes_on_and_without_one_both_fail() -> None:
    cut = {"kind": "cut", "at": 0.1, "site": 0, "peer": 1}
    report = lose(cut, sites=2)
    assert not report["broken"]
    assert all("too few to go on" in one["failure"] for one in report["sites"])
    report = lose(cut, sites=2, favourite=1)
    assert not report["broken"]
    assert "too few to go on" in site(report, "a-site")["failure"]
    assert contributors(report, "b-site") == [["b"], ["b"]]


def test_fewer_than_min_sites_fail_and_say_how_many_are_left() -> None:
    report = lose({"kind": "kill", "at": 0.1, "site": 2}, min_sites=4)
    assert not report["broken"] or all("most sites are well" not in b for b in report["broken"])
    for name in ("a-site", "b-site", "d-site"):
        assert "3 of 4 sites remain" in site(report, name)["failure"]


def test_where_too_few_are_left_as_two_others_lost_each_other_the_end_names_one_of_them() -> None:
    report = lose({"kind": "cut", "at": 0.1, "site": 1, "peer": 2}, sites=3, min_sites=3)
    for name in ("a-site", "b-site"):
        failure = site(report, name)["failure"]
        assert failure.startswith('site "c-site" lost (')
        assert "2 of 3 sites remain, which is too few to go on" in failure


def test_a_site_that_was_lost_long_before_is_not_blamed_for_what_others_lost() -> None:
    report = lose(
        {"kind": "kill", "at": 0.1, "site": 3},
        {"kind": "cut", "at": 4.0, "site": 1, "peer": 2},
        min_sites=3,
        operations=[LARGE] * 12,
    )
    for name in ("a-site", "b-site"):
        failure = site(report, name)["failure"]
        assert failure.startswith('site "c-site" lost ('), failure
        assert "2 of 3 sites remain, which is too few to go on" in failure


def test_a_broadcast_whose_root_is_lost_fails_alone() -> None:
    broadcast = {"collective": "broadcast", "elements": 1_000_000, "root": 1}
    report = lose({"kind": "kill", "at": 0.1, "site": 1}, operations=[broadcast, SUM])
    assert not report["broken"]
    for name in ("a-site", "c-site", "d-site"):
        works = site(report, name)["works"]
        assert (works[0]["code"], works[0]["site"]) == ("peer_lost", "b-site")
        assert works[1]["code"] == "ok"


def test_sites_that_close_at_once_lose_nothing_for_the_others() -> None:
    for step in range(40):
        report = lose(
            {"kind": "kill", "at": step * 0.02, "site": 3}, close_after=0.0, operations=[LARGE]
        )
        ends = {
            (tuple(work["contributors"]), work["code"])
            for one in report["sites"][:3]
            for work in one["works"]
        }
        assert len(ends) == 1, (step, ends)


def test_the_same_losses_give_the_same_world() -> None:
    assert _core.simulate(7, losses=True) == _core.simulate(7, losses=True)
