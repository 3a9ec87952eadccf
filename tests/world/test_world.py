"""Whole sites in the simulator: drawn worlds with and without faults, and pointed ones."""

from collections.abc import Mapping
from typing import Any

import pytest
from isthmus import _core
from isthmus.simulation import main

Report = Mapping[str, Any]
SEEDS_A_BLOCK = 250

SUM = {"collective": "all_reduce", "algorithm": "direct", "elements": 4000}
LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}


def works(report: Report, name: str) -> list[Mapping[str, Any]]:
    return next(site["works"] for site in report["sites"] if site["name"] == name)


def living(report: Report) -> list[str]:
    return [site["name"] for site in report["sites"] if site["living"]]


def well(report: Report) -> None:
    """Nothing is broken, and everything ended well."""
    assert not report["broken"]
    for site in report["sites"]:
        assert [work["code"] for work in site["works"]] == ["ok"] * len(site["works"])


@pytest.mark.parametrize("block", range(8))
def test_no_fault_makes_a_world_hang_or_lie_or_blame_the_innocent(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        report = _core.simulate(seed)
        assert not report["broken"], f"make sim SEED={seed}: {report['broken'][0]}"


@pytest.mark.parametrize(
    "seed",
    [100906],  # a site that closed dropped what others needed of it when a third one was killed
)
def test_worlds_that_once_were_broken_are_not(seed: int) -> None:
    assert not _core.simulate(seed)["broken"]


@pytest.mark.parametrize("block", range(2))
def test_an_undisturbed_world_has_no_failure(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        report = _core.simulate(seed, faults=False)
        assert not report["broken"], f"--calm --seed {seed}: {report['broken'][0]}"


def test_drawn_worlds_meet_every_kind_of_end() -> None:
    ends = {
        (work["code"], bool(site["living"]))
        for seed in range(300)
        for site in _core.simulate(seed)["sites"]
        for work in [site["joined"], *site["works"]]
    }
    codes = {code for code, alive in ends if alive}
    assert codes >= {"ok", "peer_lost", "wire_error", "timeout", "refused", "cancelled"}


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = (_core.simulate(seed) for seed in (7, 7, 8))
    assert first == again
    assert first["trace"] != other["trace"]


def test_cut_names_the_peer() -> None:
    trouble = {"kind": "cut", "at": 1.0, "site": 0, "peer": 2}
    late = {**SUM, "submit": [0.5, 0.5, 2.0]}
    report = _core.simulate(1, sites=3, operations=[late, SUM], troubles=[trouble])
    assert not report["broken"]
    for name in ("a-site", "b-site", "c-site"):
        work = works(report, name)[0]
        assert work["code"] == "peer_lost"
        assert work["site"] in ("a-site", "c-site")
        assert "5.0 s" in work["text"]


def test_killed_peer_raises_peer_lost_everywhere() -> None:
    report = _core.simulate(
        1,
        sites=4,
        operations=[{**LARGE, "submit": [0.0, 0.0, 0.0, 0.0]}, SUM],
        bits_per_s=20_000_000,
        troubles=[{"kind": "kill", "at": 0.1, "site": 2}],
    )
    assert not report["broken"]
    assert living(report) == ["a-site", "b-site", "d-site"]
    for name in living(report):
        for work in works(report, name):
            assert (work["code"], work["site"]) == ("peer_lost", "c-site")
            assert work["ended"] < 1.0


@pytest.mark.parametrize("lie", ["offset", "length", "transfer", "source", "garbage"])
def test_liar_is_named(lie: str) -> None:
    report = _core.simulate(
        1,
        sites=3,
        operations=[LARGE, LARGE, LARGE],
        bits_per_s=50_000_000,
        troubles=[{"kind": "lie", "lie": lie, "at": 0.0, "site": 1}],
    )
    assert not report["broken"]
    assert report["lies"] > 0
    for name in ("a-site", "c-site"):
        last = works(report, name)[-1]
        assert (last["code"], last["site"]) == ("wire_error", "b-site")
    # By connections that brought nothing but damage no last word comes either.
    heard = " lost (" if lie == "garbage" else "gave this site up"
    assert heard in works(report, "b-site")[-1]["text"]


@pytest.mark.parametrize("submit", [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_site_that_calls_something_else_is_refused_everywhere_and_the_session_goes_on(
    submit: list[float], algorithm: str
) -> None:
    odd = {**SUM, "algorithm": algorithm, "odd_site": 1, "submit": submit}
    report = _core.simulate(1, sites=3, operations=[odd, {**SUM, "submit": submit}])
    assert not report["broken"]
    for name in ("a-site", "b-site", "c-site"):
        refused, after = works(report, name)
        assert refused["code"] == "refused"
        assert "4000 at site" in refused["text"] or "4001 at site" in refused["text"]
        assert after["code"] == "ok"


def test_data_that_overtakes_its_announcement_is_no_broken_protocol() -> None:
    for seed in range(200):
        odd = {**SUM, "algorithm": "gather", "elements": 10, "odd_site": 0}
        after = {**odd, "odd_site": -1}
        report = _core.simulate(
            seed, sites=3, operations=[odd, after], loss=0.3, torn=True, close_after=0.0
        )
        assert not report["broken"]
        for site in report["sites"]:
            assert [work["code"] for work in site["works"]] == ["refused", "ok"]


def test_slow_site_is_not_a_dead_site() -> None:
    well(
        _core.simulate(
            1,
            sites=3,
            operations=[LARGE, LARGE],
            bits_per_s=20_000_000,
            troubles=[{"kind": "slow", "at": 0.0, "site": 0, "factor": 20}],
        )
    )


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_close_right_after_wait_loses_nothing_for_the_others(algorithm: str) -> None:
    operations = [
        {**LARGE, "algorithm": algorithm},
        {"collective": "broadcast", "elements": 500_000},
    ]
    for seed in range(20):
        well(
            _core.simulate(
                seed,
                sites=4,
                operations=operations,
                bits_per_s=100_000_000,
                loss=0.01,
                torn=True,
                close_after=0.0,
            )
        )


@pytest.mark.parametrize("kind", ["cut", "freeze", "clog"])
def test_short_trouble_is_survived(kind: str) -> None:
    trouble = {"kind": kind, "at": 0.1, "seconds": 2.4, "site": 0, "peer": 1}
    report = _core.simulate(
        1, sites=3, operations=[LARGE, SUM], bits_per_s=50_000_000, troubles=[trouble]
    )
    well(report)
    if kind != "clog":  # one stream stands still: others may carry all
        assert max(works(report, site["name"])[0]["ended"] for site in report["sites"]) > 2.0


def test_a_dead_coordinator_is_not_missed_by_a_running_session() -> None:
    killed = {"kind": "coordinator_killed", "at": 0.0}
    well(_core.simulate(1, sites=3, operations=[{**SUM, "submit": [0.5] * 3}], troubles=[killed]))


def test_absent_site_is_the_one_that_is_not_among_the_names() -> None:
    report = _core.simulate(1, sites=3, operations=[SUM], troubles=[{"kind": "absent", "site": 1}])
    assert not report["broken"]
    for name in ("a-site", "c-site"):
        joined = next(site["joined"] for site in report["sites"] if site["name"] == name)
        assert joined["code"] == "timeout"
        assert "a-site" in joined["text"]
        assert "c-site" in joined["text"]
        assert "b-site" not in joined["text"]


RATE = 80_000_000  # bits a second
DELAY = 0.05
BYTES = 4 * 2_000_000


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
def test_an_all_reduce_takes_what_its_bytes_and_delays_take(algorithm: str, world: int) -> None:
    operation = {"collective": "all_reduce", "algorithm": algorithm, "elements": BYTES // 4}
    report = _core.simulate(1, sites=world, operations=[operation], bits_per_s=RATE, latency=DELAY)
    well(report)
    took = max(works(report, site["name"])[0]["ended"] for site in report["sites"])
    sent = {
        "direct": 2 * (world - 1) / world * BYTES,
        "gather": (world - 1) * BYTES,
        "ring": 2 * (world - 1) / world * BYTES,
    }[algorithm]
    floor = sent * 8 / RATE + DELAY
    assert floor <= took <= 1.03 * floor


@pytest.mark.parametrize("algorithm", ["direct", "gather"])
def test_a_stream_that_stands_still_holds_only_what_it_had_and_not_half_of_the_bytes(
    algorithm: str,
) -> None:
    operation = {"collective": "all_reduce", "algorithm": algorithm, "elements": BYTES // 4}
    for seed in range(10):  # which stream, is the seed's choice
        calm, clogged = (
            _core.simulate(
                seed,
                sites=2,
                streams=2,
                window_bytes=1_000_000,
                operations=[operation],
                bits_per_s=RATE,
                latency=0.01,
                troubles=troubles,
            )
            for troubles in (
                [],
                [{"kind": "clog", "at": 0.05, "seconds": 0.6, "site": 0, "peer": 1}],
            )
        )
        well(calm)
        well(clogged)
        took, undisturbed = (
            max(works(report, site["name"])[0]["ended"] for site in report["sites"])
            for report in (clogged, calm)
        )
        assert took <= 1.15 * undisturbed


def test_the_judge_complains_when_a_site_is_lost_without_a_cause() -> None:
    crawl = {"kind": "slow", "at": 0.0, "site": 0, "factor": 2000}
    report = _core.simulate(1, sites=3, operations=[SUM], troubles=[crawl])
    assert any("though nothing went wrong" in reason for reason in report["broken"])


def test_a_seed_is_replayed_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 7\n")
    for name in (site["name"] for site in _core.simulate(7)["sites"]):
        assert f"{name}:" in said or f"{name} (gone):" in said


def test_a_broken_invariant_is_said_and_exits_with_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {**_core.simulate(7), "broken": ["the sky falls"]}
    monkeypatch.setattr("isthmus._core.simulate", lambda *_, **__: report)
    assert main(["--seed", "7"]) == 1
    assert "BROKEN: the sky falls" in capsys.readouterr().out
