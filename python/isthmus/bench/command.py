"""The `isthmus bench` command. Each bench is imported when it is asked for: codecs and report need
NumPy alone, the others torch."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from isthmus.bench import options
from isthmus.errors import IsthmusError

# What each does, in the order in which `all` runs them; and its arguments under --quick.
_benches: Mapping[str, tuple[str, str]] = {
    "codecs": (
        "encode and decode on one core, beside memcpy and what torch users have",
        "--elements 1048576 --repeats 3 --codecs f32 int8 int4 topk",
    ),
    "exchange": (
        "all-reduce on loopback, beside gloo and bare sockets",
        "--ranks 2 --mb 25 .004 --repeats 3 --codecs f32 int4",
    ),
    "wan": (
        "all-reduce across an emulated WAN, beside gloo and the floor",
        "--cases 2:50 --mb 10 .004 --repeats 3 --codecs f32 int4",
    ),
    "ddp": (
        "training a real model across an emulated WAN, beside plain gloo DDP",
        "--size tiny --turns 1 --steps 3 --codecs f32 int4 --site-mbit 20",
    ),
    "rails": (
        "a DDP step on loopback with one gateway a site and with more",
        "--mb 10 --turns 1 --steps 2",
    ),
    "kills": (
        "how soon sites go on without one that is killed, cut off or frozen",
        "--runs 2",
    ),
    "rejoin": (
        "how soon a killed site's replacement trains, and how long the others pause",
        "--mb 10 --runs 1",
    ),
    "chaos": (
        "training under random faults: every invariant, tokens, loss, memory",
        "--minutes .5 --every 10 --calm 10 --references 1 --loopback",
    ),
    "scaling": (
        "a step's exchange of large models at up to 16 sites, in the simulator",
        "--sites 2 4 --parameters .1 1 --gbit 1",
    ),
}
_report = "one HTML page of everything that was measured"


def run_all(argv: Sequence[str]) -> int:
    """Every bench, then the report. One that fails does not keep the others from running."""
    parser = options.parser("all", run_all.__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases: two or three minutes")
    settings = parser.parse_args(argv)
    where = ["--save"] if settings.save else ["--out", str(settings.out)]
    again = ["--resume"] if settings.resume else []
    status = 0
    for bench, (does, quick) in _benches.items():
        print(f"\n{bench}: {does}", flush=True)
        arguments = quick.split() if settings.quick else []
        try:
            status = run(bench, [*where, *again, *arguments]) or status
        except IsthmusError as error:
            print(f"isthmus bench {bench}: {error}", file=sys.stderr)
            status = 1
    return run("report", where) or status


def run(bench: str, arguments: Sequence[str]) -> int:
    program = importlib.import_module(f"isthmus.bench.{bench}")
    return int(program.main(arguments))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 when a bench failed, 69 where it cannot run, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="isthmus bench",
        description="Measure isthmus on this machine, beside its floors and its peers. Rows are "
        "kept as soon as they are measured. `isthmus bench BENCH --help` says more.",
    )
    commands = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    for name, (does, _) in _benches.items():
        commands.add_parser(name, help=does, add_help=False)
    commands.add_parser("report", help=_report, add_help=False)
    commands.add_parser("all", help="every bench, then the report (--quick)", add_help=False)
    bench = parser.parse_args(arguments[:1]).bench
    try:
        return run_all(arguments[1:]) if bench == "all" else run(bench, arguments[1:])
    except KeyboardInterrupt:
        print("\nstopped; what was measured is kept, and --resume goes on", file=sys.stderr)
        return 130
