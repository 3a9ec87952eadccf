"""Surveys that nobody measured, for the pure parts of the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isthmus.doctor.measurements import (
    Echo,
    Flow,
    Kernel,
    Probe,
    Reach,
    Receiving,
    Sending,
    SiteReport,
    Standing,
    Survey,
)

MBIT = 1e6 / 8
KERNEL = Kernel(
    congestion="bbr",
    wanted_congestion="bbr",
    available_congestion=("reno", "cubic", "bbr"),
    send_buffer_bytes=4 << 20,
    receive_buffer_bytes=32 << 20,
    slow_start_after_idle=True,
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One direction of a made-up pair. Rates in Mbit/s; one: of one stream, many: of eight."""

    one: float = 190.0
    many: float = 195.0
    together: float = 97.0
    rtt_s: float = 0.080
    calm_lost: int = 0
    many_lost: int = 0
    loaded_rtt_s: float = 0.120  # with one stream or many: a queue stands
    growth: float = 1.0  # of the last quarter over the third one
    receive_window_s: float = 0.0
    mtu: int = 1500
    mss: int = 1448
    clock_s: float = 0.0  # the target's clock minus the origin's


def sending(line: Line, rate: float, *, lost: int, rtt_s: float) -> Sending:
    return Sending(
        rate=rate * MBIT,
        third_quarter_rate=rate * MBIT,
        last_quarter_rate=rate * MBIT * line.growth,
        segments=10_000,
        retransmitted=lost,
        busy_s=1.0,
        send_buffer_s=0.0,
        receive_window_s=line.receive_window_s,
        round_trip_s=rtt_s,
        segment_bytes=line.mss,
        path_mtu=line.mtu,
    )


def receiving(line: Line, rate: float) -> Receiving:
    return Receiving(
        rate=rate * MBIT,
        third_quarter_rate=rate * MBIT,
        last_quarter_rate=rate * MBIT * line.growth,
    )


def flow(out: Line, back: Line, test: str) -> Flow:
    rates = {"one": out.one, "many": out.many, "calm": out.many / 2, "together": out.together}
    came = {"one": back.one, "many": back.many, "calm": back.many / 2, "together": back.together}
    lost = {"calm": out.calm_lost, "many": out.many_lost}.get(test, 0)
    rtt_s = out.rtt_s if test == "calm" else out.loaded_rtt_s
    return Flow(
        streams=8 if test in ("many", "calm") else 1,
        sending=sending(out, rates[test], lost=lost, rtt_s=rtt_s),
        receiving=receiving(back, came[test]),
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """Sites a, b, …; all lines alike, but for `lines[origin, target]`."""

    sites: str = "abc"
    line: Line = field(default_factory=Line)
    lines: Mapping[tuple[str, str], Line] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    unreachable: frozenset[tuple[str, str]] = frozenset()  # (who, whom)
    busy: Mapping[str, float] = field(default_factory=dict)
    loopback: bool = False

    def of(self, origin: str, target: str) -> Line:
        return self.lines.get((origin, target), self.line)

    def probe(self, site: str, peer: str) -> Probe:
        if {(site, peer), (peer, site)} <= self.unreachable:
            return Probe(peer=peer, failure="neither can reach the other's probe port")
        out, back = self.of(site, peer), self.of(peer, site)
        echo = Echo(
            round_trip_s=out.rtt_s, usual_round_trip_s=out.rtt_s, clock_offset_s=out.clock_s
        )
        return Probe(
            peer=peer,
            echo=echo if site > peer else None,  # the higher rank dials, and asks
            one=flow(out, back, "one"),
            many=flow(out, back, "many"),
            calm=flow(out, back, "calm"),
            together=flow(out, back, "together"),
        )

    def report(self, site: str) -> SiteReport:
        peers = [peer for peer in self.sites if peer != site]
        return SiteReport(
            site=site,
            loopback=self.loopback,
            busy=self.busy.get(site, 0.1),
            kernel=self.kernels.get(site, KERNEL),
            reaches=tuple(self.reach(site, peer) for peer in peers),
            standings=tuple(
                Standing(peer=peer, round_trip_s=0.081, retransmits=0, streams=1) for peer in peers
            ),
            probes=tuple(self.probe(site, peer) for peer in peers),
        )

    def reach(self, site: str, peer: str) -> Reach:
        failure = "no answer" if (site, peer) in self.unreachable else ""
        return Reach(peer=peer, address=f"10.0.0.{ord(peer)}:29602", failure=failure)

    def survey(self) -> Survey:
        return Survey(reports=tuple(self.report(site) for site in self.sites))


def both_ways(a: str, b: str, line: Line) -> dict[tuple[str, str], Line]:
    return {(a, b): line, (b, a): replace(line, clock_s=-line.clock_s)}
