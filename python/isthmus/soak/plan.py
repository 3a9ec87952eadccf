"""plan: which fault happens when; the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from isthmus import chaos
from isthmus.chaos import Fault
from isthmus.errors import Refused
from isthmus.soak.settings import KEEPER, SITES

# How often each, of all together.
WEIGHTS: Mapping[str, int] = {
    "kill": 3,  # a site
    "coordinator": 1,  # killed, and started again at once
    "freeze": 2,  # .3 to 4 s: a part of them outlasts the heartbeat
    "cut": 1,  # a site from all others, 1 to 6 s
    "cut pair": 1,  # two sites, 1 to 6 s
    "slow": 2,  # a site, 2 to 4 times, for 3 to 8 s
    "corrupt": 2,  # one byte from a site to another
}
ON_LOOPBACK = ("kill", "coordinator", "freeze")

# What ends a process never meets this one, so that one process lives through all epochs: what
# accumulates with them is seen there. Faults of the network around it do.
SPARED = SITES[0]


def draw(
    seed: int, *, seconds: float, every: float, kinds: Sequence[str] = tuple(WEIGHTS)
) -> list[Fault]:
    """One fault every so many seconds, the first after half of that."""
    unknown = [kind for kind in kinds if kind not in WEIGHTS]
    if unknown or not kinds:
        raise Refused(f"no fault {', '.join(unknown)}; expected some of {', '.join(WEIGHTS)}")
    rng = random.Random(seed)
    weights = [WEIGHTS[kind] for kind in kinds]
    count = max(1, int(seconds // every))
    drawn = [_fault(rng, rng.choices(kinds, weights)[0]) for _ in range(count)]
    return [fault.at(seconds=(i + 0.5) * every) for i, fault in enumerate(drawn)]


def _fault(rng: random.Random, kind: str) -> Fault:
    victim = rng.choice([site for site in SITES if site != SPARED])
    other = rng.choice([site for site in SITES if site != victim])
    if kind == "coordinator":
        return chaos.kill(KEEPER)
    if kind == "freeze":
        return chaos.freeze(victim).for_seconds(round(rng.uniform(0.3, 4), 1))
    if kind == "cut":
        return chaos.cut(victim).for_seconds(round(rng.uniform(1, 6), 1))
    if kind == "cut pair":
        return chaos.cut(victim, other).for_seconds(round(rng.uniform(1, 6), 1))
    if kind == "slow":
        slowed = chaos.slow(rng.choice(SITES), rng.choice((2, 3, 4)))
        return slowed.for_seconds(round(rng.uniform(3, 8), 1))
    return chaos.corrupt(victim, other) if kind == "corrupt" else chaos.kill(victim)
