"""What the doctor measures, as plain values: one SiteReport of every site, and a Survey of all.

Rates are bytes of payload per second, times are seconds. Reports travel between the sites as JSON;
`records.py` reads them back and checks every value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A site's limits of TCP. `congestion`: what its streams to other machines really use."""

    congestion: str
    wanted_congestion: str
    available_congestion: tuple[str, ...]
    send_buffer_bytes: int  # what a stream got: at most net.core.wmem_max
    receive_buffer_bytes: int  # what the kernel lets a receive buffer grow to: net.ipv4.tcp_rmem
    slow_start_after_idle: bool


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What the sender's kernel says of a test, all its streams together.

    The rates: what the peer acknowledged, also behind a hole, in the best third, in the third
    quarter and in the last one. Of the last third: segments, and three times per stream on
    average: having data to send; of that, waiting for the own send buffer, and for the peer's
    receive buffer.
    """

    rate: float
    third_quarter_rate: float
    last_quarter_rate: float
    segments: int
    retransmitted: int
    busy_s: float
    send_buffer_s: float
    receive_window_s: float
    round_trip_s: float  # smoothed, under this load
    segment_bytes: int
    path_mtu: int


@dataclass(frozen=True, kw_only=True)
class Receiving:
    """Bytes in order, by the receiver's kernel: in the same parts of a test."""

    rate: float
    third_quarter_rate: float
    last_quarter_rate: float


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One end's part of a test with one peer: what it sent and, at the same time, received."""

    streams: int
    sending: Sending
    receiving: Receiving


@dataclass(frozen=True, kw_only=True)
class Echo:
    """Small messages there and back, on an idle path. Clock: the peer's minus ours."""

    round_trip_s: float
    usual_round_trip_s: float  # the median
    clock_offset_s: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One pair as one of its ends saw it. `failure`: why something is missing, else empty."""

    peer: str
    echo: Echo | None = None
    one: Flow | None = None
    many: Flow | None = None
    calm: Flow | None = None  # the many, held to half of what they carried: no queue of ours
    together: Flow | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Whether this site could open a connection to the peer's probe port; if not, why not."""

    peer: str
    address: str
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the session's own link to a peer knows, without any probe."""

    peer: str
    round_trip_s: float
    retransmits: int
    streams: int


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    site: str
    loopback: bool  # its probes are dialled at a loopback address
    busy: float  # processors that the probe kept busy in the all-together test, or in a pair's
    kernel: Kernel
    reaches: tuple[Reach, ...]
    standings: tuple[Standing, ...]
    probes: tuple[Probe, ...]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One direction of one test: what its origin sent and its target received.

    alone: nothing went the other way.
    """

    streams: int
    sending: Sending
    receiving: Receiving
    alone: bool = False

    @property
    def rate(self) -> float:
        """The best third counts, since TCP sends less while it recovers from having found out what
        the path carries. The sender knows what arrived, also behind a hole; but where a full way
        back holds acknowledgements up, many come at once, and the lesser of both ends counts."""
        return self.sending.rate if self.alone else min(self.sending.rate, self.receiving.rate)

    @property
    def steady_rate(self) -> float:
        """Of the second half: what may be added to what other links carried at the same time."""
        return min(
            (end.third_quarter_rate + end.last_quarter_rate) / 2
            for end in (self.sending, self.receiving)
        )

    @property
    def rising(self) -> bool:
        """Whether the test ended before TCP had found out what the path carries."""
        return all(
            end.last_quarter_rate > 1.15 * end.third_quarter_rate
            for end in (self.sending, self.receiving)
        )

    @property
    def loss(self) -> float:
        """Share of segments that were sent again."""
        return self.sending.retransmitted / max(1, self.sending.segments)


def way(ours: Flow | None, theirs: Flow | None, *, alone: bool = False) -> Way | None:
    """Of what we sent and they received."""
    if ours is None or theirs is None:
        return None
    return Way(streams=ours.streams, sending=ours.sending, receiving=theirs.receiving, alone=alone)


@dataclass(frozen=True, kw_only=True)
class Link:
    """From one site to another. `round_trip_s` and `clock_offset_s` are None where nothing knows
    them."""

    origin: str
    target: str
    round_trip_s: float | None = None
    clock_offset_s: float | None = None  # the target's clock minus the origin's
    one: Way | None = None
    many: Way | None = None
    calm: Way | None = None
    together: Way | None = None
    failure: str = ""

    @property
    def best(self) -> Way | None:
        """The test in which it carried most."""
        ways = [way for way in (self.one, self.many, self.together) if way is not None]
        return max(ways, key=lambda way: way.rate, default=None)

    @property
    def rate(self) -> float | None:
        """The most that it carried."""
        return None if self.best is None else self.best.rate

    def __str__(self) -> str:
        return f"{self.origin} → {self.target}"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The reports of all sites, by rank."""

    reports: tuple[SiteReport, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(report.site for report in self.reports)

    def report(self, site: str) -> SiteReport:
        return next(report for report in self.reports if report.site == site)

    def links(self) -> Iterator[Link]:
        """Every ordered pair, by origin."""
        for origin in self.sites:
            for target in self.sites:
                if target != origin:
                    yield self.link(origin, target)

    def link(self, origin: str, target: str) -> Link:
        ours, theirs = self.probe(origin, target), self.probe(target, origin)
        failures = [probe.failure for probe in (ours, theirs) if probe.failure]
        trip, offset = self.round_trip(origin, target)
        return Link(
            origin=origin,
            target=target,
            round_trip_s=trip,
            clock_offset_s=offset,
            one=way(ours.one, theirs.one),
            many=way(ours.many, theirs.many, alone=True),
            calm=way(ours.calm, theirs.calm),
            together=way(ours.together, theirs.together),
            failure=failures[0] if failures else "",
        )

    def probe(self, site: str, peer: str) -> Probe:
        found = (probe for probe in self.report(site).probes if probe.peer == peer)
        return next(found, Probe(peer=peer, failure="not measured"))

    def links_from(self, site: str) -> list[Link]:
        return [self.link(site, other) for other in self.sites if other != site]

    def links_to(self, site: str) -> list[Link]:
        return [self.link(other, site) for other in self.sites if other != site]

    def round_trip(self, origin: str, target: str) -> tuple[float | None, float | None]:
        """Round trip and clock offset, by whichever end has asked; else what the session knows."""
        if (echo := self.probe(origin, target).echo) is not None:
            return echo.round_trip_s, echo.clock_offset_s
        if (echo := self.probe(target, origin).echo) is not None:
            return echo.round_trip_s, -echo.clock_offset_s
        for site, peer in ((origin, target), (target, origin)):
            for standing in self.report(site).standings:
                if standing.peer == peer and standing.round_trip_s > 0:
                    return standing.round_trip_s, None
        return None, None

    def uplink(self, site: str) -> float | None:
        """The most that a site was seen to send at once, to one peer or to all."""
        return most(self.links_from(site))

    def downlink(self, site: str) -> float | None:
        """The most that a site was seen to receive at once."""
        return most(self.links_to(site))


def most(links: list[Link]) -> float | None:
    """By one of them alone, or by all at once."""
    rates = [link.rate for link in links if link.rate is not None]
    return max([*rates, together_rate(links)]) if rates else None


def together_rate(links: list[Link]) -> float:
    """What these links carried in all while every site sent to every other."""
    return sum(link.together.steady_rate for link in links if link.together is not None)
