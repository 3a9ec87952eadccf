"""measure: what the links between the sites carry, found out by carrying something over them.

All sites take part, in step, and come to the same Links. First each pair is alone, or with few
others: TCP's congestion control then learns that a link can do more than its share of the uplink,
and keeps that in mind as long as it is never asked for all of it (docs/decisions/0012). Then
everybody sends to everybody, as an all-reduce does, ever faster, until an uplink is full.
"""

import itertools
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus import _core
from isthmus.links import Links

# Rounds of pairs go in so many groups at most. Links that are in a group of one round are alone.
_GROUPS = 4
# Of a site in one operation. Near links fill at once, far and fast ones hold much on its way.
_FIRST_BYTES, _MOST_NEAR_BYTES, _MOST_FAR_BYTES = 512 << 10, 16 << 20, 256 << 20
_NEAR_SECONDS = 0.001
# An operation lasts so long, and so many round trips, if the last one's rate was the true one.
_LONG_ENOUGH, _ROUND_TRIPS = 0.6, 6.0
# Pairs carry so much more from one time to the next, as long as that is so much faster, until it
# takes so long, or so many round trips: TCP's slow start.
_GROWTH, _FASTER = 8.0, 1.2
_PAIR_SECONDS, _PAIR_ROUND_TRIPS = 0.5, 5.0
# A site that sends so much of its pace may have more; then so much more is tried, so often.
_FILLED, _MORE, _TRIES = 0.85, 1.5, 8
# The slowest site may take so much longer than the fastest.
_UNEVEN = 4.0
# A rate is the most over a window, which evens out the bursts of acknowledgements.
_WINDOW, _WINDOW_ROUND_TRIPS = 0.2, 3.0
_LOOK_EVERY = 0.005
# Faster than anything that we measure: between sites that nothing else holds back.
_UNLIMITED = 1e13


@dataclass
class Series:
    """A counter of bytes, looked at now and then."""

    at: list[float] = field(default_factory=list)
    count: list[int] = field(default_factory=list)

    def look(self, at: float, count: int) -> None:
        self.at.append(at)
        self.count.append(count)

    def rate(self, window: float) -> float:
        """The most bytes a second over a window; over all of it where that is shorter."""
        best, begin = 0.0, 0
        for end in range(1, len(self.at)):
            while begin + 1 < end and self.at[end] - self.at[begin + 1] >= window:
                begin += 1
            seconds = self.at[end] - self.at[begin]
            if seconds >= window or end == len(self.at) - 1:
                best = max(best, (self.count[end] - self.count[begin]) / max(seconds, window))
        return best


