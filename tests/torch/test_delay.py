"""delay=1: the gradients of the step before, to the bit, and nothing else changes."""

from pathlib import Path

import delay_programs
import pytest
from isthmus.testing import run_sites


@pytest.mark.parametrize("sites", [[1, 1], [2, 1], [1, 1, 1], [2, 2]])
def test_delay_is_what_a_loop_that_delays_by_hand_does_to_the_bit(sites: list[int]) -> None:
    results = run_sites(delay_programs.both_ways, sites=sites, arguments=(8,))
    ranks = [rank for site in results for rank in site]
    for name in delay_programs.variants:
        hook, hand = ranks[0][name]
        assert hook == hand, name
        assert {rank[name] for rank in ranks} == {(hook, hand)}, name


def test_a_scaler_s_changes_reach_gradients_that_were_scaled_before_them() -> None:
    results = run_sites(delay_programs.scaled_both_ways, sites=[2, 1])
    ranks = [rank for site in results for rank in site]
    hook, hand = ranks[0]
    assert hook == hand
    assert all(rank == ranks[0] for rank in ranks)
    scales, weights = zip(*hook, strict=True)
    assert len(set(scales)) > 2
    # The infinity of step 2 comes with step 3, which is skipped; and the next one is good again.
    assert weights[3] == weights[2] != weights[1]
    assert weights[4] != weights[3]


def test_a_run_that_was_resumed_goes_on_with_the_mean_that_was_pending() -> None:
    for seen in (rank for site in run_sites(delay_programs.resumed, sites=[2, 1]) for rank in site):
        assert seen["resumed"] == seen["through"]
        assert seen["loaded"] and seen["names"] and seen["any"] > 0
        assert seen["refused"][0] == "Refused"
        assert "are not of this model's parameters" in seen["refused"][2]


def test_a_first_step_and_one_after_a_flush_bring_zeros_and_say_so() -> None:
    results = run_sites(delay_programs.first_steps, sites=[1, 1])
    assert results[0] == results[1] == [[(True, True), (False, False)] * 2]


def test_a_step_ends_before_the_other_site_has_begun_it(tmp_path: Path) -> None:
    results = run_sites(
        delay_programs.ahead_of_the_others, sites=[1, 1], arguments=(str(tmp_path),)
    )
    assert results == [[True], [True]]


def test_a_lost_site_is_named_when_its_gradient_was_due_at_every_rank_at_once() -> None:
    results = run_sites(
        delay_programs.lose_a_site, sites=[2, 1], arguments=("site01",), expect_death=True
    )
    first, second = results[0]
    # It died at step 3, perhaps before its data of step 2 had left.
    assert first["when"] == second["when"] and first["when"] in (3, 4)
    for seen in results[0]:
        for place in ("step", "flush", "state"):
            assert seen[place][:2] == ("PeerLost", "site01"), place


def test_what_cannot_be_delayed_is_refused_at_every_rank() -> None:
    for site in run_sites(delay_programs.refusals, sites=[2, 1]):
        for seen in site:
            assert {refusal[0] for refusal in seen.values()} == {"Refused"}
            assert "delay is 2; expected 0, or 1" in seen["two"][2]
            assert "find_unused_parameters" in seen["unused"][2]
            assert '"delay": 1' in seen["differs"][2]
