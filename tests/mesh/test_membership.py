"""Membership alone, with words that cross, links that break at any moment, and sites that die."""

import itertools
import random
from collections import deque

import pytest
from isthmus import _core

PATIENCE = 60
Census = tuple[int, int, int, int]


def bits(*ranks: int) -> int:
    return sum(1 << rank for rank in ranks)


class Sites:
    """Some sites whose words travel for random times, in order on each link."""

    def __init__(self, seed: int, favourite: int, *, waits: bool = False) -> None:
        self.random = random.Random(seed)
        self.world = self.random.randint(2, 7)
        self.members = [
            _core.Membership(rank, self.world, favourite=favourite, patience=PATIENCE, waits=waits)
            for rank in range(self.world)
        ]
        self.alive = set(range(self.world))
        self.failed: dict[int, str] = {}
        self.told: list[Census] = [member.census for member in self.members]
        self.links: dict[tuple[int, int], deque[Census]] = {
            (a, b): deque() for a in range(self.world) for b in range(self.world) if a != b
        }
        self.news: list[tuple[int, int, int]] = []  # when, who, whom it finds lost
        self.installed: dict[int, set[tuple[int, ...]]] = {}  # by generation
        self.now = self.stirred = 0  # and when something happened last

    def break_link(self, a: int, b: int, within: int = 20) -> None:
        """What is on the way may be lost; each end notices by itself."""
        self.stirred = self.now
        for one, other in ((a, b), (b, a)):
            words = self.links.pop((one, other), None)
            if words is not None:
                self.news.append((self.now + self.random.randint(0, within), one, other))

    def leave(self, rank: int) -> None:
        """What it has said still comes, until the others notice."""
        self.stirred = self.now
        for other in range(self.world):
            if other != rank and (other, rank) in self.links:
                del self.links[other, rank]
                self.news.append((self.now + self.random.randint(0, 20), other, rank))

    def kill(self, rank: int) -> None:
        self.alive.discard(rank)
        for other in range(self.world):
            if other != rank:
                self.break_link(rank, other)

    def step(self) -> None:
        self.now += 1
        for when, rank, peer in list(self.news):
            if when <= self.now:
                self.news.remove((when, rank, peer))
                self.stirred = self.now
                self.links.pop((peer, rank), None)
                self.members[rank].lose(peer)
        for (source, to), words in list(self.links.items()):
            if words and self.random.random() < 0.3 and self.runs(to):
                assert self.members[to].hear(source, words.popleft())
                self.stirred = self.now
        for rank in sorted(self.alive):
            if self.runs(rank):
                self.mind(rank)

    def runs(self, rank: int) -> bool:
        return rank in self.alive and rank not in self.failed

    def mind(self, rank: int) -> None:
        member = self.members[rank]
        while True:
            member.decide(self.now)
            if member.census != self.told[rank]:
                self.told[rank] = member.census
                self.stirred = self.now
                for (source, _), words in self.links.items():
                    if source == rank:
                        words.append(member.census)
            verdict = member.settle()
            if verdict == "installed":
                roster = tuple(member.roster)
                self.installed.setdefault(member.generation, set()).add(roster)
                continue
            if verdict != "waits":
                self.failed[rank] = verdict
                self.leave(rank)
            return

    def at_rest(self) -> bool:
        """Nothing will change any more: the longest that a site waits for more news is over."""
        return self.now - self.stirred > 2 * PATIENCE

    def rest(self) -> list[int]:
        return [rank for rank in sorted(self.alive) if self.runs(rank)]


def drawn(seed: int, *, waits: bool = False) -> Sites:
    favourite = seed % 5 - 1
    sites = Sites(seed, favourite, waits=waits)
    faults = [sites.random.randint(1, 120) for _ in range(sites.random.randint(1, 3))]
    for _ in range(2000):
        sites.step()
        for _ in range(faults.count(sites.now)):
            a, b = sites.random.sample(range(sites.world), 2)
            if sites.random.random() < 0.6:
                sites.kill(a)
            else:
                sites.break_link(a, b)
        if sites.now > max(faults) and sites.at_rest():
            break
    return sites


@pytest.mark.parametrize("block", range(4))
def test_whatever_breaks_rosters_are_one_chain_and_all_come_to_rest(block: int) -> None:
    for seed in range(block * 100, (block + 1) * 100):
        sites = drawn(seed)
        rosters = []
        for generation in sorted(sites.installed):
            assert len(sites.installed[generation]) == 1, f"seed {seed}: two of one generation"
            rosters += list(sites.installed[generation])
        for larger, smaller in itertools.pairwise(rosters):
            assert set(smaller) < set(larger), f"seed {seed}"
        for rank in sites.rest():
            member = sites.members[rank]
            assert member.roster == sites.rest(), f"seed {seed}: site {rank} waits for a dead one"
            assert not member.census[1] & bits(*member.roster)


