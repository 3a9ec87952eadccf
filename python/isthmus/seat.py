"""seat: a session's place in one epoch: the native session, and all that goes with it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from isthmus import _core, config
from isthmus.arrays import byte_view
from isthmus.errors import PeerLost
from isthmus.links import PAYLOAD_SHARE, Links, Paces, paces
from isthmus.relays import relayed_pairs
from isthmus.streams import Streams
from isthmus.warm_up import warm_up
from isthmus.work import Completions

_log = logging.getLogger("isthmus")


def open_native(
    settings: config.JoinSettings,
    *,
    epoch: int = 0,
    called: Sequence[str] = (),
    predecessor: _core.Session | None = None,
) -> _core.Session:
    """Join as these settings say; returns when all sites stand ready, and a newcomer's links are
    warm; or, of an epoch to which sites are called, at once: ask joined().

    A site that is lost while all join is no reason for the others to end: they meet anew. That
    begins within the timeout, and has all of it again, as it is the timeout of operations, too."""
    end = time.monotonic() + settings.timeout
    while True:
        try:
            return _open(settings, epoch=epoch, called=called, predecessor=predecessor)
        except PeerLost as error:
            if called or time.monotonic() >= end:
                raise
            _log.warning("site %r joins once more: %s", settings.site, error)


def _open(
    settings: config.JoinSettings,
    *,
    epoch: int,
    called: Sequence[str],
    predecessor: _core.Session | None,
) -> _core.Session:
    sites = len(called) or settings.sites
    native = _core.Session(
        rendezvous=str(settings.rendezvous),
        site=settings.site,
        sites=sites,
        run=settings.run,
        serve=settings.serve,
        listen=str(settings.listen),
        advertise=str(settings.advertise or ""),
        streams=settings.streams,
        timeout=settings.timeout,
        heartbeat=settings.heartbeat,
        congestion=settings.congestion,
        relay=settings.relay,
        codec_threads=settings.codec_threads,
        on_loss=settings.on_loss.then,
        min_sites=min(settings.on_loss.min_sites, sites) if called else settings.on_loss.min_sites,
        favourite=settings.on_loss.favourite,
        epoch=epoch,
        called=called,
        predecessor=predecessor,
    )
    if not called and native.epoch > 0:  # a newcomer, which knows nothing of the links
        try:
            warm_up(native, None)
        except BaseException:
            native.close()
            raise
    return native


class Seat:
    """Taken when the sites of an epoch have joined, left at a step boundary."""

    def __init__(self, native: _core.Session, settings: config.JoinSettings) -> None:
        self.native = native
        self.epoch = native.epoch
        self.sites = tuple(native.sites)
        self.rank = native.rank
        self.relayed = relayed_pairs(native, self.sites)
        self.links: Links | None = None
        fixed = settings.streams > 0 or settings.rails > 1  # rails must end measuring together
        terms = settings.on_loss.then == "raise"  # else the core keeps none
        self.streams = Streams(native, self.sites, self.rank, fixed=fixed, terms=terms)
        self._told = PAYLOAD_SHARE * settings.uplink_mbit * 1e6 / 8
        native.set_paces(self._told)
        self.completions = Completions(native)

    def go_by(self, links: Links | None) -> None:
        """From the next operation on; by way of whom pairs go is what was found in joining."""
        if links is not None:
            links = replace(links, relayed=tuple(self.native.relayed))
        self.native.set_paths(None if links is None else links.native())
        found = Paces(0.0) if links is None else paces(links, self.rank)
        self.native.set_paces(self._told or found.all, found.peers)
        self.links = links

    def measure(self) -> None:
        """Measure the links between the sites that are left, and go by them from the next operation
        on. Where that fails, what was known stays."""
        known = self.links
        try:
            known = self.streams.measure().among(self.sites)
        finally:
            self.go_by(known)
            if self.streams.are_the_limit and self._told == 0:
                self.native.set_paces(0.0)  # what was found is not what the uplink carries

    def hand(self, x: Any, *, size: int, donor: int, takers: Sequence[int]) -> _core.Work:
        """Begin to give the donor's `size` bytes (array or CPU tensor) to the takers. All sites
        call it, the others with x=None."""
        memory = None if x is None else byte_view(x, "hand")
        return self.native.hand(memory, bytes=size, root=donor, takers=list(takers))

    def close(self) -> None:
        """Operations in flight end with Cancelled."""
        self.native.close()
        self.completions.join()
