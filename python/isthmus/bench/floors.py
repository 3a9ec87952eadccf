"""The least time that an all-reduce can take on given links: bytes over rates, and delays.

What is counted: the bytes of the codec's wires, without headers; one-way delays; every link full
from the first moment to the last. Encoding and decoding are taken to cost nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import _core, codecs
from isthmus.bench.links import Links

SLICE_BYTES = 1 << 20  # an owner can answer only when a slice has come
BYTES_PER_MBIT = 1e6 / 8
Matrix = NDArray[np.float64]


def floor_s(links: Links, elements: int, codec: str) -> float:
    """Of the better of `gather` and `direct`, the latter with the best split among owners."""
    way = codecs.parse(codec)
    up, down = (_core.wire_size(name, elements) for name in (way.up, way.down))
    delay = links.longest_delay_s
    rate = slowest(links) * BYTES_PER_MBIT
    first = min(SLICE_BYTES, up) / rate if rate else 0.0
    gather = gather_s(links, up) + delay
    direct = max(split_s(links, up, down) + delay, 2 * delay + first)
    return min(gather, direct)


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


def split_s(links: Links, up_bytes: int, down_bytes: int) -> float:
    """Bytes over rate of `direct` with the owners' shares that make it least.

    With shares s, site i sends (1 - s_i) up + (W - 1) s_i down bytes and receives (W - 1) s_i up +
    (1 - s_i) down; i sends s_j up + s_i down to j. All must pass within T; x = s / T turns that
    into a packing problem: the most x_1 + … + x_W such that what is sent a second fits each rate.
    """
    loads, rates = demands(links, up_bytes, down_bytes)
    if not rates:
        return 0.0
    return 1 / most(np.array(loads) / (np.array(rates)[:, None] * BYTES_PER_MBIT))


def demands(links: Links, up_bytes: int, down_bytes: int) -> tuple[list[list[float]], list[float]]:
    """Of every site's two directions and every pair's: bytes by owner's share, and the rate."""
    world = len(links.sites)
    loads: list[list[float]] = []
    rates: list[float] = []

    def demand(rate: float, load: list[float]) -> None:
        if rate:
            loads.append(load)
            rates.append(rate)

    for i, site in enumerate(links.sites):
        own = [float(j == i) for j in range(world)]
        sent = [up_bytes * (1 - o) + (world - 1) * down_bytes * o for o in own]
        received = [(world - 1) * up_bytes * o + down_bytes * (1 - o) for o in own]
        demand(site.up_mbit, sent)
        demand(site.down_mbit, received)
        for j in range(world):
            if j != i:
                carried = [up_bytes * (k == j) + down_bytes * (k == i) for k in range(world)]
                demand(links.pair(i, j).rate_mbit, [float(c) for c in carried])
    return loads, rates


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
