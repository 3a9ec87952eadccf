"""Whole sites in the simulator: `python -m isthmus.simulation --runs --seed 7` plays one run again,
`--seeds 100000 --from 0` many of them on all cores.

A run: sites train over epochs, are killed, cut off, frozen, come back; the coordinator dies. Else a
world is one session, with --losses one whose sites carry on. Of one seed it says what was drawn,
what went wrong and how it ended; of many, what was met. It exits with status 1 and the reason if
something that must hold did not.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus import _core
from isthmus.simulation.sweep import Sweep, sweep

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


def story(report: Report) -> Iterator[str]:
    """The same of a run."""
    yield from report["plan"]
    yield from report["lines"]
    end = "all train together" if report["together"] else "stuck"
    yield (
        f"after {report['seconds']:.3f} s, {report['steps']} steps and {report['checked']} sums: "
        f"{end}, trace {report['trace']:016x}"
    )
    for broken in report["broken"]:
        yield f"BROKEN: {broken}"


def _outcome(work: Mapping[str, Any]) -> str:
    if work["code"] in ("not begun", "not done"):
        return str(work["code"])
    named = f" [{work['site']}]" if work["site"] else ""
    text = f": {work['text']}{named}" if work["text"] else ""
    return f"{work['code']} at {work['ended']:.3f} s{text}"


def _sessions(options: argparse.Namespace, first: int, count: int) -> int:
    status = 0
    for seed in range(first, first + count):
        report = _core.simulate(
            seed, faults=not options.calm, losses=options.losses, log_events=options.events
        )
        if count > 1 and not report["broken"]:
            continue
        print(f"seed {seed}")
        print("\n".join([*report["events"], *sentences(report)]))
        status = status or bool(report["broken"])
    if count > 1:
        print(f"{count} worlds, {'something is broken' if status else 'all is well'}")
    return int(status)


def _runs(options: argparse.Namespace, first: int, count: int) -> int:
    if count > 1:
        return sweep(Sweep(first, count, options.processes, options.all, options.sabotage))
    report = _core.simulate_run(
        first, sabotage=options.sabotage, calm=options.calm, log_events=options.events
    )
    print(f"seed {first}")
    print("\n".join([*report["events"], *story(report)]))
    return int(bool(report["broken"]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m isthmus.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    first = parser.add_mutually_exclusive_group(required=True)
    first.add_argument("--seed", type=int, help="the world or run to show")
    first.add_argument("--from", type=int, dest="seed", metavar="SEED", help="the first of many")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from there on")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--runs", action="store_true", help="epochs, losses and returns")
    kind.add_argument("--losses", action="store_true", help="sites are lost, others carry on")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--events", type=int, default=0, help="show so many last events")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="of many runs (the cores)"
    )
    parser.add_argument("--all", action="store_true", help="do not stop at the first broken run")
    parser.add_argument("--sabotage", default="", help="of runs: make this mistake on purpose")
    options = parser.parse_args(arguments)
    play = _runs if options.runs else _sessions
    return play(options, options.seed, options.seeds)
