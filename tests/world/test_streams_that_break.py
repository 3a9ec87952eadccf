"""Data streams that break alone, in the simulator: the link goes on, loses and doubles nothing."""

from collections.abc import Mapping
from typing import Any

import pytest
from isthmus import _core

Report = Mapping[str, Any]

LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}
RATE = 20_000_000  # bits a second: half a second for a large one


def well(report: Report) -> None:
    assert not report["broken"]
    for site in report["sites"]:
        assert [work["code"] for work in site["works"]] == ["ok"] * len(site["works"])


def total(report: Report, what: str) -> int:
    return sum(site[what] for site in report["sites"])


def reset(at: float, site: int = 0, peer: int = 1, kind: str = "reset") -> dict[str, Any]:
    return {"kind": kind, "at": at, "site": site, "peer": peer}


def run(seed: int, *troubles: Mapping[str, Any], **settings: Any) -> Report:
    defaults: dict[str, Any] = {
        "sites": 2,
        "operations": [LARGE, LARGE, LARGE],
        "bits_per_s": RATE,
        "window_bytes": 256 << 10,
        "torn": True,
    }
    return _core.simulate(seed, troubles=list(troubles), **{**defaults, **settings})


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("seed", range(12))
def test_a_stream_that_is_reset_fails_no_operation(seed: int, algorithm: str) -> None:
    times = [0.02 + 0.11 * i + 0.007 * seed for i in range(8)]
    operations = [{**LARGE, "algorithm": algorithm, "codec": ("f32", "f32")}] * 3
    report = run(seed, *map(reset, times), sites=3, operations=operations)
    well(report)
    assert total(report, "streams_lost") > 0 and total(report, "frames_again") > 0


@pytest.mark.parametrize("codec", [("int8", "int8"), ("int4", "int8"), ("bf16", "f32")])
def test_encoded_slices_are_sent_again_with_the_same_bytes(codec: tuple[str, str]) -> None:
    operations = [{**LARGE, "codec": codec, "elements": 1_000_000}] * 2
    for seed in range(6):
        times = [0.02 + 0.09 * i + 0.01 * seed for i in range(8)]
        report = run(seed, *map(reset, times), operations=operations)
        well(report)
        assert total(report, "frames_again") > 0


def test_a_stream_that_broke_is_replaced() -> None:
    late = {**LARGE, "submit": [2.0] * 2}
    report = run(1, reset(0.1), operations=[LARGE, late], streams=3)
    well(report)
    assert total(report, "streams_lost") == 2  # seen by both ends
    for site in report["sites"]:
        assert [streams for _, streams in site["streams"]] == [3]


def test_the_only_stream_of_a_link_is_replaced() -> None:
    for seed in range(10):
        report = run(seed, reset(0.05 + 0.02 * seed), streams=1)
        well(report)
        assert total(report, "streams_lost") == 2


def test_all_streams_that_break_at_once_are_replaced() -> None:
    report = run(1, *[reset(0.1)] * 12, streams=4)
    well(report)
    assert total(report, "streams_lost") >= 8


def test_a_stream_that_falls_silent_is_given_up_and_replaced() -> None:
    operations = [{**LARGE, "submit": [0.5 * i] * 2} for i in range(4)]
    for streams in (1, 3):
        report = run(
            1,
            reset(0.1, kind="silence"),
            streams=streams,
            operations=operations,
            close_after=20.0,
        )
        well(report)
        assert total(report, "streams_lost") == 2
        for site in report["sites"]:
            assert [count for _, count in site["streams"]] == [streams]


def test_streams_that_break_while_others_come_and_go_lose_and_double_nothing() -> None:
    for seed in range(20):
        changes = [
            {"at": 0.06 * i, "site": 0, "peer": 1, "count": 1 + (seed + 5 * i) % 6}
            for i in range(20)
        ]
        times = [0.03 + 0.07 * i + 0.003 * seed for i in range(14)]
        report = run(seed, *map(reset, times), changes=changes, loss=0.002)
        well(report)
        assert total(report, "streams_lost") > 0


@pytest.mark.parametrize("kind", ["reset", "control"])
def test_a_relayed_link_replaces_its_streams_by_its_way(kind: str) -> None:
    blocks = [(1, 2, True), (2, 1, True)]
    late = {**LARGE, "submit": [1.0] * 3}
    for seed in range(6):
        troubles = [reset(0.1 + 0.02 * seed, 0, peer, kind) for peer in (1, 2)]
        report = run(seed, *troubles, sites=3, blocks=blocks, operations=[LARGE, late])
        well(report)
        assert total(report, "streams_lost") > 0
        assert total(report, "streams_replaced") > 0


