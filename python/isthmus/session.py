"""session: one site's membership in a run.

`join` gives a Session to the site's gateway (rank 0 of the site's torch job) and a Follower to its
other ranks, so that the same two lines work at every rank.
"""

import atexit
import itertools
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core, config
from isthmus.arrays import byte_view, float32_view
from isthmus.codecs import Codec, parse
from isthmus.errors import IsthmusError, Refused
from isthmus.events import Events
from isthmus.follower import Follower as Follower
from isthmus.links import Links
from isthmus.seat import Seat, open_native
from isthmus.stats import SessionStats
from isthmus.terms import Terms
from isthmus.work import Work as Work

_schedules = ("auto", "direct", "gather", "ring")
_log = logging.getLogger("isthmus")


class Session:
    """Made by `join`. All sites must start the same operations in the same order."""

    def __init__(self, settings: config.JoinSettings) -> None:
        config.warn_if_exposed(settings)
        self._settings = settings
        self._process = os.getpid()
        self._closed = False
        self.seat = Seat(open_native(settings), settings)
        self.is_newcomer = self.epoch > 0
        """Whether the others train already, and this site has not been handed their state yet."""
        self.events = Events()
        self.events.follow(self._native, settings.site)
        self.dither_key = int.from_bytes(os.urandom(8), "little")
        self.draws = itertools.count()
        _open_sessions.add(self)
        if settings.measure and settings.rails == 1 and not self.is_newcomer:  # rails: later
            try:
                self.measure()
            except BaseException:
                self.close()
                raise

    @property
    def site(self) -> str:
        return self._settings.site

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites by rank; sorted, so that sums have the same order in every run."""
        return self.seat.sites

    @property
    def rank(self) -> int:
        return self.seat.rank

    @property
    def world_size(self) -> int:
        return len(self.seat.sites)

    @property
    def epoch(self) -> int:
        """0; one more, or several, each time that sites have come in."""
        return self.seat.epoch

    @property
    def generation(self) -> int:
        return self._native.generation

    @property
    def relayed(self) -> Mapping[tuple[str, str], str]:
        """Pairs of sites that cannot connect to each other, and by way of whom they do."""
        return self.seat.relayed

    @property
    def links(self) -> Links | None:
        """What the network between the sites carries; None: it was neither measured nor told."""
        return self.seat.links

    def measure(self) -> Links:
        """Measure the links, and go by them from the next operation on: schedule, owners' shares,
        slices, and how fast this site sends. Takes some seconds. All sites that are left must call
        it at the same point; `join` has done so, unless told not to. Of a lost site the result has
        what Links.among says. Raises Refused if nobody else is left; PeerLost, at all, if a site
        is lost meanwhile: with on_loss="continue" they may go on, and measure again."""
        self._check_usable()
        self.seat.measure()
        assert self.seat.links is not None
        return self.seat.links

    def set_links(self, links: Links | None) -> None:
        """Go by these links from the next operation on; None: by the bytes alone, and sending as
        fast as TCP does. All sites must say the same at the same point. By way of whom pairs go
        is what this session has found, whatever the links say."""
        self._check_usable()
        if links is not None and links.sites != self.seat.sites:
            raise Refused(f"links of {links.sites}, but the session has {self.seat.sites}")
        self.seat.go_by(links)

    @property
    def measures(self) -> bool:
        """Whether the links are to be measured before anything else: by `join`, or with rails by
        `register`."""
        return self._settings.measure

    @property
    def rails(self) -> int:
        """How many ranks of each site are gateways, each with a session like this one."""
        return self._settings.rails

    @property
    def timeout(self) -> float:
        """Seconds that one operation may take."""
        return self._settings.timeout

    def all_reduce(
        self,
        x: Any,
        *,
        codec: str | Codec = "f32",
        op: str = "mean",
        weight: float = 1.0,
        schedule: str = "auto",
    ) -> Work:
        """Begin to replace `x` by the sites' weighted mean (or sum), in place.

        x: float32 NumPy array or CPU tensor, C-contiguous, of the same size at all sites; leave it
        alone until the work is done. codec: the same at all sites; nothing is fed back. weight:
        this site's, above or equal to 0; the mean is sum(w*x) / sum(w). Afterwards all sites hold
        the same bits.
        """
        self._check_usable()
        out = float32_view(x, "all_reduce")
        way = parse(codec)
        wire: NDArray[Any] = out
        if way.up != "f32":
            dither = self._draw() if way.stochastic else None
            wire = _core.encode(way.up, out, dither=dither)
        return self.exchange(
            wire,
            out,
            segments=[(way.up, way.down, out.size)],
            op=op,
            weight=weight,
            schedule=schedule,
            layout=0,
            result=x,
        )

    def exchange(
        self,
        wire: NDArray[np.uint8] | NDArray[np.float32],
        out: NDArray[np.float32] | NDArray[np.uint8],
        *,
        segments: Sequence[tuple[str, str, int]],
        op: str,
        weight: float,
        schedule: str,
        layout: int,
        terms: bool = False,
        result: Any = None,
    ) -> Work:
        """all_reduce for who has encoded already: `wire` in, float32 `out` written when done.

        segments: (codec up, codec down, elements) of each, their wires at _core.segment_offsets.
        terms: `out` is the bytes of self.terms(segments, schedule), and work.term_sum says how the
        result is made of them; each site may choose for itself.
        """
        self._check_usable()
        if self.is_newcomer:  # and whose program has no Run would end the others' hand-over
            raise Refused(
                f"site {self.site!r} came into a run that goes on: train in an isthmus.Run"
            )
        if op not in ("mean", "sum"):
            raise Refused(f'op is {op!r}; expected "mean" or "sum"')
        if not (0 <= weight < float("inf")):
            raise Refused(f"weight is {weight!r}; expected a number, 0 or above")
        if schedule not in _schedules:
            raise Refused(f"schedule is {schedule!r}; expected one of {', '.join(_schedules)}")
        native = self._native.exchange(
            wire,
            out,
            segments=segments,
            mean=op == "mean",
            weight=float(weight),
            schedule=schedule,
            layout=layout,
            terms=terms,
        )
        return self._work(native, out if result is None else result, (wire, out))

    def terms(self, segments: Sequence[tuple[str, str, int]], schedule: str = "auto") -> Terms:
        """What an exchange of such segments brings to a site that takes the terms."""
        self._check_usable()
        return Terms(*self._native.terms(segments, schedule=schedule))

    def broadcast(self, x: Any, root: int = 0) -> None:
        """Every site's `x` (array or CPU tensor, any dtype) becomes that of site `root`."""
        self._check_usable()
        if not 0 <= root < self.world_size:
            raise Refused(f"root is {root}; expected a rank from 0 to {self.world_size - 1}")
        memory = byte_view(x, "broadcast")
        self._native.broadcast(memory, root=root).wait()

    def all_gather(self, data: bytes) -> list[bytes]:
        """Every site's bytes, by rank; at most 1 MiB a site, and sizes may differ."""
        self._check_usable()
        if not isinstance(data, bytes):
            raise Refused(f"all_gather takes bytes, not {type(data).__name__}")
        native = self._native.all_gather(data)
        native.wait()
        return native.gathered()

    def change_over(self, native: _core.Session) -> Seat:
        """Go on in the next epoch. Returns the seat in this one: close it when all have left it.

        REQUIRES: nothing is in flight. Of the links stays known what can (Links.among)."""
        self._check_usable()
        left, self.seat = self.seat, Seat(native, self._settings)
        self.events.follow(native, self.site)
        if left.links is not None:
            self.set_links(left.links.among(self.sites))
        return left

    def barrier(self) -> None:
        """Return when every site has called it."""
        self.all_gather(b"")

    def stats(self) -> SessionStats:
        """Since joining: a dictionary that prints as a table; docs/stats.md explains it."""
        self._check_process()
        return SessionStats(self._native.stats(), self.site, self.events)

    def abort(self, why: IsthmusError) -> None:
        """End the session at every site: operations in flight and later ones raise `why` there.

        A site that is itself the reason just leaves, and so does one that was cancelled: the others
        have a better reason, or notice.
        """
        self._check_process()
        if why.code == "cancelled" or why.peer == self.site:
            return self.close()
        peer = self.seat.sites.index(why.peer) if why.peer in self.seat.sites else -1
        self._native.abort(code=why.code, text=str(why), peer=peer)

    def close(self) -> None:
        """Leave the run. Operations in flight end with Cancelled. Closing twice is fine."""
        self._check_process()
        self._closed = True
        _open_sessions.discard(self)
        self.seat.close()
        self.events.join()

    @property
    def settings(self) -> config.JoinSettings:
        """What it joined with."""
        return self._settings

    @property
    def _native(self) -> _core.Session:
        return self.seat.native

    def _draw(self) -> tuple[int, int, int, int]:
        """A place in the random numbers where no gradient bucket draws (stages/encode.py)."""
        return (self.dither_key, next(self.draws) % 2**32, 0, 2**32 - 1)

    def _work(self, native: _core.Work, result: Any, keep: object) -> Work:
        return Work(
            native,
            sites=self.seat.sites,
            completions=self.seat.completions,
            result=result,
            keep=keep,
        )

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise Refused(f"the session of site {self.site!r} is closed: join() again")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise Refused(
                f"the session of site {self.site!r} belongs to process {self._process}, and this "
                f"is its fork {os.getpid()}: connections do not survive one; join() in the child"
            )

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<isthmus.Session {self.site!r}, rank {self.rank} of {self.world_size}{state}>"


