"""relays: which pairs of sites a third one connects, and saying so."""

import logging
from collections.abc import Sequence

from isthmus import _core

_log = logging.getLogger("isthmus")


def relayed_pairs(native: _core.Session, sites: Sequence[str]) -> dict[tuple[str, str], str]:
    """Both sites' names, and by way of whom they are connected."""
    return {(sites[a], sites[b]): sites[by] for a, b, by in native.relayed}


def warn_of(relayed: dict[tuple[str, str], str]) -> None:
    for (a, b), by in relayed.items():
        _log.warning(
            "sites %r and %r cannot connect to each other: by way of %r, whose network carries "
            "what they exchange (docs/relay.md)",
            a,
            b,
            by,
        )