@dataclass(frozen=True)
class Rates:
    """Bytes a second from and to each site, and all together."""

    sent: tuple[float, ...]
    received: tuple[float, ...]
    all_sent: float
    all_received: float

    def or_faster(self, other: "Rates") -> "Rates":
        def faster(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(map(max, a, b))

        return Rates(
            faster(self.sent, other.sent),
            faster(self.received, other.received),
            max(self.all_sent, other.all_sent),
            max(self.all_received, other.all_received),
        )

    @staticmethod
    def none(world: int) -> "Rates":
        return Rates((0.0,) * world, (0.0,) * world, 0.0, 0.0)


def rounds(world: int) -> int:
    """In which each site swaps with each other (csrc/collective/swap.cpp)."""
    return world - 1 + world % 2


def partner(rank: int, world: int, round: int) -> int:
    """With whom a rank swaps; itself: with nobody."""
    circle = rounds(world)
    if rank == circle:
        return round // 2 if round % 2 == 0 else (round + circle) // 2
    other = (round - rank) % circle
    if other != rank:
        return other
    return circle if circle < world else rank


def groups(world: int) -> list[range]:
    """All rounds of swaps, in a few groups of rounds that go together."""
    count = min(rounds(world), _GROUPS)
    ends = [rounds(world) * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in itertools.pairwise(ends)]


def measure(native: _core.Session, sites: Sequence[str], rank: int) -> Links:
    """Takes a second or two a phase; every site must call it at the same point."""
    return _Measurement(native, sites, rank).links()


class _Measurement:
    def __init__(self, native: _core.Session, sites: Sequence[str], rank: int) -> None:
        self._native = native
        self._sites = tuple(sites)
        self._rank = rank
        self._world = len(self._sites)
        others = self._native.stats()["links"]
        rtts = [others[s]["min_rtt_ms"] / 1e3 if s in others else 0.0 for s in self._sites]
        table = self._share(rtts)
        # Both ends have measured the same round trip.
        self._rtt = [
            [min(table[a][b], table[b][a]) for b in range(self._world)] for a in range(self._world)
        ]
        self._longest = max(map(max, self._rtt))
        self._most = _MOST_FAR_BYTES if self._longest > _NEAR_SECONDS else _MOST_NEAR_BYTES

    def links(self) -> Links:
        sent, received = [_UNLIMITED] * self._world, [_UNLIMITED] * self._world
        up = down = 0.0
        for group in groups(self._world):
            rates = self._grow(group)
            up, down = max(up, rates.all_sent), max(down, rates.all_received)
            other = partner(self._rank, self._world, group[0])
            if len(group) == 1 and other != self._rank:
                sent[other], received[other] = rates.sent[other], rates.received[other]
        if self._world > 2:
            up = self._fill(up)
            # Once more, as it will be: queues are short, and downlinks show what they can.
            self._native.set_pace(up)
            down = max(down, self._watch([self._everybody(up)]).all_received)
        self._native.set_pace(0.0)
        return self._agree([up, down, *sent, *received])

    def _fill(self, pace: float) -> float:
        """Everybody to everybody, ever faster, until the uplink is full: what it carries."""
        best = pace
        for _ in range(_TRIES):
            self._native.set_pace(pace)
            sent = self._watch([self._everybody(pace)]).all_sent
            best = max(best, sent)
            filled = sent > _FILLED * pace
            if not any(row[0] for row in self._share([filled])):
                break
            if filled:
                pace *= _MORE
        return best

    def _agree(self, row: list[float]) -> Links:
        """What a link carries was seen at both ends."""
        world = self._world
        table = self._share(row)
        return Links(
            sites=self._sites,
            uplink=tuple(row[0] for row in table),
            downlink=tuple(row[1] for row in table),
            pair=tuple(
                tuple(max(table[a][2 + b], table[b][2 + world + a]) for b in range(world))
                for a in range(world)
            ),
            delay=tuple(tuple(rtt / 2 for rtt in row) for row in self._rtt),
        )

    def _share(self, numbers: Sequence[float]) -> list[tuple[float, ...]]:
        """Every site's numbers, by rank."""
        form = f"<{len(numbers)}d"
        work = self._native.all_gather(struct.pack(form, *numbers))
        return [struct.unpack(form, row) for row in work.gathered()]

    def _grow(self, group: range) -> Rates:
        """Pairs swap ever more, until that takes long or is no faster than before."""
        enough = max(_PAIR_SECONDS, _PAIR_ROUND_TRIPS * self._longest)
        size, best, before = _FIRST_BYTES, Rates.none(self._world), [0.0] * self._world
        while True:
            begin = time.monotonic()
            data = [np.zeros(size, np.uint8) for _ in group]
            works = [self._native.swap(d, round=r) for d, r in zip(data, group, strict=True)]
            best = best.or_faster(self._watch(works))
            rows = self._share([time.monotonic() - begin, max(best.all_sent, best.all_received)])
            took, rates = max(row[0] for row in rows), [row[1] for row in rows]
            grew = any(a > _FASTER * b for a, b in zip(rates, before, strict=True))
            if size * len(group) >= self._most or took >= enough or not grew:
                return best
            before = rates
            size = min(self._most // len(group), int(size * min(_GROWTH, 2 * enough / took)))

    def _watch(self, works: Sequence[Any]) -> Rates:
        sent = [Series() for _ in self._sites]
        received = [Series() for _ in self._sites]
        all_sent, all_received = Series(), Series()
        while True:
            done = all(work.done() for work in works)
            now, links = time.monotonic(), self._native.stats()["links"]
            for i, site in enumerate(self._sites):
                if site in links:
                    sent[i].look(now, links[site]["bytes_acked"])
                    received[i].look(now, links[site]["bytes_received"])
            all_sent.look(now, sum(link["bytes_acked"] for link in links.values()))
            all_received.look(now, sum(link["bytes_received"] for link in links.values()))
            if done:
                break
            time.sleep(_LOOK_EVERY)
        for work in works:
            work.wait()
        window = max(_WINDOW, _WINDOW_ROUND_TRIPS * self._longest)
        return Rates(
            sent=tuple(series.rate(window) for series in sent),
            received=tuple(series.rate(window) for series in received),
            all_sent=all_sent.rate(window),
            all_received=all_received.rate(window),
        )

    def _everybody(self, pace: float) -> Any:
        """All to all, long enough for sites of this pace. Terms: nobody adds anything up."""
        enough = max(_LONG_ENOUGH, _ROUND_TRIPS * self._longest)
        paces = [row[0] for row in self._share([pace])]
        whole = enough * min(max(paces), _UNEVEN * min(paces))
        size = int(min(max(whole, _FIRST_BYTES), self._most)) // (self._world - 1)
        wire = np.zeros(size // 4, np.float32)
        segments = [("f32", "f32", wire.size)]
        count, stride, _ = self._native.terms(segments, schedule="gather")
        return self._native.exchange(
            wire,
            np.empty(count * stride, np.uint8),
            segments=segments,
            mean=False,
            weight=1.0,
            schedule="gather",
            layout=0,
            terms=True,
        )
