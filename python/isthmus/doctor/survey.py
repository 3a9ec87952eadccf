"""One site's part in the examination: what it does, and when, together with the others.

The session brings the sites together and keeps them in step; all data flows over connections of
our own, so that a stream can be measured alone.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from isthmus import config
from isthmus.config import Address
from isthmus.doctor import pair, pairing, records, sockets, tcp_info, transfer, wire
from isthmus.doctor.measurements import (
    Flow,
    Kernel,
    Probe,
    Reach,
    SiteReport,
    Standing,
    Survey,
)
from isthmus.doctor.sockets import Door
from isthmus.doctor.wire import Greeting, ProbeError, Purpose
from isthmus.errors import Refused
from isthmus.session import Session

Record = TypeVar("Record")
Tell = Callable[[str], None]

reach_s = 2.0
together_s = 4.0


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """Where a site takes probes, and a token of which the first site's counts."""

    doctor: int
    host: str
    port: int
    token: str


@dataclass(frozen=True, kw_only=True)
class Reaches:
    reaches: tuple[Reach, ...]


def examine(
    session: Session, settings: config.JoinSettings, *, probe_port: int | None, tell: Tell
) -> Survey:
    """Measure, and hear what all others measured. All sites must call it.

    Refused: a single site, or a probe port that cannot be had. The session's errors: a site is
    gone.
    """
    if session.world_size < 2:
        raise Refused("a single site has no links to examine: set ISTHMUS_SITES to 2 or more")
    host = announced_host(settings)
    listener = listen(settings, probe_port)
    with listener:
        mine = Announcement(
            doctor=wire.version,
            host=host,
            port=int(listener.getsockname()[1]),
            token=secrets.token_hex(wire.token_bytes),
        )
        announced = gather(session, mine)
        check_versions(session, announced)
        with opened_door(listener, session, settings, announced[0].token) as examination:
            examination.addresses = [Address(site.host, site.port) for site in announced]
            return examination.run(tell)


def gather(session: Session, mine: Record) -> list[Record]:
    """Everybody's record, by rank."""
    told = session.all_gather(records.to_bytes(mine))
    pairs = zip(session.sites, told, strict=True)
    return [records.from_bytes(type(mine), data, site=site) for site, data in pairs]


def announced_host(settings: config.JoinSettings) -> str:
    """Where peers dial this site: by the rules of `join`."""
    if settings.advertise is not None:
        return settings.advertise.host
    if not sockets.is_unbound(settings.listen.host):
        return settings.listen.host
    return sockets.facing(settings.rendezvous)


def listen(settings: config.JoinSettings, probe_port: int | None) -> socket.socket:
    """At the port asked for, else the one next to the session's, else any."""
    next_port = settings.listen.port + 1
    ports = [next_port, 0] if 1 < next_port < 65536 else [0]
    try:
        return sockets.open_listener(
            settings.listen.host, ports if probe_port is None else [probe_port]
        )
    except OSError as error:
        raise Refused(
            f"cannot listen at {settings.listen.host}, port {probe_port}: {error.strerror or error}"
            "; choose a free port with --probe-port"
        ) from None


def check_versions(session: Session, announced: Sequence[Announcement]) -> None:
    digits = set("0123456789abcdef")
    for site, told in zip(session.sites, announced, strict=True):
        if told.doctor != wire.version:
            raise Refused(
                f"site {site!r} runs another version of the doctor ({told.doctor}, ours is "
                f"{wire.version}): install the same isthmus at all sites",
                site,
            )
        hexadecimal = len(told.token) == 2 * wire.token_bytes and not set(told.token) - digits
        if not hexadecimal or not 0 < told.port < 65536:
            raise Refused(f"site {site!r} announced no usable probe port or token", site)


@contextmanager
def opened_door(
    listener: socket.socket, session: Session, settings: config.JoinSettings, token: str
) -> Iterator[Examination]:
    secret = bytes.fromhex(token)
    door = Door(listener, token=secret, rank=session.rank, congestion=settings.congestion)
    try:
        yield Examination(session, settings, door, secret)
    finally:
        door.close()


