"""The networks of the WAN bench: sites with rates of their own, and pairs with delays and rates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from isthmus.errors import Refused
from isthmus.wan.settings import PairLimits, SiteLimits


@dataclass(frozen=True, kw_only=True)
class Links:
    """One network. `pairs` has the key (a, b) for every a < b; a rate of 0 is unlimited. cut: pairs
    that cannot connect."""

    title: str
    sites: tuple[SiteLimits, ...]
    pairs: Mapping[tuple[int, int], PairLimits]
    cut: tuple[tuple[int, int], ...] = ()

    def pair(self, a: int, b: int) -> PairLimits:
        return self.pairs[min(a, b), max(a, b)]

    @property
    def longest_delay_s(self) -> float:
        """One way, between the two sites that are farthest from each other."""
        return max(pair.rtt_ms for pair in self.pairs.values()) / 2e3

    def with_loss(self, loss: float) -> Links:
        """The same with such a share of all packets lost."""
        if loss == 0:
            return self
        return replace(
            self,
            title=f"{self.title}, {loss * 100:g} % lost",
            pairs={ends: replace(pair, loss=loss) for ends, pair in self.pairs.items()},
        )

    def file(self) -> str:
        """As `isthmus wan --links` takes it."""
        of_sites = {
            str(i): {"up_mbit": site.up_mbit, "down_mbit": site.down_mbit}
            for i, site in enumerate(self.sites)
        }
        of_pairs = {
            f"{a}-{b}": {"rtt_ms": pair.rtt_ms, "rate_mbit": pair.rate_mbit, "loss": pair.loss}
            for (a, b), pair in self.pairs.items()
        }
        return json.dumps(of_sites | of_pairs)


def even(sites: int, rtt_ms: float, site_mbit: float) -> Links:
    """Sites that are all alike."""
    site = SiteLimits(up_mbit=site_mbit, down_mbit=site_mbit)
    every = [(a, b) for a in range(sites) for b in range(a + 1, sites)]
    rate = "" if site_mbit == 1000 else f", {site_mbit:g} Mbit/s"
    return Links(
        title=f"{sites} sites, {rtt_ms:g} ms{rate}",
        sites=(site,) * sites,
        pairs={ends: PairLimits(rtt_ms=rtt_ms) for ends in every},
    )


def thin() -> Links:
    """Four sites, one with a fifth of the others' rate."""
    alike = even(4, 100, 1000)
    last = SiteLimits(up_mbit=200, down_mbit=200)
    return Links(
        title="4 sites, 100 ms, one of 200 Mbit/s",
        sites=(*alike.sites[:3], last),
        pairs=alike.pairs,
    )


def far() -> Links:
    """Three sites, no two pairs alike; the farthest pair is also the thinnest."""
    return Links(
        title="3 sites, 20/80/150 ms, 500/1000/200 Mbit/s a pair",
        sites=even(3, 0, 1000).sites,
        pairs={
            (0, 1): PairLimits(rtt_ms=20, rate_mbit=500),
            (0, 2): PairLimits(rtt_ms=80, rate_mbit=1000),
            (1, 2): PairLimits(rtt_ms=150, rate_mbit=200),
        },
    )


def blocked() -> Links:
    """Four sites, two of which cannot connect to each other."""
    return replace(even(4, 100, 1000), title="4 sites, 100 ms, two cannot connect", cut=((1, 2),))


def parse(text: str, site_mbit: float = 1000) -> Links:
    """A network by its short name: SITES:ROUND_TRIP_MS, "thin", "far" or "blocked"."""
    named = {"thin": thin, "far": far, "blocked": blocked}
    if text in named:
        return named[text]()
    match = re.fullmatch(r"(\d+):(\d+(?:\.\d*)?)", text)
    if not match or not 2 <= int(match[1]) <= 64:
        raise Refused(
            f"the case {text!r} is neither SITES:ROUND_TRIP_MS, as in 4:100, nor "
            f"{' nor '.join(named)}"
        )
    return even(int(match[1]), float(match[2]), site_mbit)
