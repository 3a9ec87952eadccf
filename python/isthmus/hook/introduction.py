"""introduction: which ranks of a site are gateways, and the rails opened between all sites.

All sites learn what each has before any gateway waits for another, so that a site which asks for
other rails is named at every rank at once, and no one times out waiting for it.
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any

from isthmus import errors
from isthmus.errors import IsthmusError, PeerLost, Refused
from isthmus.hook.site import Site
from isthmus.session import Follower, Session

_same_at_all_sites = ("rails", "measure")


def introduce(session: Session | Follower | None, site: Site) -> Session | None:
    """Open the site's groups and all rails, and tell every rank of the site who it belongs to.

    Returns this rank's session if it is a gateway. Raises the same at every rank.
    """
    site.open_words()
    claims = site.gather(_claim(session))

    def facts() -> dict[str, Any]:
        speaker = _session_of_rank_0(session)
        known = {
            "site": speaker.site,
            "sites": speaker.sites,
            "rank": speaker.rank,
            "timeout": speaker.timeout,
            "rails": speaker.rails,
            # Rails that another model has opened are measured.
            "measure": speaker.measures and not any(claim["open"] for claim in claims),
        }
        said = {each: known[each] for each in _same_at_all_sites}
        mine = json.dumps({**said, "objection": _objection(claims, speaker)})
        if speaker.is_newcomer:  # the others do not call this now
            _compare({speaker.site: json.loads(mine)})
            return known
        answers = [json.loads(answer) for answer in speaker.all_gather(mine.encode())]
        _compare(dict(zip(speaker.sites, answers, strict=True)))
        return known

    known = site.share(facts)
    site.name, site.sites = known["site"], tuple(known["sites"])
    site.open(timeout=known["timeout"], rails=known["rails"])
    if isinstance(session, Follower):
        session.site = known["site"]
        session.sites = tuple(known["sites"])
        session.rank = known["rank"]
        session.timeout = known["timeout"]
    rail = _open_rail(session, site, known) if site.rails > 1 else session
    return rail if isinstance(rail, Session) else None


def _claim(session: Session | Follower | None) -> dict[str, Any]:
    """What a rank holds. rails, rail: as that says; None where it says nothing. open: whether it is
    connected to its rail already."""
    claim = {"holds": repr(session), "session": False, "rails": None, "rail": None, "open": False}
    if session is not None:
        claim |= {"session": isinstance(session, Session), "rails": session.rails}
    if isinstance(session, Follower) and session.gateway is not None:
        claim |= {"rail": session.gateway.rail, "open": session.opened is not None}
    return claim


def _session_of_rank_0(session: Session | Follower | None) -> Session:
    if isinstance(session, Session):
        return session
    raise Refused(
        "rank 0 of the model's process group is the site's gateway and needs a Session, not "
        f"{session!r}: call join() there"
    )


def _objection(claims: list[dict[str, Any]], speaker: Session) -> str:
    """What is wrong within one site; empty: nothing."""
    for rank, claim in enumerate(claims):
        if rank > 0 and claim["session"]:
            return (
                f"rank {rank} of the model's process group holds {claim['holds']}, but only rank 0 "
                "may: pass None there, or call join() after init_process_group"
            )
        if claim["rails"] not in (None, speaker.rails):
            return f"rails is {speaker.rails} at rank 0 and {claim['rails']} at rank {rank}"
    if len(claims) < speaker.rails:
        return f"it has {len(claims)} ranks, and {speaker.rails} rails need a rank each"
    for rank in range(1, speaker.rails):
        if claims[rank]["rail"] != rank:
            return (
                f"rank {rank} of the model's process group is the gateway of rail {rank} and holds "
                f"{claims[rank]['holds']}: pass it what join(rails={speaker.rails}) gave there, "
                "after init_process_group"
            )
    return ""


def _compare(answers: dict[str, dict[str, Any]]) -> None:
    """By site. All sites see the same, and so raise the same."""
    for name, answer in answers.items():
        if answer["objection"]:
            raise Refused(f"site {name!r}: {answer['objection']}")
    for setting in _same_at_all_sites:
        sites_by_value: dict[Any, list[str]] = {}
        for name, answer in answers.items():
            sites_by_value.setdefault(answer[setting], []).append(name)
        if len(sites_by_value) > 1:
            said = "; ".join(f"{value} at {', '.join(at)}" for value, at in sites_by_value.items())
            raise Refused(
                f"the sites differ in {setting}: {said}. Pass the same {setting}= "
                f"(ISTHMUS_{setting.upper()}) everywhere"
            )


def _open_rail(
    session: Session | Follower | None, site: Site, known: dict[str, Any]
) -> Session | None:
    """All ranks of the site call this, and go on only if all its rails are open and measured."""
    _together(site, session, lambda: _join_rail(session, site, known))
    rail = _rail_of(session)
    if known["measure"]:
        # All at once, so that each finds its part of what they share.
        _together(site, session, lambda: None if rail is None else rail.measure())
    return rail


def _join_rail(session: Session | Follower | None, site: Site, known: dict[str, Any]) -> None:
    if not isinstance(session, Follower) or session.gateway is None:
        return
    try:
        session.opened = rail = session.opened or Session(session.gateway)
    except IsthmusError as error:
        raise errors.make(error.code, f"rail {site.rank}: {error}", error.peer) from error
    if list(rail.sites) != list(known["sites"]):
        raise Refused(f"rail {site.rank} has the sites {rail.sites}, not {known['sites']}")


def _rail_of(session: Session | Follower | None) -> Session | None:
    if isinstance(session, Follower):
        rail: Session | None = session.opened
        return rail
    return session


def _together(site: Site, session: Session | Follower | None, act: Callable[[], object]) -> None:
    """`act` at every rank. Where it fails at one, every rank of the site raises that error, and the
    site's rails end for it: so do then the other sites, which may be waiting in their own `act`."""
    failure: list[Any] | None = None
    try:
        act()
    except Exception as raised:
        error = errors.typed(raised)
        failure = [error.code, str(error), error.peer]
        _end_rail(session, error)  # before the other ranks are heard, which may take their time
    try:
        said = site.gather(failure)
    except Exception as gone:
        lost = PeerLost(f"a rank of this site is gone, seen by rank {site.rank}: {gone}", site.name)
        _end_rail(session, lost)
        raise lost from gone
    first = next((each for each in said if each is not None), None)
    if first is not None:
        why = errors.make(*first)
        _end_rail(session, why)
        raise why


def _end_rail(session: Session | Follower | None, why: IsthmusError) -> None:
    rail = _rail_of(session)
    if rail is None:
        return
    with contextlib.suppress(IsthmusError):  # it may have ended by itself
        rail.abort(why)
