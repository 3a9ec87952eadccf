"""Which fault happens when in a soak."""

from collections import Counter

import pytest
from isthmus.errors import Refused
from isthmus.soak.plan import ON_LOOPBACK, SPARED, WEIGHTS, draw
from isthmus.soak.settings import KEEPER


def test_the_same_seed_draws_the_same_faults_and_another_seed_others() -> None:
    first = draw(7, seconds=600, every=30)
    assert first == draw(7, seconds=600, every=30)
    assert first != draw(8, seconds=600, every=30)


def test_there_is_one_fault_in_each_interval() -> None:
    times = [fault.at_seconds for fault in draw(1, seconds=600, every=30)]
    assert times == [15 + 30 * i for i in range(20)]


def test_every_kind_happens_as_often_as_its_weight_says() -> None:
    drawn = draw(1, seconds=12_000, every=1)
    sites = [fault for fault in drawn if fault.site != KEEPER]
    counts = Counter(
        "cut pair" if fault.kind == "cut" and fault.other else fault.kind for fault in sites
    )
    counts["coordinator"] = len(drawn) - len(sites)
    assert set(counts) == set(WEIGHTS)
    for kind, weight in WEIGHTS.items():
        assert abs(counts[kind] / 1000 - weight) < 0.3, kind


def test_what_ends_a_process_never_meets_the_one_that_lives_throughout() -> None:
    for fault in draw(1, seconds=5_000, every=1):
        if fault.kind in ("kill", "freeze", "cut"):
            assert fault.site != SPARED


def test_on_loopback_only_what_needs_no_network_is_drawn() -> None:
    kinds = {fault.kind for fault in draw(1, seconds=500, every=1, kinds=ON_LOOPBACK)}
    assert kinds == {"kill", "freeze"}


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="flood"):
        draw(1, seconds=60, every=30, kinds=["kill", "flood"])