@pytest.mark.parametrize("block", range(4))
def test_sites_that_wait_are_stuck_where_they_would_have_failed_and_one_side_is_not(
    block: int,
) -> None:
    for seed in range(block * 100, (block + 1) * 100):
        sites = drawn(seed, waits=True)
        assert "too_few" not in sites.failed.values(), f"seed {seed}"
        going = [rank for rank in sites.rest() if not sites.members[rank].stuck]
        for rank in sites.rest():
            member = sites.members[rank]
            if member.stuck:
                assert set(member.roster) < set(ranks_in(member.census[3])), f"seed {seed}"
                for other in member.roster:
                    assert sites.members[other].stuck, f"seed {seed}"
                # Lawful rosters are one chain, whoever knows of them.
                for other in going:
                    lawful = set(sites.members[other].roster)
                    assert lawful <= set(ranks_in(member.census[3])), f"seed {seed}"
            else:
                assert member.roster == going, f"seed {seed}: two sides go on"


def ranks_in(bits: int) -> list[int]:
    return [rank for rank in range(bits.bit_length()) if bits >> rank & 1]


def test_a_killed_site_is_given_up_without_waiting_and_the_others_go_on() -> None:
    for seed in range(100):
        sites = Sites(seed, -1)
        if sites.world < 3:
            continue
        sites.kill(seed % sites.world)
        while len({tuple(sites.members[rank].roster) for rank in sites.rest()}) != 1 or (
            len(sites.members[sites.rest()[0]].roster) == sites.world
        ):
            sites.step()
            assert sites.now < PATIENCE
        assert not sites.failed


def two(favourite: int) -> Sites:
    return next(s for s in (Sites(seed, favourite) for seed in range(99)) if s.world == 2)


def test_of_two_sites_neither_goes_on_alone_unless_it_is_the_favourite() -> None:
    for favourite, goes_on in ((-1, []), (0, [0]), (1, [1])):
        sites = two(favourite)
        sites.break_link(0, 1)
        for _ in range(50):
            sites.step()
        assert sites.rest() == goes_on


def test_fewer_than_min_sites_do_not_go_on() -> None:
    member = _core.Membership(0, 3, min_sites=3)
    member.lose(2)
    assert member.hear(1, (bits(0, 1, 2), 0, bits(2), bits(0, 1, 2)))
    assert member.decide(0)
    assert member.hear(1, (bits(0, 1, 2), bits(2), bits(2), bits(0, 1, 2)))
    assert member.settle() == "too_few"


def test_what_a_census_said_is_not_taken_back_and_nonsense_is_refused() -> None:
    member = _core.Membership(0, 3)
    everybody = bits(0, 1, 2)
    assert member.hear(1, (everybody, 0, bits(2), everybody))
    for nonsense in (
        (everybody, 0, 0, everybody),  # takes back
        (bits(0, 1), 0, bits(2), everybody),  # who is not in the roster is out
        (everybody, 0, bits(1, 2), everybody),  # has lost itself
        (everybody | bits(3), 0, bits(2), everybody | bits(3)),
        (everybody, bits(7), bits(2), everybody),
        (everybody, 0, bits(2), bits(0, 1)),  # its roster is not within the lawful one
    ):
        assert not member.hear(1, nonsense)


def test_who_says_that_it_is_out_is_given_up_alone_and_what_else_it_says_does_not_count() -> None:
    member = _core.Membership(0, 4)
    everybody = bits(0, 1, 2, 3)
    assert member.hear(3, (everybody, bits(2, 3), bits(2), everybody))
    assert member.decide(0)
    assert member.census == (everybody, bits(3), 0, everybody)
    for other in (1, 2):
        assert member.hear(other, (everybody, bits(3), 0, everybody))
    assert member.settle() == "installed"
    assert member.roster == [0, 1, 2]


def test_of_a_pair_that_cannot_talk_the_higher_rank_goes_and_the_favourite_stays() -> None:
    for favourite, roster in ((-1, [0, 1]), (2, [0, 2])):
        member = _core.Membership(0, 3, favourite=favourite, patience=PATIENCE)
        assert member.hear(1, (bits(0, 1, 2), 0, bits(2), bits(0, 1, 2)))
        assert not member.decide(0)
        assert member.deadline == PATIENCE
        assert member.decide(PATIENCE)
        assert member.census[1] == bits({0, 1, 2}.difference(roster).pop())
