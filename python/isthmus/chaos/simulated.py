"""simulated: the same faults, as troubles of a world in the simulator (_core.simulate)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isthmus.chaos.faults import Fault
from isthmus.errors import Refused


def troubles(
    faults: Iterable[Fault],
    sites: Sequence[str],
    operations: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """sites: their names, in the world's order. operations: the world's; a step is one of them, and
    begins when the last site submits it.

    The simulator's `slow` is of a whole number; its `corrupt` changes a byte of a header, or of
    any part, and of a pair only. Refused: what it cannot do.
    """
    return [_trouble(fault, list(sites), operations) for fault in faults]


def _trouble(
    fault: Fault, sites: list[str], operations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    for name in filter(None, (fault.site, fault.other)):
        if name not in sites:
            raise Refused(f"{fault}: no site {name!r} in this world of {', '.join(sites)}")
    if fault.kind == "corrupt" and not fault.other:
        raise Refused(f"{fault}: the simulator needs the other end: corrupt(site, other)")
    if fault.factor != int(fault.factor):
        raise Refused(f"{fault}: the simulator slows by whole numbers")
    whole = fault.kind == "cut" and not fault.other
    made: dict[str, Any] = {"kind": "isolate" if whole else fault.kind}
    made |= {"site": sites.index(fault.site), "at": _moment(fault, operations)}
    if fault.other:
        made["peer"] = sites.index(fault.other)
    if fault.seconds is not None:
        made["seconds"] = fault.seconds
    if fault.kind == "slow":
        made["factor"] = int(fault.factor)
    return made


def _moment(fault: Fault, operations: Sequence[Mapping[str, Any]]) -> float:
    if fault.at_step is None:
        return fault.at_seconds or 0.0
    if fault.at_step >= len(operations):
        raise Refused(f"{fault}: this world has {len(operations)} operations, the first is 0")
    return float(max(operations[fault.at_step].get("submit", [0.0])))
