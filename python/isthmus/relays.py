"""relays: which pairs of sites a third one connects."""

from collections.abc import Sequence

from isthmus import _core


def relayed_pairs(native: _core.Session, sites: Sequence[str]) -> dict[tuple[str, str], str]:
    """Both sites' names, and by way of whom they are connected."""
    return {(sites[a], sites[b]): sites[by] for a, b, by in native.relayed}
