"""The tournament of the doctor's pairs."""

import itertools

import pytest
from isthmus.doctor.pairing import dialler, opponent, rounds


@pytest.mark.parametrize("world", range(2, 65))
def test_every_pair_plays_once_and_no_site_twice_in_a_round(world: int) -> None:
    played = rounds(world)
    assert len(played) == (world - 1 if world % 2 == 0 else world)
    games = [game for games in played for game in games]
    assert sorted(games) == list(itertools.combinations(range(world), 2))
    for games in played:
        ranks = [rank for game in games for rank in game]
        assert len(ranks) == len(set(ranks))


def test_who_has_no_game_rests() -> None:
    assert [opponent([(0, 2)], rank) for rank in range(3)] == [2, None, 0]


def test_the_higher_rank_dials_unless_only_the_lower_one_can() -> None:
    def who(*, high: bool, low: bool) -> int | None:
        return dialler((1, 4), {(4, 1): high, (1, 4): low})

    assert who(high=True, low=True) == 4
    assert who(high=True, low=False) == 4
    assert who(high=False, low=True) == 1
    assert who(high=False, low=False) is None
