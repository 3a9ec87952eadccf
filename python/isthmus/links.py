"""links: what the network between the sites carries, as it was measured, and what that promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from isthmus import _core
from isthmus.codecs import Codec, parse
from isthmus.errors import Refused

# Of what a link carries, 1448 of 1514 bytes a packet are data.
PAYLOAD_SHARE = 0.95


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an all-reduce runs, and the seconds that the network takes for it.

    shares: what each site adds up for all, by rank, together 1. order: ranks, as a ring goes round
    them; empty for other schedules. slice_elements: what travels in one frame.
    """

    schedule: str
    shares: tuple[float, ...]
    order: tuple[int, ...]
    slice_elements: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Links:
    """Between the sites of a session, by rank; the same at every site.

    uplink, downlink: bytes a second, of one site to and from all others together. pair: bytes a
    second as [from][to]. delay: seconds one way, as [from][to]. relayed: pairs that cannot connect
    to each other, and by way of whom they exchange data; what their links' numbers then are follows
    from those of the two hops.
    """

    sites: tuple[str, ...]
    uplink: tuple[float, ...]
    downlink: tuple[float, ...]
    pair: tuple[tuple[float, ...], ...]
    delay: tuple[tuple[float, ...], ...]
    relayed: tuple[tuple[int, int, int], ...] = ()

    def native(self) -> _core.Paths:
        """Refused if the numbers are none that a network can have."""
        world = len(self.sites)
        if any(len(rows) != world for rows in (self.uplink, self.downlink, self.pair, self.delay)):
            raise Refused(f"links of {world} sites need a row for each of them")
        return _core.Paths(
            uplink=self.uplink,
            downlink=self.downlink,
            pair=self.pair,
            delay=self.delay,
            relayed=self.relayed,
        )

    def among(self, sites: Sequence[str]) -> "Links | None":
        """Between these sites, by their ranks, as far as it is known: a pair that was measured
        keeps its numbers. A site that was not there gets the median ends of those that were, their
        longest delay, and pairs as wide as both ends. None: fewer than two were there."""
        names = tuple(sites)
        if names == self.sites:
            return self
        old = {site: self.sites.index(site) for site in names if site in self.sites}
        if len(old) < 2:
            return None
        here = list(old.values())
        farthest = max(self.delay[a][b] for a in here for b in here if a != b)

        def ends(known: Sequence[float]) -> tuple[float, ...]:
            middle = median(known[rank] for rank in here)
            return tuple(known[old[site]] if site in old else middle for site in names)

        uplink, downlink = ends(self.uplink), ends(self.downlink)

        def row(
            a: int, known: Sequence[Sequence[float]], new: Sequence[float]
        ) -> tuple[float, ...]:
            pairs = [(names[a], site) for site in names]
            return tuple(
                known[old[x]][old[y]] if x in old and y in old else new[b]
                for b, (x, y) in enumerate(pairs)
            )

        ranks = range(len(names))
        return Links(
            sites=names,
            uplink=uplink,
            downlink=downlink,
            pair=tuple(row(a, self.pair, [min(uplink[a], d) for d in downlink]) for a in ranks),
            delay=tuple(
                row(a, self.delay, [0.0 if a == b else farthest for b in ranks]) for a in ranks
            ),
        )

    def plan(self, elements: int, codec: str | Codec = "f32", *, schedule: str = "auto") -> Plan:
        """For float32 arrays of so many elements; encoding and adding are not in the seconds."""
        way = parse(codec)
        return self.plan_segments([(way.up, way.down, elements)], schedule=schedule)

    def plan_segments(
        self, segments: Sequence[tuple[str, str, int]], *, schedule: str = "auto"
    ) -> Plan:
        """The same for an exchange of several codecs: (up, down, elements) of each."""
        chosen = self.native().choose(segments, schedule=schedule)
        world = len(self.sites)
        whole = sum(chosen["shares"])
        by_rank = range(world) if chosen["schedule"] == "ring" else ()
        return Plan(
            schedule=chosen["schedule"],
            shares=tuple(s / whole for s in chosen["shares"]) or (1 / world,) * world,
            order=tuple(chosen["order"] or by_rank),
            slice_elements=chosen["slice_elements"],
            seconds=chosen["seconds"] or 0.0,
        )


# Links faster or shorter than these need nobody to hold data back.
_PACED_BELOW, _PACED_FROM = 1.2e9, 0.001


# When all send, a site gets more than its downlink carries if it would get so much more of it.
_CROWDED = 1.2


@dataclass(frozen=True)
class Paces:
    """Bytes a second that a site should send: all its links together, and to each peer, by rank;
    0: as fast as it can, and empty: to every peer."""

    all: float
    peers: tuple[float, ...] = ()


def paces(links: Links, rank: int) -> Paces:
    """How fast a site should send.

    Several TCP connections that share an uplink begin with more than it carries, and what is too
    much delays their acknowledgements (docs/decisions/0008-pacing-a-site.md). The same goes for
    narrow pairs and for downlinks that others share.
    """
    others = [peer for peer in range(len(links.sites)) if peer != rank]
    near = max(links.delay[rank]) < _PACED_FROM
    if near or links.uplink[rank] > _PACED_BELOW:
        return Paces(0.0)
    return Paces(links.uplink[rank], _to_peers(links, rank, others))


def _to_peers(links: Links, rank: int, others: Sequence[int]) -> tuple[float, ...]:
    """Where a pair carries less than its ends, what it carries; of a downlink that is too narrow
    for what comes when all send to all, a part like everybody's."""
    peers = [0.0] * len(links.sites)

    def share(source: int, to: int) -> float:
        return min(links.uplink[source] / len(others), links.pair[source][to])

    for to in others:
        coming = sum(share(source, to) for source in range(len(links.sites)) if source != to)
        if coming > _CROWDED * links.downlink[to]:
            peers[to] = share(rank, to) / coming * links.downlink[to]
        elif links.pair[rank][to] < min(links.uplink[rank], links.downlink[to]):
            peers[to] = links.pair[rank][to]
    return tuple(peers) if any(peers) else ()


def even_links(
    sites: Sequence[str], *, mbit: float, rtt_s: float, world_mbit: Sequence[float] | None = None
) -> Links:
    """Links that are told instead of measured: every site's uplink and downlink the same, or one
    number each (world_mbit), and nothing between them that is narrower."""
    names = tuple(sites)
    rates = tuple(PAYLOAD_SHARE * m * 1e6 / 8 for m in world_mbit or [mbit] * len(names))
    return Links(
        sites=names,
        uplink=rates,
        downlink=rates,
        pair=tuple(tuple(min(a, b) for b in rates) for a in rates),
        delay=((rtt_s / 2,) * len(names),) * len(names),
    )
