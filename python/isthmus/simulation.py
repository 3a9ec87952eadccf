"""Whole sites in the simulator: `python -m isthmus.simulation --seed 7` runs one drawn world again.

It says what was drawn, what went wrong, and how each operation ended at each site. It exits with
status 1 and the reason if something that must hold did not.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus import _core

Report = Mapping[str, Any]


def sentences(report: Report) -> Iterator[str]:
    """The world, then how everything ended in it."""
    yield from report["world"]
    for site in report["sites"]:
        yield f"{site['name']}{'' if site['living'] else ' (gone)'}:"
        yield f"  joining: {_outcome(site['joined'])}"
        for number, work in enumerate(site["works"], start=1):
            yield f"  operation {number}: {_outcome(work)}"
    yield f"after {report['seconds']:.3f} s, trace {report['trace']:016x}, {report['lies']} lies"
    for broken in report["broken"]:
        yield f"BROKEN: {broken}"


def _outcome(work: Mapping[str, Any]) -> str:
    if work["code"] in ("not begun", "not done"):
        return str(work["code"])
    named = f" [{work['site']}]" if work["site"] else ""
    text = f": {work['text']}{named}" if work["text"] else ""
    return f"{work['code']} at {work['ended']:.3f} s{text}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m isthmus.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="the world to run")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from there on")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--losses", action="store_true", help="sites are lost, others carry on")
    parser.add_argument("--events", type=int, default=0, help="show so many last events")
    options = parser.parse_args(arguments)
    status = 0
    for seed in range(options.seed, options.seed + options.seeds):
        report = _core.simulate(
            seed, faults=not options.calm, losses=options.losses, log_events=options.events
        )
        if options.seeds > 1 and not report["broken"]:
            continue
        print(f"seed {seed}")
        print("\n".join([*report["events"], *sentences(report)]))
        status = status or bool(report["broken"])
    if options.seeds > 1:
        print(f"{options.seeds} worlds, {'something is broken' if status else 'all is well'}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
