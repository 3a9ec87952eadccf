"""What follows from what sites say between two steps: pure, and so tried with every answer."""

import itertools
import random

import pytest
from isthmus import WireError, _core

Saying = tuple[int, int, int] | None  # step, epoch, digest


def words(sayings: list[Saying]) -> list[bytes]:
    return [
        b"" if each is None else _core.boundary_word(step=each[0], epoch=each[1], digest=each[2])
        for each in sayings
    ]


def test_sites_change_over_when_all_are_ready_for_the_same_epoch_and_never_else() -> None:
    choices: list[Saying] = [None, (7, 0, 0), (7, 1, 0), (7, 2, 0)]
    for sayings in itertools.product(choices, repeat=4):
        epochs = {each[1] for each in sayings if each is not None}
        ready = len(epochs) == 1 and epochs != {0}
        expected = ("change_over", epochs.pop(), []) if ready else ("go_on", 0, [])
        assert _core.decide_boundary(words(list(sayings))) == expected


def test_who_holds_what_most_do_not_is_named() -> None:
    for digests in itertools.product([1, 2, 3], repeat=4):
        verdict, epoch, odd = _core.decide_boundary(words([(7, 1, d) for d in digests]))
        if len(set(digests)) == 1:
            assert (verdict, epoch) == ("change_over", 1)
            continue
        most = max(digests, key=digests.count)  # of two as common ones the lowest rank's
        assert (verdict, epoch) == ("differ", 0)
        assert odd == [rank for rank, digest in enumerate(digests) if digest != most]


def test_who_is_at_another_step_is_named() -> None:
    assert _core.decide_boundary(words([(7, 0, 0), (8, 0, 0), (7, 0, 0)])) == ("differ", 0, [1])


def test_words_that_make_no_sense_name_the_rank() -> None:
    with pytest.raises(WireError, match="rank 1"):
        _core.decide_boundary([*words([(7, 0, 0)]), b"x"])
    with pytest.raises(WireError, match="rank 0"):
        _core.plan_hand_over([b"x"])


def test_who_holds_no_state_yet_is_named_and_who_is_lost_is_not() -> None:
    words_ = words([(7, 0, 0), None, (7, 0, 5), (9, 2, 1 << 63), (0, 0, 0)])
    assert _core.without_state(words_) == [0, 4]
    with pytest.raises(WireError, match="rank 1"):
        _core.without_state([*words([(7, 0, 0)]), b"12345678"])


def test_the_donor_is_the_least_busy_of_the_furthest_and_all_others_take() -> None:
    for seed in range(2000):
        draw = random.Random(seed)
        sites = [
            {
                "has_state": draw.random() < 0.7,
                "step": draw.randrange(3),
                "epoch": draw.randrange(2),
                "members": sorted({*lawful, *draw.sample(range(3), draw.randrange(1, 4))}),
                "lawful": lawful,
                "busy": draw.randrange(3),
            }
            for lawful in [list(range(draw.randrange(1, 3))) for _ in range(draw.randrange(1, 6))]
        ]
        lost = {rank for rank in range(len(sites)) if draw.random() < 0.2}
        answers = [
            b"" if rank in lost else _core.epoch_answer(**site)  # type: ignore[arg-type]
            for rank, site in enumerate(sites)
        ]
        donor, takers = _core.plan_hand_over(answers)
        able = {r: s for r, s in enumerate(sites) if s["has_state"] and r not in lost}
        if not able:
            assert (donor, takers) == (-1, [])
            continue
        best = able[donor]
        last = max(site["epoch"] for site in able.values())  # type: ignore[type-var]
        fewest = min(len(s["lawful"]) for s in able.values() if s["epoch"] == last)  # type: ignore
        lawful = [
            site
            for site in able.values()
            if site["epoch"] == last and len(site["lawful"]) == fewest  # type: ignore[arg-type]
        ]
        assert best in lawful
        assert best["step"] == max(site["step"] for site in lawful)  # type: ignore[type-var]
        same = [
            rank
            for rank, site in able.items()
            if all(site[key] == best[key] for key in ("step", "epoch", "members"))
        ]
        rivals = [sites[r]["busy"] for r in same if sites[r]["lawful"] == best["lawful"]]
        assert best["busy"] == min(rivals)  # type: ignore[type-var]
        assert takers == [r for r in range(len(sites)) if r not in lost and r not in same]


def test_of_two_parts_that_did_the_same_step_the_larger_ones_state_is_kept() -> None:
    alone = _core.epoch_answer(has_state=True, step=9, members=[0])
    pair = _core.epoch_answer(has_state=True, step=9, members=[1, 2], busy=900)
    assert _core.plan_hand_over([alone, pair, pair]) == (1, [0])


def test_who_went_on_lawfully_gives_though_stuck_sites_are_further() -> None:
    lawful = _core.epoch_answer(has_state=True, step=4, members=[1, 2], lawful=[1, 2])
    stuck = _core.epoch_answer(has_state=True, step=6, members=[0], lawful=[0, 1, 2])
    assert _core.plan_hand_over([stuck, lawful, lawful]) == (1, [0])


def stuck(here: list[int]) -> bytes:
    """Of three, one went on alone with this much of them in the new epoch."""
    return _core.epoch_answer(has_state=True, step=6, members=[0], lawful=[0, 1, 2], here=here)


def test_a_stuck_site_gives_only_where_enough_of_its_last_roster_are() -> None:
    newcomer = _core.epoch_answer(has_state=False)
    assert _core.plan_hand_over([stuck([0]), newcomer, newcomer])[0] == -2
    assert _core.plan_hand_over([stuck([0, 2]), newcomer, newcomer]) == (0, [1, 2])
    assert _core.plan_hand_over([stuck([0, 2]), newcomer, b""])[0] == -2


def test_half_of_a_stuck_sites_last_roster_is_enough_with_the_favourite_among_it() -> None:
    answer = _core.epoch_answer(has_state=True, step=6, members=[0], lawful=[0, 1], here=[0])
    assert _core.plan_hand_over([answer], favourite=0) == (0, [])
    assert _core.plan_hand_over([answer])[0] == -2
    newcomer = _core.epoch_answer(has_state=False)
    assert _core.plan_hand_over([answer, newcomer], favourite=1)[0] == -2


def test_a_stuck_site_with_newcomers_does_not_go_on_where_those_who_are_away_may_be() -> None:
    """Of five, three names are here, but two of them know nothing: their predecessors may have
    agreed to go on with the two that are away."""
    newcomer = _core.epoch_answer(has_state=False)

    def answer(members: list[int]) -> bytes:
        return _core.epoch_answer(
            has_state=True, step=6, members=members, lawful=list(range(5)), here=[0, 1, 2]
        )

    assert _core.plan_hand_over([answer([0]), newcomer, newcomer])[0] == -2
    both = answer([0, 1])
    assert _core.plan_hand_over([both, both, newcomer])[0] == -2
    everybody = answer([0, 1])
    assert _core.plan_hand_over([everybody, everybody, everybody]) == (0, [])
