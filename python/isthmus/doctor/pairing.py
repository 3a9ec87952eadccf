"""Who measures with whom, and when: a tournament in which every site has one game at a time.

Pairs of one round have no site in common, so they measure at once and do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

# The lower rank first.
Pair: TypeAlias = tuple[int, int]


def rounds(world: int) -> list[list[Pair]]:
    """Every pair of `world` ranks once, in as few rounds as there can be.

    The circle method: rank 0 stays, the others move on by one seat a round, and who sit opposite
    each other play. With an odd number of ranks an empty seat takes part, and its opponent rests.
    """
    seats: list[int | None] = [*range(world), *([None] if world % 2 else [])]
    played = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        opposite = zip(seats[:half], reversed(seats[half:]), strict=True)
        played.append(
            [(min(a, b), max(a, b)) for a, b in opposite if a is not None and b is not None]
        )
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return played


def opponent(games: Sequence[Pair], rank: int) -> int | None:
    """Whom `rank` measures with in a round; None: it rests."""
    for low, high in games:
        if rank in (low, high):
            return high if rank == low else low
    return None


def dialler(pair: Pair, reached: Mapping[tuple[int, int], bool]) -> int | None:
    """Who of a pair opens its connections, by who could reach whom; None: neither can.

    The higher rank where both can, as in training.
    """
    low, high = pair
    if reached[high, low]:
        return high
    return low if reached[low, high] else None
