"""streams: how many TCP streams a link has, found out by measuring it again with more.

A link may be held back by its streams where what it carried filled their windows, or is no more
than a congestion control gets that takes every loss for a full queue. Such a link gets four times
its streams, and everything is measured again. What did not make the sites faster is given back
(docs/decisions/0013-streams-that-follow-the-path.md).
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from isthmus import _core
from isthmus.company import Company
from isthmus.errors import IsthmusError, Refused
from isthmus.links import Links
from isthmus.measure import measure

most_streams = 16
_MORE = 4
_FULL = 0.8
# Mathis, Semke, Mahdavi, Ott: The macroscopic behavior of the TCP congestion avoidance algorithm.
# That is Reno's share; cubic gets twice as much, and as much again before its first loss. BBR's
# does not depend on loss.
_MATHIS, _AND_MORE = 1.22, 4.0
_FASTER = 1.1
_STAND_WITHIN = 3.0

Counts: TypeAlias = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Path:
    """What a link was seen to do, one way. window_bytes, congestion_bytes: the most that buffers
    and congestion control let all its streams have on their way; 0: not known. loss: of the
    segments sent, those sent again."""

    bytes_per_s: float
    rtt: float
    streams: int
    window_bytes: float
    congestion_bytes: float
    segment_bytes: int
    loss: float

    def is_held(self) -> bool:
        """Whether its streams may be what keeps it from carrying more."""
        if self.rtt <= 0:
            return False
        if self._fills(self.window_bytes) or self.may_grow():
            return True
        if self.loss <= 0:
            return False
        one = _MATHIS * self.segment_bytes / (self.rtt * math.sqrt(self.loss))
        return self.bytes_per_s < _AND_MORE * one * self.streams

    def may_grow(self) -> bool:
        """Whether it filled a congestion window and no queue: it will carry more, if it may."""
        return self._fills(self.congestion_bytes)

    def _fills(self, window: float) -> bool:
        return 0 < _FULL * window < self.bytes_per_s * self.rtt


def more(counts: Counts, held: Sequence[Sequence[bool]], fixed: Sequence[bool]) -> Counts:
    """Streams for the links that one of their ends takes for held back; never fewer than now, and
    as many as now where one of their ends is fixed."""

    def wanted(a: int, b: int) -> int:
        may_grow = (held[a][b] or held[b][a]) and not (fixed[a] or fixed[b])
        return max(counts[a][b], min(_MORE * counts[a][b], most_streams) if may_grow else 0)

    world = range(len(counts))
    return [[wanted(a, b) for b in world] for a in world]


class Streams:
    """Those of a session's links. fixed: this site's stay as they were joined, as its user has said
    how many there are to be. terms: whether an exchange may bring them (not where sites carry on
    after a loss)."""

    def __init__(
        self,
        native: _core.Session,
        sites: Sequence[str],
        rank: int,
        *,
        fixed: bool,
        terms: bool = True,
    ) -> None:
        self._native, self._sites, self._rank, self._fixed = native, tuple(sites), rank, fixed
        self._terms = terms
        self._joined = self._now(self._sites)
        # Whether this site's links could carry more if it were not for their streams.
        self.are_the_limit = False

    def measure(self) -> Links:
        """Measure the links between the sites that are left, as they were joined, and with more
        streams while that is faster.

        What is decided is decided from numbers that all sites have, so that all decide the same.
        All sites must call it at the same point. Refused: no other one is left. PeerLost, at all of
        them: one was lost meanwhile.
        """
        company = Company.of(self._native, self._sites, self._rank)
        if len(company.ranks) < 2:
            raise Refused("no other site is left with which links could be measured")
        before = self._now(company.names)
        try:
            return self._measure(company)
        except BaseException:
            with suppress(IsthmusError):
                self._ask(company, before)
            raise

    def _measure(self, company: Company) -> Links:
        table = company.share([self._fixed, *(self._joined[rank] for rank in company.ranks)])
        world = range(len(table))
        counts = [[int(max(table[a][1 + b], table[b][1 + a])) for b in world] for a in world]
        fixed = [bool(row[0]) for row in table]
        self._set(company, counts)
        links, held, may_grow = self._look(company)
        while (wanted := more(counts, held, fixed)) != counts:
            self._set(company, wanted)
            again, still_held, still_may_grow = self._look(company)
            if sum(again.uplink) < _FASTER * sum(links.uplink):
                self._set(company, counts)
                self.are_the_limit = may_grow
                return links
            counts, links, held, may_grow = wanted, again, still_held, still_may_grow
        self.are_the_limit = any(held[company.place])
        return links

    def _look(self, company: Company) -> tuple[Links, list[list[bool]], bool]:
        """What is measured, which links their sending ends take for held back, and whether a
        congestion window of this site's may still grow."""
        self._native.set_paces(0.0)
        before = self._native.stats()["links"]
        links = measure(company, terms=self._terms)
        after = self._native.stats()["links"]
        paths = [
            path(links, company.place, i, before[s], after[s])
            if s in before and s in after
            else None
            for i, s in enumerate(company.names)
        ]
        mine = [p is not None and p.is_held() for p in paths]
        held = [[bool(held) for held in row] for row in company.share(mine)]
        return links, held, any(p.may_grow() for p in paths if p)

    def _now(self, sites: Sequence[str]) -> list[int]:
        links = self._native.stats()["links"]
        return [int(links[s]["streams"]) if s in links else 0 for s in sites]

    def _set(self, company: Company, counts: Counts) -> None:
        """Returns when the streams stand, or will not: what is missing then is done without."""
        wanted = counts[company.place]
        self._ask(company, wanted)
        until = time.monotonic() + _STAND_WITHIN
        while self._now(company.names) != wanted and time.monotonic() < until:
            time.sleep(0.01)
        company.share([])

    def _ask(self, company: Company, wanted: Sequence[int]) -> None:
        """Of the links that stand."""
        now = self._now(company.names)
        for peer, count, there in zip(company.ranks, wanted, now, strict=True):
            if there > 0 and count not in (0, there):
                self._native.set_streams(peer, count)


def path(links: Links, a: int, b: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> Path:
    """Of the link from a to b, when everybody sends to everybody; before, after: a's statistics."""
    others = len(links.sites) - 1
    segments = after["segments"] - before["segments"]
    return Path(
        bytes_per_s=min(links.pair[a][b], links.uplink[a] / others, links.downlink[b] / others),
        rtt=links.delay[a][b] + links.delay[b][a],
        streams=after["streams"],
        window_bytes=after["window_bytes"],
        congestion_bytes=after["congestion_bytes"],
        segment_bytes=after["segment_bytes"],
        loss=(after["retransmits"] - before["retransmits"]) / max(segments, 1),
    )