class Examination:
    """This site's measurements, as they come in."""

    def __init__(
        self,
        session: Session,
        settings: config.JoinSettings,
        door: Door,
        token: bytes,
    ) -> None:
        self.session = session
        self.settings = settings
        self.door = door
        self.token = token
        self.addresses: list[Address] = []
        self.busy = 0.0

    def run(self, tell: Tell) -> Survey:
        session = self.session
        tell("who can reach whom")
        reaches = self.reach_all()
        diallers = self.agree(reaches)
        games = pairing.rounds(session.world_size)
        probes: dict[int, Probe] = {}
        for number, games_now in enumerate(games, 1):
            session.barrier()
            peer = pairing.opponent(games_now, session.rank)
            doing = "rests" if peer is None else f"measures with {session.sites[peer]}"
            tell(f"round {number} of {len(games)}: {session.site} {doing}")
            if peer is not None:
                probes[peer] = self.turn(peer, diallers[order(peer, session.rank)])
        tell("all sites at once")
        together = self.together(diallers)
        report = SiteReport(
            site=session.site,
            loopback=config.is_private(self.addresses[session.rank].host),
            busy=self.busy,
            kernel=self.kernel(),
            reaches=reaches,
            standings=self.standings(),
            probes=tuple(
                replace(probe, together=together.get(peer))
                for peer, probe in sorted(probes.items())
            ),
        )
        told = zip(session.sites, gather(session, report), strict=True)
        return Survey(reports=tuple(replace(each, site=site) for site, each in told))

    def others(self) -> list[int]:
        return [rank for rank in range(self.session.world_size) if rank != self.session.rank]

    def reach_all(self) -> tuple[Reach, ...]:
        deadline = time.monotonic() + reach_s

        def reach(rank: int) -> Reach:
            address = self.addresses[rank]
            failure = ""
            try:
                sockets.dial(
                    address,
                    Greeting(purpose=Purpose.reach, rank=self.session.rank),
                    congestion=self.settings.congestion,
                    deadline=deadline,
                    token=self.token,
                    rank=rank,
                ).close()
            except ProbeError as error:
                failure = str(error)
            return Reach(peer=self.session.sites[rank], address=str(address), failure=failure)

        with ThreadPoolExecutor(len(self.others())) as pool:
            return tuple(pool.map(reach, self.others()))

    def agree(self, reaches: tuple[Reach, ...]) -> Mapping[pairing.Pair, int | None]:
        """Who dials of each pair: the same answer at every site."""
        sites = self.session.sites
        told = gather(self.session, Reaches(reaches=reaches))
        world = range(len(sites))
        # Whatever a site does not tell of, it has not reached.
        reached = {(who, whom): False for who in world for whom in world}
        reached |= {
            (rank, sites.index(reach.peer)): not reach.failure
            for rank, row in enumerate(told)
            for reach in row.reaches
            if reach.peer in sites
        }
        pairs = [(low, high) for low in world for high in world if low < high]
        return {each: pairing.dialler(each, reached) for each in pairs}

    def turn(self, peer: int, dialler: int | None) -> Probe:
        name = self.session.sites[peer]
        if dialler is None:
            return Probe(peer=name, failure="neither can reach the other's probe port")
        deadline = time.monotonic() + pair.pair_s
        try:
            found = self.connect(Purpose.pair, peer, dialler, pair.streams, deadline)
        except ProbeError as error:
            return Probe(peer=name, failure=str(error))
        leads = dialler == self.session.rank
        outcome = pair.measure(name, found, leads=leads, deadline=deadline)
        self.busy = max(self.busy, outcome.busy)
        return outcome.probe

    def connect(
        self, purpose: Purpose, peer: int, dialler: int, streams: int, deadline: float
    ) -> list[socket.socket]:
        if dialler != self.session.rank:
            return self.door.take(purpose, peer, streams=streams, deadline=deadline)
        return sockets.dial_all(
            self.addresses[peer],
            purpose,
            own_rank=self.session.rank,
            rank=peer,
            streams=streams,
            congestion=self.settings.congestion,
            deadline=deadline,
            token=self.token,
        )

    def together(self, diallers: Mapping[pairing.Pair, int | None]) -> dict[int, Flow]:
        """Every site to every other, over enough streams to fill its uplink."""
        session = self.session
        deadline = time.monotonic() + reach_s
        streams = {standing.peer: standing.streams for standing in self.standings()}
        # Between two sites one stream's window may be the limit; between more, streams that share
        # an uplink only get in each other's way (csrc/mesh/mesh.cpp).
        fair = pair.many_streams if session.world_size == 2 else 1

        def connect(peer: int) -> list[socket.socket]:
            dialler = diallers[order(peer, session.rank)]
            count = max(fair, streams.get(session.sites[peer], 1))
            try:
                if dialler is not None:
                    return self.connect(Purpose.together, peer, dialler, count, deadline)
            except ProbeError:
                pass  # a link that fails here has failed in its pair's turn, or the session ends
            return []

        with ThreadPoolExecutor(len(self.others())) as pool:
            found = list(pool.map(connect, self.others()))
        groups = {peer: group for peer, group in zip(self.others(), found, strict=True) if group}
        session.barrier()
        try:
            result = transfer.exchange(list(groups.values()), seconds=together_s)
            session.barrier()
        finally:
            sockets.drop(stream for group in found for stream in group)
        self.busy = max(self.busy, result.busy)
        flows = zip(groups, result.flows, strict=True)
        return {peer: flow for peer, flow in flows if flow is not None}

    def standings(self) -> tuple[Standing, ...]:
        links = self.session.stats()["links"]
        return tuple(
            Standing(
                peer=str(peer),
                round_trip_s=float(link["min_rtt_ms"] or link["rtt_ms"]) / 1e3,
                retransmits=int(link["retransmits"]),
                streams=int(link["streams"]),
            )
            for peer, link in links.items()
        )

    def kernel(self) -> Kernel:
        host = self.addresses[self.session.rank].host
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as stream:
            wanted, local = self.settings.congestion, config.is_private(host)
            sockets.tune(stream, congestion=wanted, local=local)
            return tcp_info.kernel(stream, wanted_congestion=wanted)


def order(a: int, b: int) -> pairing.Pair:
    return min(a, b), max(a, b)