def join(
    rendezvous: str | None = None,
    site: str | None = None,
    sites: int | None = None,
    *,
    run: str | None = None,
    serve: bool | None = None,
    listen: str | None = None,
    advertise: str | None = None,
    streams: int | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    uplink_mbit: float | None = None,
    congestion: str | None = None,
    relay: bool | None = None,
    measure: bool | None = None,
    codec_threads: int | None = None,
    rails: int | None = None,
    on_loss: str | config.OnLoss | None = None,
) -> Session | Follower:
    """Join the run and wait for all its sites; at ranks other than the site's rank 0, a Follower.

    rendezvous: the coordinator's "host:port". site: its name, unique in the run. sites: how many
    take part. run: the run's name ("default"). serve: this site runs the coordinator, at
    `rendezvous`. listen: where it takes connections (any port). advertise: what others dial, if
    another. streams: TCP streams per peer. timeout: seconds for joining, and for an operation (60).
    heartbeat: seconds of silence until a peer is lost (5). measure: begin by measuring the links,
    and choose by that; the same at all sites; not on the loopback unless asked for. uplink_mbit:
    what this site's uplink carries, if you know better. congestion: TCP's congestion control
    ("bbr"); a kernel that lacks it keeps its own. relay: a third site may pass on data of two that
    cannot connect, and this one does for others (True). codec_threads: threads that decode, add and
    encode beside the session's own. rails: gateways (1), the same at every rank of every site; rank
    r listens at `listen`'s port + r (docs/rails.md). on_loss: raise, continue, wait.

    What is None comes from ISTHMUS_RENDEZVOUS, ISTHMUS_SITE and so on. Raises Refused, Timeout (it
    names the sites that came), PeerLost or WireError.
    """
    rank, count = config.rank_in_site(), config.rails_of_site(rails)
    if rank >= count:
        return Follower(count)
    settings = config.join_settings(
        rendezvous=rendezvous,
        site=site,
        sites=sites,
        run=run,
        serve=serve,
        listen=listen,
        advertise=advertise,
        streams=streams,
        timeout=timeout,
        heartbeat=heartbeat,
        uplink_mbit=uplink_mbit,
        congestion=congestion,
        relay=relay,
        measure=measure,
        codec_threads=codec_threads,
        rails=count,
        on_loss=on_loss,
    )
    return member(settings, rank)


def member(settings: config.JoinSettings, rank: int) -> Session | Follower:
    """What these settings make of a rank of the site."""
    if rank >= settings.rails:
        return Follower(settings.rails)
    own = config.on_rail(settings, rank)
    return Session(own) if rank == 0 else Follower(settings.rails, own)


_open_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()


def _close_open_sessions() -> None:
    for session in list(_open_sessions):
        if session._process == os.getpid():
            try:
                session.close()
            except IsthmusError:
                _log.exception("while closing %r at exit", session)


atexit.register(_close_open_sessions)
