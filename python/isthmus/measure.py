"""measure: what the links between the sites carry, found out by carrying something over them.

All sites take part, in step, and come to the same Links. First links are few at a time: TCP's
congestion control then learns that a link can do more than its share of the uplink, and keeps that
in mind as long as it is never asked for all of it (docs/decisions/0012). Then everybody sends to
everybody, as an all-reduce does, faster than the uplinks carry. Only what arrives is counted:
acknowledgements come in bursts, bytes do not come faster than the link.
"""

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.company import Company
from isthmus.errors import PeerLost
from isthmus.links import Links, Paces, paces
from isthmus.memory import fresh

# Rounds of pairs go in so many groups: a link in a group has about twice its share of the uplink.
_GROUPS = 2
# Of a site in one operation. Near links fill at once, far and fast ones hold much on its way.
_FIRST_BYTES, _MOST_NEAR_BYTES, _MOST_FAR_BYTES = 2 << 20, 16 << 20, 512 << 20
_NEAR_SECONDS = 0.001
# An operation that lasts so long, and so many round trips, shows the rate: as it is so much more
# than the last, slow start, which doubles every round trip, would be through with it earlier. The
# first one begins with a few packets.
_LONG_ENOUGH, _ROUND_TRIPS, _GROWTH, _ROUND_TRIPS_TO_FIRST = 0.5, 5.0, 4, 8
# All together are given so much more than was seen, and carry what so much more does in that time.
# A site that got so much of its pace through may have more yet.
_COARSE, _COARSE_CARRIED, _COARSE_FILLED = 3.0, 2.0, 0.75
_FINE, _FINE_FILLED = 1.15, 0.95
_TRIES = 4
# As much again is as good as the same; so much more is faster.
_CONFIRMED, _FASTER = 0.9, 1.1
# An end all of whose links send more than that again is asked for more than it carries.
_OFTEN, _ROOM = 0.005, 0.98
# The slowest site may take so much longer than the fastest.
_UNEVEN = 4.0
# Links of a group that had this much of their part of the uplink are not known to be narrow.
_NARROW = 0.7
# Of the bytes of a link, those that its rate is taken from.
_FROM, _TO = 0.2, 0.9
_LOOK_EVERY, _LOOKS_TOLD = 0.01, 60
# Of a transfer, when all links are in use: from a part of that time on, until one link's bytes are
# nearly through.
_STARTED, _ALL_BUSY = 0.35, 0.97


@dataclass(frozen=True)
class Box:
    """What one site had from another, as if it had come at one rate from begin to end.

    The first part is TCP's start and the last one the wait for what was lost. What a lost segment
    holds up comes at once later, and counts over all that is between.
    """

    begin: float
    end: float
    rate: float

    @staticmethod
    def of(curve: NDArray[np.float64], seconds: float) -> "Box":
        times = np.linspace(0, seconds, len(curve))
        begin, end = np.interp([_FROM * curve[-1], _TO * curve[-1]], curve, times)
        rate = (_TO - _FROM) * curve[-1] / max(end - begin, _LOOK_EVERY)
        return Box(float(begin), float(end), float(rate))


def together(boxes: Sequence[Box]) -> float:
    """The most that came at any moment."""
    return max(
        sum(other.rate for other in boxes if other.begin <= box.begin <= other.end) for box in boxes
    )


