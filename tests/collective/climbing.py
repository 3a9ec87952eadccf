"""Other ways to cut an all-reduce than a plan's, tried by chance."""

import random
from collections.abc import Callable, Sequence


def assert_no_better(
    ours: Sequence[float],
    seconds: Callable[[Sequence[float]], float],
    draw: random.Random,
    *,
    tries: int,
) -> None:
    """A hill climber, from our shares and from an even split, finds none that are much faster."""
    world, shares = len(ours), list(ours)
    taken = least = seconds(ours)
    for _ in range(tries):
        other = list(shares if draw.random() < 0.5 else [1 / world] * world)
        a, b = draw.sample(range(world), 2)
        moved = draw.uniform(0, other[a])
        other[a] -= moved
        other[b] += moved
        others = seconds(other)
        assert taken <= others * 1.06, "even unless others save a twentieth"
        if others < least:
            shares, least = other, others