@pytest.mark.parametrize("kind", ["reset", "control"])
def test_a_site_that_nobody_reaches_makes_the_new_connection_itself(kind: str) -> None:
    # b-site dials by its rank, but cannot reach a-site, which offers its own connections.
    report = run(1, reset(0.1, kind=kind), streams=1, blocks=[(1, 0, False)])
    well(report)
    assert total(report, "streams_lost") == total(report, "streams_replaced") == 2


def test_who_goes_on_after_a_loss_also_gets_over_broken_streams() -> None:
    for seed in range(20):
        kill = {"kind": "kill", "at": 0.1 + 0.02 * seed, "site": 3}
        times = [0.05 + 0.04 * i for i in range(10)]
        pairs = [reset(at, i % 3, (i + 1) % 3) for i, at in enumerate(times)]
        report = run(
            seed, kill, *pairs, sites=4, carry_on=True, close_after=20.0, operations=[LARGE, LARGE]
        )
        assert not report["broken"], seed
        assert sorted(report["sites"][0]["roster"]) == ["a-site", "b-site", "c-site"]


def test_sites_that_close_at_once_still_get_what_a_broken_stream_owed() -> None:
    for step in range(40):
        report = run(step, reset(0.3 + 0.02 * step), operations=[LARGE], streams=1 + step % 2)
        well(report)


def test_drawn_worlds_break_data_streams() -> None:
    lost = [total(_core.simulate(seed), "streams_lost") > 0 for seed in range(200)]
    assert 10 < sum(lost) < 120


def control(at: float, site: int = 0, peer: int = 1) -> dict[str, Any]:
    return reset(at, site, peer, "control")


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("seed", range(12))
def test_a_control_stream_that_is_reset_fails_no_operation(seed: int, algorithm: str) -> None:
    times = [0.02 + 0.5 * i + 0.013 * seed for i in range(3)]
    operations = [{**LARGE, "algorithm": algorithm, "codec": ("f32", "f32")}] * 3
    report = run(seed, *map(control, times), sites=3, operations=operations, streams=1 + seed % 2)
    well(report)
    assert total(report, "streams_lost") >= 4  # seen by both ends
    assert total(report, "streams_replaced") == total(report, "streams_lost")
    assert total(report, "frames_again") == 0


def test_what_was_said_while_there_was_no_control_stream_comes_by_the_next_one() -> None:
    # Many short operations, of which each is announced: some in every moment of the break.
    short = {"collective": "all_gather", "elements": 200}
    for seed in range(10):
        operations = [{**short, "submit": [0.01 * i] * 2} for i in range(100)]
        report = run(seed, *map(control, (0.2, 0.6)), operations=operations, loss=0.002)
        well(report)
        assert total(report, "streams_replaced") == 4


def test_a_control_stream_that_is_reset_again_while_it_is_replaced_is_replaced() -> None:
    for seed in range(20):
        times = [0.1 + (0.02 + 0.004 * seed) * i for i in range(12)]
        report = run(seed, *map(control, times), close_after=20.0)
        well(report)
        assert total(report, "streams_replaced") == total(report, "streams_lost") >= 2


def test_data_streams_that_break_after_the_control_stream_was_replaced_are_replaced() -> None:
    for seed in range(20):
        times = [(0.05, control), (0.4, reset), (0.8, control), (1.2, reset)]
        report = run(seed, *[break_(at + 0.01 * seed) for at, break_ in times], streams=2)
        well(report)
        assert total(report, "streams_replaced") >= 6


def test_who_dies_is_lost_at_once_though_its_control_stream_might_be_replaced() -> None:
    for seed in range(20):
        kill = {"kind": "kill", "at": 0.3 + 0.01 * seed, "site": 2}
        settings = {"sites": 3, "carry_on": True, "heartbeat_timeout": 20.0, "streams": 3}
        report = run(seed, kill, operations=[LARGE] * 2, **settings)
        assert not report["broken"]
        for site in report["sites"][:2]:
            assert all(work["code"] == "ok" for work in site["works"])
            assert site["works"][-1]["ended"] < 10.0, seed


def test_after_a_new_control_stream_idle_links_are_as_quiet_as_before() -> None:
    operations = [{**LARGE, "elements": 30_000}, {**LARGE, "elements": 30_000, "submit": [8.0] * 2}]
    events = []
    for moment in range(60):
        settings = {"latency": 0.05, "heartbeat_timeout": 5.0, "log_events": 400_000}
        report = run(1, control(2.0 + 0.02 * moment), operations=operations, **settings)
        well(report)
        events.append(len(report["events"]))
    assert max(events) < 1.2 * min(events)