@dataclass(frozen=True)
class Rates:
    """Bytes a second: pair as [from][to], and of each site from and to all others together."""

    pair: NDArray[np.float64]
    uplink: NDArray[np.float64]
    downlink: NDArray[np.float64]

    @staticmethod
    def none(world: int) -> "Rates":
        return Rates(np.zeros((world, world)), np.zeros(world), np.zeros(world))

    @staticmethod
    def of(
        arrived: NDArray[np.float64], seconds: float, relayed: Sequence[tuple[int, int, int]] = ()
    ) -> "Rates":
        """arrived: bytes so far as [look][to][from], in so many seconds at even steps. What goes by
        way of a third site has come in there and left again."""
        boxes = [[Box.of(curve, seconds) for curve in row.T] for row in np.moveaxis(arrived, 0, 1)]
        columns = [list(column) for column in zip(*boxes, strict=True)]
        pair = np.array([[box.rate for box in column] for column in columns])
        rows = [list(row) for row in boxes]
        for a, b, by in relayed:
            passed_on = [boxes[b][a], boxes[a][b]]
            columns[by] += passed_on
            rows[by] += passed_on
        return Rates(
            pair,
            np.array([together(column) for column in columns]),
            np.array([together(row) for row in rows]),
        )

    def or_faster(self, other: "Rates") -> "Rates":
        return Rates(
            np.maximum(self.pair, other.pair),
            np.maximum(self.uplink, other.uplink),
            np.maximum(self.downlink, other.downlink),
        )

    def unless_much_less(self, other: "Rates") -> "Rates":
        """Rates of sites that the other could nearly confirm; else the other's."""

        def kept(mine: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(others < _CONFIRMED * mine, others, mine)

        return Rates(
            self.pair, kept(self.uplink, other.uplink), kept(self.downlink, other.downlink)
        )


@dataclass(frozen=True)
class Transfers:
    """What went between the sites in some seconds: bytes so far as [look][to][from], as they
    arrived in order and as they were acknowledged in any; and of the segments what part was sent
    again, as [from][to]."""

    seconds: float
    arrived: NDArray[np.float64]
    delivered: NDArray[np.float64]
    again: NDArray[np.float64]

    def rates(self, relayed: Sequence[tuple[int, int, int]] = ()) -> Rates:
        return Rates.of(self.arrived, self.seconds, relayed)

    def uplinks(self) -> NDArray[np.float64]:
        """What each carried while all its links were in use. A packet that is lost holds up what
        arrives in order, not what is acknowledged; that in turn comes in bursts."""
        return self._busy(2)

    def downlinks(self) -> NDArray[np.float64]:
        """The same."""
        return self._busy(1)

    def _busy(self, end: int) -> NDArray[np.float64]:
        times = np.linspace(0, self.seconds, len(self.delivered))

        def rate(curves: NDArray[np.float64]) -> float:
            used = [curve for curve in curves.T if curve[-1] > 0]
            if not used:
                return 0.0
            till = min(float(np.interp(_ALL_BUSY * curve[-1], curve, times)) for curve in used)
            since = _STARTED * till
            between = [np.interp([since, till], times, curve) for curve in used]
            return float(sum(b - a for a, b in between)) / max(till - since, _LOOK_EVERY)

        return np.array([rate(np.take(self.delivered, i, end)) for i in range(len(self.again))])


def without_overload(seen: Rates, runs: Sequence[Transfers]) -> Rates:
    """What ends carry that were asked for too much in most of these runs: the mean of what was
    acknowledged, as single runs scatter, and a little less, as a queue that grows overflows."""
    own = np.eye(len(seen.uplink), dtype=bool)
    often = np.array([own | (run.again > _OFTEN) for run in runs])

    def known(
        found: NDArray[np.float64], carried: Sequence[NDArray[np.float64]], over: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        mean = np.average(carried, axis=0, weights=np.maximum(over, 1e-9))
        return np.where(2 * over.sum(axis=0) > len(runs), _ROOM * mean, found)

    uplinks, downlinks = [run.uplinks() for run in runs], [run.downlinks() for run in runs]
    return Rates(
        seen.pair,
        known(seen.uplink, uplinks, np.array(often.all(axis=2))),
        known(seen.downlink, downlinks, np.array(often.all(axis=1))),
    )


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


def widths(seen: Rates, relayed: Sequence[tuple[int, int, int]] = ()) -> NDArray[np.float64]:
    """What pairs carry as [from][to]: as seen where a pair is known to be narrower than its ends,
    which it shared with the other rounds of its group and with what the ends carried for others;
    else what its ends allow."""
    world = len(seen.uplink)
    ends = np.minimum.outer(seen.uplink, seen.downlink)
    pair = np.zeros((world, world))
    for group in groups(world):
        shared = np.full(world, len(group))
        for a, b, by in relayed:
            shared[by] += 2 * any(partner(a, world, r) == b for r in group)
        for a, r in itertools.product(range(world), group):
            b = partner(a, world, r)
            is_narrow = seen.pair[a, b] < _NARROW * ends[a, b] / max(shared[a], shared[b])
            pair[a, b] = seen.pair[a, b] if is_narrow else ends[a, b]
    return pair


def measure(company: Company, *, terms: bool = True) -> Links:
    """Takes a second or two a phase; all of the company must call it at the same point. terms:
    whether an exchange may bring them, else what comes is added up."""
    return _Measurement(company, terms).links()


class _Measurement:
    def __init__(self, company: Company, terms: bool) -> None:
        self._company = company
        self._native = company.native
        self._terms = terms
        self._sites = company.names
        self._rank = company.place
        self._world = len(self._sites)
        others = self._native.stats()["links"]
        rtts = [others[s]["min_rtt_ms"] / 1e3 if s in others else 0.0 for s in self._sites]
        streams = max(others[s]["streams"] if s in others else 0 for s in self._sites)
        table = self._share([*rtts, streams])
        # A stream that has no part in the first operation would begin slowly in a later one.
        self._first_bytes = _FIRST_BYTES * int(table[:, -1].max())
        table = table[:, :-1]
        self._rtt = np.minimum(table, table.T)  # both ends have measured the same round trip
        self._relayed = company.relayed
        for a, b, by in self._relayed:  # TCP knows no more than the way to the third site
            self._rtt[a, b] = self._rtt[b, a] = self._rtt[a, by] + self._rtt[by, b]
        self._longest = longest = float(self._rtt.max())
        self._most = _MOST_FAR_BYTES if longest > _NEAR_SECONDS else _MOST_NEAR_BYTES
        self._enough = max(_LONG_ENOUGH, _ROUND_TRIPS * longest)

    def links(self) -> Links:
        seen = Rates.none(self._world)
        for group in groups(self._world):
            seen = seen.or_faster(self._grow(group))
        if self._world > 2:
            # First with long queues, which shows uplinks, then with short ones.
            runs: list[Transfers] = []
            seen = self._fill(seen, runs, _COARSE, _COARSE_CARRIED, _COARSE_FILLED)
            seen = self._fill(seen, runs, _FINE, _FINE, _FINE_FILLED)
            # At last as it will be. What cannot be kept up was never there: a link that loses
            # packets seems fast when what was held up comes at once.
            known = paces(self._links(seen), self._rank)
            runs.append(self._everybody(known, self._enough * seen.uplink))
            seen = seen.unless_much_less(runs[-1].rates(self._relayed))
            if not self._relayed:  # TCP knows no more than the way to the third site
                seen = without_overload(seen, runs)
        self._native.set_paces(0.0)
        return self._links(seen)

    def _links(self, seen: Rates) -> Links:
        return Links(
            sites=self._sites,
            uplink=tuple(seen.uplink.tolist()),
            downlink=tuple(seen.downlink.tolist()),
            pair=tuple(map(tuple, widths(seen, self._relayed).tolist())),
            delay=tuple(map(tuple, (self._rtt / 2).tolist())),
            relayed=self._relayed,
        )

    def _grow(self, group: range) -> Rates:
        """Pairs swap ever more, until it takes long enough; two sites, for whom nothing else is
        measured, as much again while that is faster: a congestion window may still have grown."""
        seen, size = Rates.none(self._world), min(self._first_bytes, self._most // len(group))
        enough, repeats = self._enough + _ROUND_TRIPS_TO_FIRST * self._longest, 0
        while size * len(group) <= self._most:
            data = [fresh(size, np.uint8) for _ in group]
            works = [
                self._native.swap(d, round=r, among=self._company.ranks)
                for d, r in zip(data, group, strict=True)
            ]
            transfers = self._watch(works)
            before, seen = seen, seen.or_faster(transfers.rates(self._relayed))
            if transfers.seconds >= enough or repeats:
                repeats += 1
                is_steady = bool((seen.uplink < _FASTER * before.uplink).all())
                if self._world > 2 or repeats > _TRIES or (repeats > 1 and is_steady):
                    break
            else:
                size, enough = size * _GROWTH, self._enough
        return seen

    def _fill(
        self, seen: Rates, runs: list[Transfers], more: float, carried: float, filled: float
    ) -> Rates:
        """Everybody to everybody, ever faster, until no uplink has more to give."""
        for _ in range(_TRIES):
            pace, load = more * seen.uplink, self._enough * carried * seen.uplink
            runs.append(self._everybody(Paces(float(pace[self._rank])), load))
            seen = seen.or_faster(runs[-1].rates(self._relayed))
            if not (seen.uplink > filled * pace).any():
                break
        return seen

    def _everybody(self, pace: Paces, load: NDArray[np.float64]) -> Transfers:
        """All to all, as many bytes as is right for most. With terms nobody adds anything up."""
        self._native.set_paces(pace.all, self._company.by_rank(pace.peers) if pace.peers else ())
        whole = min(float(load.max()), _UNEVEN * float(load.min()))
        size = int(min(max(whole, _FIRST_BYTES), self._most)) // (self._world - 1)
        wire = fresh(size // 4, np.float32)
        segments = [("f32", "f32", wire.size)]
        if self._terms:
            count, stride, _ = self._native.terms(segments, schedule="gather")
            out = fresh(count * stride, np.uint8)
        else:
            out = fresh(wire.size, np.float32)
        work = self._native.exchange(
            wire,
            out,
            segments=segments,
            mean=False,
            weight=1.0,
            schedule="gather",
            layout=0,
            terms=self._terms,
        )
        return self._watch([work])

    def _watch(self, works: Sequence[Any]) -> Transfers:
        """What goes and comes, at every site, until these are done."""
        begin, looks = time.monotonic(), []
        done = False
        while not done:
            done = all(work.done() for work in works)
            looks.append((time.monotonic() - begin, self._native.stats()["links"]))
            if not done:
                time.sleep(_LOOK_EVERY)
        for work in works:
            with contextlib.suppress(PeerLost):  # all hear of it at one point, which follows
                work.wait()
        seconds = float(self._share([looks[-1][0]]).max())
        times = np.linspace(0, seconds, _LOOKS_TOLD + 1)
        at = [at for at, _ in looks]
        first = looks[0][1]

        def curves(what: str) -> NDArray[np.float64]:
            """As [site that looked][other site][look]."""
            mine = [
                np.interp(times, at, [links[s][what] - first[s][what] for _, links in looks])
                if s in first and s in looks[-1][1]
                else np.zeros(len(times))
                for s in self._sites
            ]
            return self._share(np.array(mine).ravel()).reshape(self._world, self._world, -1)

        segments = curves("segments")[:, :, -1]
        return Transfers(
            seconds,
            curves("bytes_received").transpose(2, 0, 1),
            curves("bytes_delivered").transpose(2, 1, 0),
            curves("retransmits")[:, :, -1] / np.maximum(segments, 1),
        )

    def _share(self, numbers: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Every site's numbers, by rank."""
        return np.array(self._company.share(numbers))
