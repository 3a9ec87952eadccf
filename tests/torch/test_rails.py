"""Rails: several gateways a site, each with its part of every bucket; the same bits everywhere."""

from pathlib import Path
from typing import Any

import codec_programs
import delay_programs
import numpy as np
import programs
import pytest
import rail_programs
from isthmus.testing import run_sites


def _ranks(results: list[list[Any]]) -> list[Any]:
    return [answer for site in results for answer in site]


def test_two_rails_end_with_the_bits_of_one_and_share_the_bytes() -> None:
    one = _ranks(run_sites(rail_programs.train_and_weigh, sites=[2, 2], arguments=(12,)))
    two = _ranks(run_sites(rail_programs.train_and_weigh, sites=[2, 2], arguments=(12,), rails=2))
    for name in programs.variants:
        assert {rank[name][0] for rank in one} == {rank[name][0] for rank in two}, name
        first, second = two[0][name][1], two[1][name][1]
        assert min(first, second) > 0.1 * one[0][name][1], name
        assert first + second < 1.2 * one[0][name][1], name
        assert one[1][name][1] == 0, "one rail: rank 1 is no gateway"


@pytest.mark.parametrize(("sites", "rails"), [([2, 3, 2], 2), ([3, 4], 3)])
def test_uneven_sites_are_identical_and_close_to_plain_ddp(sites: list[int], rails: int) -> None:
    plain = _ranks(
        run_sites(programs.train_variants, sites=[sum(sites)], arguments=(8,), joined=False)
    )
    ranks = _ranks(run_sites(programs.train_variants, sites=sites, arguments=(8,), rails=rails))
    for name in programs.variants:
        assert len({rank[name]["digest"] for rank in ranks}) == 1, name
        mine, theirs = np.array(ranks[0][name]["state"]), np.array(plain[0][name]["state"])
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max(), name


def test_every_codec_trains_on_two_rails_and_leaves_the_same_bits_everywhere() -> None:
    ranks = _ranks(
        run_sites(codec_programs.losses_by_codec, sites=[2, 2], arguments=(30,), rails=2)
    )
    for name in codec_programs.ways:
        assert len({rank[name]["digest"] for rank in ranks}) == 1, name
        first = sum(rank[name]["first"] for rank in ranks)
        assert sum(rank[name]["last"] for rank in ranks) < 0.4 * first, name
        assert all(rank[name]["bytes_sent"] > 0 for rank in ranks), name
    for name in ("int4", "int2", "sign", "topk"):
        assert all(rank[name]["residuals"] for rank in ranks), name


def test_a_wire_without_memory_is_the_same_in_two_pieces() -> None:
    how = {"codec": "int8", "make": rail_programs.Wide}
    digests = [
        set(_ranks(run_sites(codec_programs.train_with, sites=[2, 2], arguments=(6, how), rails=r)))
        for r in (1, 2)
    ]
    assert digests[0] == digests[1] and len(digests[0]) == 1


def test_an_overflow_at_one_rank_skips_the_step_on_all_rails() -> None:
    ranks = _ranks(run_sites(programs.scaled_steps, sites=[2, 2], rails=2))
    assert all(seen == ranks[0] for seen in ranks)
    assert [scale for scale, _ in ranks[0]] == [8.0, 8.0, 4.0, 4.0]
    assert ranks[0][2][1] == ranks[0][1][1]


