"""Where a step's time goes: torch's profiler sees every stage, and hook.stats() adds them up."""

import profile_programs
import pytest
from isthmus.spans import STAGES
from isthmus.testing import run_sites

GATEWAY = {"noise", "encode", "exchange", "exchange_wait", "decode"}


def test_a_profile_of_all_threads_has_a_range_for_every_stage() -> None:
    results = run_sites(profile_programs.both_ways, sites=[2, 1])
    every = [[rank[1] for rank in site] for site in results]
    assert every[0][0] == {f"isthmus::{stage}" for stage in GATEWAY | {"reduce", "broadcast"}}
    assert every[0][1] == {"isthmus::reduce", "isthmus::broadcast"}
    assert every[1][0] == {f"isthmus::{stage}" for stage in GATEWAY}


def test_a_plain_profile_sees_only_what_backward_does_itself() -> None:
    results = run_sites(profile_programs.both_ways, sites=[2, 1])
    plain = [[rank[0] for rank in site] for site in results]
    assert plain[0] == [{"isthmus::reduce"}] * 2
    assert plain[1] == [{"isthmus::noise", "isthmus::encode", "isthmus::exchange"}]


@pytest.mark.parametrize("delay", [0, 1])
def test_stats_have_seconds_for_the_stages_that_a_rank_has(delay: int) -> None:
    results = run_sites(profile_programs.measured, sites=[2, 1], arguments=(delay,))
    gateway, follower, alone = (rank for site in results for rank in site)
    for stats in (gateway, follower, alone):
        assert tuple(stats["stage_seconds"]) == STAGES
        assert stats["stage_seconds"]["clip"] == 0
        assert (stats["steps"], stats["delay"]) == (4, delay)
        assert 0 <= stats["hidden_share"] <= 1
        assert stats["exchange_seconds"] > 0 < stats["waiting_seconds"]
    busy = {stage for stage, seconds in gateway["stage_seconds"].items() if seconds > 0}
    assert busy == set(STAGES) - {"clip"}
    busy = {stage for stage, seconds in follower["stage_seconds"].items() if seconds > 0}
    assert busy == {"reduce", "broadcast"}
    assert alone["stage_seconds"]["reduce"] == alone["stage_seconds"]["broadcast"] == 0
    assert gateway["contributors"] == ("site00", "site01")
    assert 3 < gateway["compression"] < 8
    assert follower["session"] == {}
    assert "hidden" in follower["text"]
    assert "1 : " in gateway["text"] and "site01" in gateway["text"]
