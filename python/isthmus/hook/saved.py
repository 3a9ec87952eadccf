"""saved: what a hook's checkpoint says, and whether it is of this run."""

import itertools
from collections.abc import Mapping
from typing import Any

from isthmus.errors import Refused
from isthmus.session import Session

VERSION = 5
# Keys that must be as they were, and what to do about it.
_same = {
    "version": "resume with the isthmus that wrote it",
    "codec": "register with the same codec= and feedback=, or begin without the hook's state",
    "layout": "build the model and DDP as the run did that wrote it",
    "delay": "register with the same delay=",
    "sites": "start the same sites; or load_state_dict(state, strict=False), and what the sites "
    "that are missing still owed to the sum is lost",
}
_added: Mapping[str, Any] = {
    "sites": [],
    "order": [],
    "dither": None,
    "links": None,
}  # by version 5


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Of an older version, as that of today: version 3 had one gateway a site, its rank 0, and so
    did not say whose residuals it has."""
    whole = dict(state)
    if whole.get("version") == 3:
        whole = {"rank": 0, **whole, "version": 4}
    if whole.get("version") == 4:
        whole = {**_added, **whole, "version": VERSION}
    return whole


def check(state: Mapping[str, Any], mine: Mapping[str, Any], *, who: str, strict: bool) -> None:
    """Refused, with who refuses what and what to do: it is of another run. mine: this hook's."""
    if set(state) != set(mine):
        raise Refused(
            f"{who}: this is not a hook's state: it has {sorted(state)}, expected {sorted(mine)}"
        )
    for key, remedy in _same.items():
        if key == "sites" and (not strict or not state["sites"]):
            continue
        if state[key] != mine[key]:
            raise Refused(
                f"{who}: the checkpoint's {key} is {state[key]!r}, this hook's is {mine[key]!r}: "
                f"{remedy}"
            )


def check_shared(state: Mapping[str, Any], mine: Mapping[str, Any], *, who: str) -> None:
    """Refused: what the others train is not what this site has."""
    for key in ("version", "codec", "layout", "delay"):
        if key not in state or state[key] != mine[key]:
            raise Refused(
                f"{who}: the other sites' {key} is {state.get(key)!r}, this site's is "
                f"{mine[key]!r}: run the same program at all sites"
            )


def dither_of(session: Session) -> dict[str, int]:
    """What its stochastic rounding draws from, and how much was drawn beside the gradients."""
    drawn = next(session.draws)
    session.draws = itertools.count(drawn)
    return {"key": session.dither_key, "draws": drawn}


def load_dither(session: Session, dither: Mapping[str, int] | None) -> None:
    if dither is not None:
        session.dither_key = int(dither["key"])
        session.draws = itertools.count(int(dither["draws"]))