def test_residuals_find_their_rail_through_new_buckets_bad_steps_and_checkpoints() -> None:
    ranks = _ranks(run_sites(rail_programs.life_of_residuals, sites=[2, 2], rails=2))
    for seen in ranks:
        for what in ("at first", "not finite", "kept", "moved on", "resumed", "left out"):
            assert seen[what], what
    assert any(seen["strayed"] for seen in ranks), "no element changed its rail: test with others"
    assert any("[" in key for key in ranks[0]["home"]), "no parameter was cut: test with others"
    assert ranks[0]["home"] == ranks[2]["home"] != ranks[1]["home"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_checkpoint_is_resumed_with_other_rails_and_no_debt_is_lost(
    before: int, after: int, tmp_path: Path
) -> None:
    folder = (str(tmp_path),)
    debts = run_sites(rail_programs.save_a_debt, sites=[2, 2], arguments=folder, rails=before)
    assert all(debt > 0 for debt in _ranks(debts))
    seen = run_sites(
        rail_programs.resume_with_zero_gradients, sites=[2, 2], arguments=folder, rails=after
    )
    (one, _), (other, _) = seen
    assert one["whole"] and other["whole"]
    for name, arrived in one["arrived"].items():
        paid = (one["paid"][name] + other["paid"][name]) / 2
        assert paid.abs().max() > 0, name
        # The way down is int8: 1/254 of a block's largest at most, and this is coarser than that.
        assert (arrived - paid).abs().max() < 0.02 * paid.abs().max(), name


@pytest.mark.parametrize(
    ("sites", "rails", "rank"),
    [
        ([2, 3, 2], 2, 0),
        ([2, 3, 2], 2, 1),
        ([2, 3, 2], 2, 2),
        ([1, 4, 1], 1, 2),  # gloo's ring: the gateway has no connection with it
        ([2, 4, 2], 2, 3),
    ],
)
def test_a_killed_rank_stops_every_rank_of_every_site(
    sites: list[int], rails: int, rank: int
) -> None:
    results = run_sites(
        rail_programs.lose_a_rank,
        sites=sites,
        arguments=(("site01", rank),),
        rails=rails,
        expect_death=True,
        patience=60,  # less than a wait in the site's group lasts
    )
    assert results[1][rank] is None
    for outcome in [*results[0], *results[2]]:
        assert outcome[:2] == ("PeerLost", "site01"), outcome
    for outcome in results[1]:
        assert outcome is None or outcome[0] == "PeerLost", outcome


@pytest.mark.parametrize("rail", [0, 1])
def test_what_one_rail_is_refused_all_ranks_of_all_sites_are_refused(rail: int) -> None:
    for seen in _ranks(
        run_sites(rail_programs.one_rail_refuses, sites=[2, 2], arguments=(rail,), rails=2)
    ):
        assert seen["well"][0] == "nothing"
        assert seen["step"][0] == "Refused" and "differs between sites" in seen["step"][2], seen


@pytest.mark.parametrize(
    ("sites", "rails", "drop", "text"),
    [
        ([2, 2], [2, 1], -1, "the sites differ in rails: 2 at site00; 1 at site01"),
        ([2, 1], [2, 2], -1, "site 'site01': it has 1 ranks, and 2 rails need a rank each"),
        ([2, 2], [2, 2], 1, "site 'site00': rank 1 of the model's process group is the gateway of"),
    ],
)
def test_rails_that_cannot_be_are_refused_at_every_rank(
    sites: list[int], rails: list[int], drop: int, text: str
) -> None:
    for outcome in _ranks(
        run_sites(rail_programs.registering, sites=sites, arguments=(drop,), rails=rails)
    ):
        assert outcome[0] == "Refused" and text in outcome[2], outcome


@pytest.mark.parametrize("sites", [[2, 2], [3, 2]])
def test_delay_on_two_rails_is_what_a_loop_that_delays_by_hand_does_to_the_bit(
    sites: list[int],
) -> None:
    for program in (delay_programs.both_ways, rail_programs.late_both_ways):
        ranks = _ranks(run_sites(program, sites=sites, arguments=(8,), rails=2))
        for name, (hook, hand) in ranks[0].items():
            assert hook == hand, name
            assert {rank[name] for rank in ranks} == {(hook, hand)}, name


def test_a_delayed_run_on_two_rails_is_resumed_with_what_was_pending_and_owed() -> None:
    arguments = (rail_programs.Wide,)
    for seen in _ranks(
        run_sites(delay_programs.resumed, sites=[2, 2], arguments=arguments, rails=2)
    ):
        assert seen["resumed"] == seen["through"]
        assert seen["loaded"] and seen["names"] and seen["any"] > 0


def test_a_step_on_two_rails_ends_before_the_other_site_has_begun_it(tmp_path: Path) -> None:
    arguments = (str(tmp_path),)
    results = run_sites(
        delay_programs.ahead_of_the_others, sites=[2, 2], arguments=arguments, rails=2
    )
    assert results == [[True, True], [True, True]]


def test_a_site_lost_to_two_rails_is_named_when_its_gradient_was_due() -> None:
    results = run_sites(
        delay_programs.lose_a_site,
        sites=[2, 2],
        arguments=("site01",),
        rails=2,
        expect_death=True,
        patience=60,  # less than a wait in the site's group lasts
    )
    first, second = results[0]
    assert first["when"] == second["when"]
    for seen in results[0]:
        for place in ("step", "flush", "state"):
            assert seen[place][:2] == ("PeerLost", "site01"), seen


_all = ("site00", "site01")


def test_every_rail_is_measured_once_and_ranks_that_are_on_none_are_not() -> None:
    results = run_sites(rail_programs.measuring, sites=[3, 2], arguments=(_all, None, ""), rails=2)
    assert results[0].pop()["links"] is None
    for seen in _ranks(results):
        assert seen["register"][0] == "nothing", seen
        assert seen["links"] == (_all, True)
        assert seen["again"][0] == "nothing", seen


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [("lost", "PeerLost", "the line is dead"), ("odd", "InternalError", "ArithmeticError: odd")],
)
def test_a_rail_that_cannot_be_measured_at_one_site_is_refused_to_all_ranks_for_its_reason(
    rank: int, reason: str, kind: str, text: str
) -> None:
    victim = ("site01", rank)
    for seen in _ranks(
        run_sites(rail_programs.measuring, sites=[3, 2], arguments=(_all, victim, reason), rails=2)
    ):
        assert seen["register"][0] == kind and text in seen["register"][2], seen


@pytest.mark.parametrize("rank", [0, 1])
def test_a_gateway_that_dies_while_rails_are_measured_leaves_nobody_waiting(rank: int) -> None:
    results = run_sites(
        rail_programs.measuring,
        sites=[3, 2],
        arguments=(_all, ("site01", rank), "died"),
        rails=2,
        expect_death=True,
        patience=60,  # less than a wait in the site's group lasts
    )
    assert results[1][rank] is None
    for seen in [*results[0], results[1][1 - rank]]:
        assert seen["register"][:2] == ("PeerLost", "site01"), seen


def test_sites_of_which_one_does_not_measure_are_refused() -> None:
    for seen in _ranks(
        run_sites(
            rail_programs.measuring, sites=[2, 2], arguments=(("site01",), ("", 0), ""), rails=2
        )
    ):
        assert seen["register"][0] == "Refused", seen
        text = "the sites differ in measure: False at site00; True at site01"
        assert text in seen["register"][2], seen


@pytest.mark.parametrize("rails", [1, 2])
def test_a_state_of_before_rails_is_that_of_rank_0(rails: int) -> None:
    for site in run_sites(rail_programs.load_a_state_of_before_rails, sites=[2, 2], rails=rails):
        assert [(seen["taken"], seen["number"]) for seen in site] == [(True, 1), (True, 0)]
        for seen in site:
            assert seen["newer"][0] == "Refused", seen
            assert "the checkpoint's version is 6, this hook's is 5" in seen["newer"][2]
