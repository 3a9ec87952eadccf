"""How soon the others go on when a site is killed, cut off or frozen, and if with the same bits.

Every run is a fresh one of four real sites that reduce a step of some buckets again and again. At a
random moment (of the seed) one of them is lost; `recovery` is the time from then until the last of
the others has completed its first step without it. A step that was under way and completed with the
lost one does not count. A kill is noticed at once, a silent cut and a freeze after the heartbeat
timeout. Every step of all survivors is compared, in bits and in who contributed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from isthmus import _core, chaos
from isthmus.bench import options
from isthmus.bench.job import BenchFailed
from isthmus.bench.rows import Ledger, Recovery
from isthmus.bench.table import amount, show
from isthmus.errors import Refused

SITES = [f"site{i}" for i in range(4)]
STEPS_BEFORE, STEPS_AFTER = 5, 5
PATIENCE_S = 60.0
POLL_S = 0.02
FAULTS = {"kill": chaos.kill, "cut": chaos.cut, "freeze": chaos.freeze}
Notes = Mapping[str, Sequence[Mapping[str, Any]]]  # by site: its steps, in order


def case(settings: argparse.Namespace) -> str:
    size = amount(int(settings.mb * 1e6))
    if settings.loopback:
        return f"{len(SITES)} sites, loopback, {size}"
    return f"{len(SITES)} sites, {settings.rtt_ms:g} ms, {settings.site_mbit:g} Mbit/s, {size}"


def program(settings: argparse.Namespace, folder: Path) -> list[str]:
    line = [sys.executable, "-m", "isthmus.bench.survivor", str(folder)]
    return [*line, str(int(settings.mb * 1e6)), f"{settings.heartbeat:g}"]


@contextmanager
def emulated(settings: argparse.Namespace, folder: Path) -> Iterator[chaos.World]:
    control = folder / "control"
    line = [sys.executable, "-m", "isthmus.wan", "--sites", str(len(SITES))]
    line += ["--rtt-ms", f"{settings.rtt_ms:g}", "--site-mbit", f"{settings.site_mbit:g}"]
    line += ["--control", str(control), "--timeout", f"{3 * PATIENCE_S:g}", "--"]
    network = subprocess.Popen([*line, *program(settings, folder)], stderr=subprocess.DEVNULL)
    try:
        world = chaos.Emulated(control, SITES)
        yield world
        # Who is frozen would be asked to end in vain; with the last one the network may end too.
        with suppress(Refused):
            for site in SITES:
                world.inject(chaos.kill(site))
        world.close()
    finally:
        network.terminate()
        network.wait()


@contextmanager
def on_loopback(settings: argparse.Namespace, folder: Path) -> Iterator[chaos.World]:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    common = [f"ISTHMUS_RENDEZVOUS={keeper.address}", f"ISTHMUS_SITES={len(SITES)}"]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for site in SITES:
            told = ["env", *common, f"ISTHMUS_SITE={site}", *program(settings, folder)]
            processes[site] = subprocess.Popen(told, stderr=subprocess.DEVNULL)
        yield chaos.Loopback({site: [process.pid] for site, process in processes.items()})
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        keeper.close()


def notes(folder: Path) -> Notes:
    """What the sites have noted so far, in whole lines."""
    found = {}
    for site in SITES:
        path = folder / f"{site}.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        found[site] = [step for step in map(json.loads, lines) if "end" in step]
    return found


def without(step: Mapping[str, Any], site: str) -> bool:
    return all(site not in names for names in step["contributors"])


def after(said: Notes, victim: str) -> dict[str, list[Mapping[str, Any]]]:
    """By survivor: its steps without the lost site."""
    return {
        site: [step for step in steps if without(step, victim)]
        for site, steps in said.items()
        if site != victim
    }


def differences(said: Notes, victim: str) -> list[int]:
    """Steps whose bits or contributors are not the same at all survivors that have done them."""
    by_step: dict[int, set[str]] = {}
    for site, steps in said.items():
        for step in steps if site != victim else ():
            result = f"{step['digest']} {step['contributors']}"
            by_step.setdefault(step["step"], set()).add(result)
    return [step for step, results in by_step.items() if len(results) > 1]


def wait_for(folder: Path, what: str, enough: Callable[[Notes], bool]) -> Notes:
    deadline = time.monotonic() + PATIENCE_S
    while not enough(said := notes(folder)):
        if time.monotonic() > deadline:
            counts = {site: len(steps) for site, steps in said.items()}
            raise BenchFailed(f"{what}: not within {PATIENCE_S:g} s; steps by site: {counts}")
        time.sleep(POLL_S)
    return said


def lose(kind: str, seed: int, settings: argparse.Namespace) -> Recovery:
    """One run. BenchFailed if the others do not go on."""
    draw = random.Random(f"{kind} {seed}")
    victim = draw.choice(SITES)
    start = on_loopback if settings.loopback else emulated
    with tempfile.TemporaryDirectory() as name, start(settings, Path(name)) as world:
        folder = Path(name)
        said = wait_for(
            folder,
            "the beginning",
            lambda said: all(len(steps) >= STEPS_BEFORE for steps in said.values()),
        )
        ends = [step["end"] for step in said[victim]]
        step_s = statistics.median(b - a for a, b in itertools.pairwise(ends))
        time.sleep(draw.uniform(0, 3 * step_s))
        at = world.inject(FAULTS[kind](victim))
        said = wait_for(
            folder,
            f"going on without {victim} (seed {seed})",
            lambda said: all(len(s) >= STEPS_AFTER for s in after(said, victim).values()),
        )
    first = max(steps[0]["end"] for steps in after(said, victim).values())
    return Recovery(
        case=case(settings),
        fault=kind,
        seed=seed,
        heartbeat_s=settings.heartbeat,
        step_s=step_s,
        recovery_s=first - at,
        identical=not differences(said, victim),
    )


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    for kind in settings.faults:
        for seed in range(settings.seed, settings.seed + settings.runs):
            if not ledger.has(case(settings), kind, str(seed)):
                ledger.add(lose(kind, seed, settings))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = options.parser("kills", __doc__)
    add = parser.add_argument
    add("--faults", nargs="+", choices=list(FAULTS), default=["kill", "cut", "freeze"])
    add("--runs", type=int, default=20, help="of each fault")
    add("--seed", type=int, default=0, help="of the first of them")
    add("--heartbeat", type=float, default=2.0, help="seconds of silence until a site is lost")
    add("--mb", type=float, default=4.0, help="of float32 a step, in 4 buckets")
    add("--rtt-ms", type=float, default=100.0)
    add("--site-mbit", type=float, default=1000.0)
    add("--loopback", action="store_true", help="no emulated network, and so no cuts")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    settings = parse(argv)
    if settings.loopback:
        settings.faults = [kind for kind in settings.faults if kind != "cut"]
    elif not options.can_emulate("kills"):
        return options.UNAVAILABLE
    ledger = options.ledger("kills", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0 if all(row.identical for row in ledger.rows if isinstance(row, Recovery)) else 1
