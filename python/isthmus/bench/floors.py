"""The least time that an all-reduce can take on given links: bytes over rates, and delays.

What is counted: the bytes of the codec's wires, without headers; one-way delays; every link full
from the first moment to the last. Encoding and decoding are taken to cost nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus import _core, codecs
from isthmus.bench.links import Links

SLICE_BYTES = 1 << 20  # an owner can answer only when a slice has come
BYTES_PER_MBIT = 1e6 / 8
Matrix = NDArray[np.float64]
Carried: TypeAlias = Mapping[tuple[int, int], int]


def floor_s(links: Links, elements: int, codec: str) -> float:
    """Of the better of `gather` and `direct`, the latter with the best split among owners; of a
    lossless codec among sites of which some cannot connect, also of a ring of those that can."""
    way = codecs.parse(codec)
    up, down = (_core.wire_size(name, elements) for name in (way.up, way.down))
    delay = links.longest_delay_s
    rate = slowest(links) * BYTES_PER_MBIT
    first = min(SLICE_BYTES, up) / rate if rate else 0.0
    if links.cut:
        ways = [min(split_s(links, up, down, carried) for carried in carriers(links)) + delay]
        if way.up == way.down == "f32" and has_ring(links):
            world = len(links.sites)
            ways.append(2 * (world - 1) / world * up / rate + delay if rate else delay)
        return max(min(ways), 2 * delay + first)
    gather = gather_s(links, up) + delay
    direct = max(split_s(links, up, down) + delay, 2 * delay + first)
    return min(gather, direct)


def carriers(links: Links) -> Iterator[Carried]:
    """Every way to have third sites carry what cut pairs exchange: by pair, who does."""
    world = range(len(links.sites))
    of_pairs = [
        [by for by in world if by not in pair and not cut_among(links, pair, by)]
        for pair in links.cut
    ]
    for choice in itertools.product(*of_pairs):
        yield dict(zip(links.cut, choice, strict=True))


def cut_among(links: Links, pair: tuple[int, int], by: int) -> bool:
    return any((min(end, by), max(end, by)) in links.cut for end in pair)


def has_ring(links: Links) -> bool:
    """Whether all sites can go round in an order in which neighbours can connect."""
    world = len(links.sites)
    return any(
        not any(
            (min(a, b), max(a, b)) in links.cut
            for a, b in zip((0, *order), (*order, 0), strict=True)
        )
        for order in itertools.permutations(range(1, world))
    )


def slowest(links: Links) -> float:
    """The least rate of any site or pair, in Mbit/s; 0 where there is no limit at all."""
    of_sites = [rate for site in links.sites for rate in (site.up_mbit, site.down_mbit)]
    rates = [*of_sites, *(pair.rate_mbit for pair in links.pairs.values())]
    return min((rate for rate in rates if rate), default=0.0)


def gather_s(links: Links, wire_bytes: int) -> float:
    """Bytes over rate if every site sends all of its wire to every other."""
    others = len(links.sites) - 1
    seconds = [
        others * wire_bytes / (rate * BYTES_PER_MBIT)
        for site in links.sites
        for rate in (site.up_mbit, site.down_mbit)
        if rate
    ]
    seconds += [
        wire_bytes / (pair.rate_mbit * BYTES_PER_MBIT)
        for pair in links.pairs.values()
        if pair.rate_mbit
    ]
    return max(seconds, default=0.0)


def split_s(
    links: Links, up_bytes: int, down_bytes: int, carried: Carried = MappingProxyType({})
) -> float:
    """Bytes over rate of `direct` with the owners' shares that make it least.

    With shares s, site i sends (1 - s_i) up + (W - 1) s_i down bytes and receives (W - 1) s_i up +
    (1 - s_i) down; i sends s_j up + s_i down to j. All must pass within T; x = s / T turns that
    into a packing problem: the most x_1 + … + x_W such that what is sent a second fits each rate.
    carried: by pair of sites that cannot connect, the one that passes on what they exchange.
    """
    loads, rates = demands(links, up_bytes, down_bytes, carried)
    if not rates:
        return 0.0
    return 1 / most(np.array(loads) / (np.array(rates)[:, None] * BYTES_PER_MBIT))


def demands(
    links: Links, up_bytes: int, down_bytes: int, carried: Carried
) -> tuple[list[list[float]], list[float]]:
    """Of every site's two directions and every pair's: bytes by owner's share, and the rate."""
    world = len(links.sites)
    sent = np.zeros((world, world))  # by site, then by owner; the same for what comes in
    received = np.zeros((world, world))
    by_pair = np.zeros((world, world, world))

    def hop(source: int, to: int, bytes: Matrix) -> None:
        sent[source] += bytes
        received[to] += bytes
        by_pair[source, to] += bytes

    for i, j in itertools.permutations(range(world), 2):
        owners = np.arange(world)
        bytes = up_bytes * (owners == j) + down_bytes * (owners == i).astype(np.float64)
        by = carried.get((min(i, j), max(i, j)))
        for source, to in [(i, j)] if by is None else [(i, by), (by, j)]:
            hop(source, to, bytes)

    limits = [(site.up_mbit, sent[i]) for i, site in enumerate(links.sites)]
    limits += [(site.down_mbit, received[i]) for i, site in enumerate(links.sites)]
    limits += [
        (links.pair(i, j).rate_mbit, by_pair[i, j])
        for i, j in itertools.permutations(range(world), 2)
    ]
    kept = [(rate, load) for rate, load in limits if rate and load.any()]
    return [list(load) for _, load in kept], [rate for rate, _ in kept]


def most(loads: Matrix) -> float:
    """The greatest sum of x, all x >= 0, with loads @ x <= 1; no load is negative, and every x has
    one. Dantzig's simplex method; Bland's rule, so that it cannot go in circles."""
    rows, columns = loads.shape
    table = np.hstack([loads, np.eye(rows), np.ones((rows, 1))])
    gain = np.concatenate([np.ones(columns), np.zeros(rows + 1)])
    scale = loads.max()
    while True:
        rising = np.flatnonzero(gain[:-1] > 1e-12)
        if not rising.size:
            return float(-gain[-1])
        column = rising[0]
        entries = table[:, column]
        room = np.full(rows, np.inf)
        useful = entries > 1e-12 * scale
        room[useful] = table[useful, -1] / entries[useful]
        row = int(room.argmin())
        table[row] /= table[row, column]
        for other in range(rows):
            if other != row:
                table[other] -= table[other, column] * table[row]
        gain -= gain[column] * table[row]
