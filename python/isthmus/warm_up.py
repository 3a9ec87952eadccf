"""warm_up: new connections learn what their links carry, before anybody waits for them.

TCP begins with a few packets a round trip. After that it goes by what it has seen, and a link that
is only ever asked for a bucket at a time shows no more than a bucket in a round trip. When a run
begins, measuring the links teaches them better. The sites of a later epoch know the links already:
they give each other so many bytes that congestion control has seen each carry its part. Nothing
paces them: it has to see all that the link carries, and it is over after a few round trips
(docs/decisions/0012-measured-links.md).
"""

import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from isthmus import _core
from isthmus.errors import Cancelled, PeerLost, Timeout, WireError
from isthmus.links import Links
from isthmus.memory import fresh

# Bytes of so many round trips, at each link's part of its site's uplink. Slow start uses up the
# first; and no link may take longer than so many of the longest.
_ROUND_TRIPS, _MOST_ROUND_TRIPS = 2.0, 4.0
_MOST_BYTES = 16 << 20  # from a site to each other one
_LOOK_AGAIN_S = 0.25
_word = struct.Struct("<Q")


def enough(links: Links) -> int:
    """Bytes from each site to each other one, in whole elements. All give as many: as the site
    needs whose links hold the least, and no more than the thinnest link carries in a moment."""
    others = len(links.sites) - 1
    pairs = [(a, b) for a in range(others + 1) for b in range(others + 1) if a != b]
    if not pairs:
        return 0
    share = {
        (a, b): min(links.uplink[a] / others, links.downlink[b] / others, links.pair[a][b])
        for a, b in pairs
    }
    rtt = {(a, b): links.delay[a][b] + links.delay[b][a] for a, b in pairs}
    held = [0.0] * (others + 1)  # by the widest link of each site
    for a, b in pairs:
        held[a] = max(held[a], share[a, b] * rtt[a, b])
    soon = _MOST_ROUND_TRIPS * max(rtt.values()) * min(share.values())
    return int(min(_ROUND_TRIPS * min(held), soon, _MOST_BYTES)) // 4 * 4


def warm_up(
    native: _core.Session, links: Links | None, *, is_wanted: Callable[[], bool] = lambda: True
) -> None:
    """The first thing that all sites of a later epoch do in it, once they have joined. links:
    between them, as far as this site knows. Raises the session's errors; PeerLost also where the
    others are enough to go on, as the epoch will be given up; Cancelled when it is not wanted."""
    mine = 0 if links is None else enough(links)
    told = native.all_gather(_word.pack(mine))
    _finish(native, told, is_wanted)
    words = zip(native.sites, told.gathered(), strict=True)
    size = max(_read(word, site) for site, word in words if word)
    if size == 0:
        return
    data = fresh(size // 4, np.float32)
    work = native.exchange(
        data,
        data,
        segments=[("f32", "f32", data.size)],
        mean=False,
        weight=1.0,
        schedule="gather",
        layout=0,
    )
    _finish(native, work, is_wanted)


def _read(word: bytes, site: str) -> int:
    if len(word) != _word.size or (size := _word.unpack(word)[0]) > _MOST_BYTES or size % 4:
        raise WireError(f"site {site!r} warms links up by {word!r}: its isthmus is another", site)
    return int(size)


def _finish(native: _core.Session, work: _core.Work, is_wanted: Callable[[], bool]) -> None:
    """Not in one native call, as a program may end meanwhile."""
    while not work.done() and native.whole:
        if not is_wanted():
            raise Cancelled("the session was closed")
        with suppress(Timeout):
            work.wait(_LOOK_AGAIN_S)
    if work.done():
        work.wait()
    if not native.whole:
        raise PeerLost("a site was lost while links were warmed up")
