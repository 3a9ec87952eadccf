"""isthmus over several sites against plain DDP over one torch world, on the same data."""

from typing import Any

import numpy as np
import programs
import pytest
from isthmus.testing import run_sites

Answers = dict[str, dict[str, Any]]


def _ranks(results: list[list[Answers]]) -> list[Answers]:
    return [answers for site in results for answers in site]


def _assert_identical(ranks: list[Answers]) -> None:
    for name in ranks[0]:
        assert len({answers[name]["digest"] for answers in ranks}) == 1, name


def _assert_close(ranks: list[Answers], plain: list[Answers], tolerance: float) -> None:
    for name, answer in plain[0].items():
        mine, theirs = np.array(ranks[0][name]["state"]), np.array(answer["state"])
        assert np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max(), name


def test_two_sites_equal_plain_ddp_bit_for_bit_for_50_steps() -> None:
    plain = _ranks(run_sites(programs.train_variants, sites=[2], arguments=(50,), joined=False))
    ranks = _ranks(run_sites(programs.train_variants, sites=[1, 1], arguments=(50,)))
    _assert_identical(plain)
    _assert_identical(ranks)
    for name in programs.variants:
        assert ranks[0][name]["digest"] == plain[0][name]["digest"], name
        assert ranks[0][name]["hook"]["steps"] == 50, name
        assert ranks[0][name]["hook"]["buckets"] > 50, name
        stats = ranks[0][name]["stats"]
        assert stats["exchange_seconds"] >= stats["waiting_seconds"] > 0, name
        # Two sites exchange every parameter once a step, 4 bytes each.
        assert stats["bytes_sent"] >= 50 * 4 * len(ranks[0][name]["state"]), name
        assert stats["bytes_received"] >= 50 * 4 * len(ranks[0][name]["state"]), name


@pytest.mark.parametrize("sites", [[1, 1, 1], [1] * 5, [2, 1], [2, 2, 1]])
def test_more_sites_and_ranks_are_identical_and_close_to_plain_ddp(sites: list[int]) -> None:
    plain = _ranks(
        run_sites(programs.train_variants, sites=[sum(sites)], arguments=(12,), joined=False)
    )
    ranks = _ranks(run_sites(programs.train_variants, sites=sites, arguments=(12,)))
    _assert_identical(ranks)
    _assert_close(ranks, plain, 1e-5)


def test_mixed_dtypes_and_bf16_on_the_wire_stay_identical_and_near_plain_ddp() -> None:
    plain = _ranks(run_sites(programs.train_dtypes, sites=[3], arguments=(5,), joined=False))
    ranks = _ranks(run_sites(programs.train_dtypes, sites=[2, 1], arguments=(5,)))
    _assert_identical(ranks)
    _assert_close(ranks, plain, 2e-2)
    assert ranks[0]["bf16"]["digest"] != plain[0]["bf16"]["digest"], "bf16 was not on the wire"


def test_an_overflow_at_one_rank_skips_the_step_everywhere() -> None:
    ranks = [seen for site in run_sites(programs.scaled_steps, sites=[2, 1]) for seen in site]
    assert ranks[0] == ranks[1] == ranks[2]
    scales = [scale for scale, _ in ranks[0]]
    weights = [weight for _, weight in ranks[0]]
    assert scales == [8.0, 8.0, 4.0, 4.0]
    assert weights[2] == weights[1]
    assert len(set(weights)) == 3
