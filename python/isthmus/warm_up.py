"""warm_up: new connections learn what their links carry, before anybody waits for them.

TCP begins with a few packets a round trip. After that it goes by what it has seen, and a link that
is only ever asked for a bucket at a time shows no more than a bucket in a round trip. When a run
begins, measuring the links teaches them better. The sites of a later epoch know the links already:
they give each other so many bytes that congestion control has seen each carry its part
(docs/decisions/0012-measured-links.md).
"""

import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from isthmus import _core
from isthmus.errors import Cancelled, Timeout, WireError
from isthmus.links import Links

# Each link's part of its site's uplink, for so many round trips; slow start takes about one more.
_ROUND_TRIPS = 2.0
_MOST_BYTES = 16 << 20  # from a site to each other one
_LOOK_AGAIN = 0.25
_word = struct.Struct("<Q")


def enough(links: Links) -> int:
    """Bytes from each site to each other one, in whole elements. All give as many, so the site
    whose links hold the least decides: more would only be waited for."""
    others = len(links.sites) - 1
    ranks = range(len(links.sites))

    def held(a: int, b: int) -> float:
        share = min(links.uplink[a] / others, links.downlink[b] / others, links.pair[a][b])
        return share * (links.delay[a][b] + links.delay[b][a])

    least = min(max(held(a, b) for b in ranks if b != a) for a in ranks) if others else 0.0
    return int(min(_ROUND_TRIPS * least, _MOST_BYTES)) // 4 * 4


def warm_up(
    native: _core.Session, links: Links | None, *, is_wanted: Callable[[], bool] = lambda: True
) -> None:
    """The first thing that all sites of a later epoch do in it, once they have joined. links:
    between them, as far as this site knows. Raises the session's errors; Cancelled when it is not
    wanted any more."""
    mine = 0 if links is None else enough(links)
    told = native.all_gather(_word.pack(mine))
    _finish(told, is_wanted)
    size = max(_read(word) for word in told.gathered() if word)
    if size == 0:
        return
    data = np.zeros(size // 4, np.float32)
    work = native.exchange(
        data,
        data,
        segments=[("f32", "f32", data.size)],
        mean=False,
        weight=1.0,
        schedule="gather",
        layout=0,
    )
    _finish(work, is_wanted)


def _read(word: bytes) -> int:
    if len(word) != _word.size or (size := _word.unpack(word)[0]) > _MOST_BYTES or size % 4:
        raise WireError(f"a site asks for {word!r} to warm links up: it has another isthmus")
    return int(size)


def _finish(work: _core.Work, is_wanted: Callable[[], bool]) -> None:
    """Not in one native call, as a program may end meanwhile."""
    while not work.done():
        if not is_wanted():
            raise Cancelled("the session was closed")
        with suppress(Timeout):
            work.wait(_LOOK_AGAIN)
    work.wait()
