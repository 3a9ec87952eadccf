"""How soon a killed site's replacement trains again, and how long the others pause for it.

Three sites of one rank train a model on loopback; parameters and Adam's moments are a state of the
size that was asked for. One is killed; its replacement starts with fresh weights, joins, is handed
the state, and steps. Times are of one clock, that of the machine. All steps of all sites are
compared in bits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus import _core
from isthmus.bench import options
from isthmus.bench.job import BenchFailed
from isthmus.bench.rows import Ledger, Rejoining
from isthmus.bench.table import amount, show

SITES = ("amber", "birch", "cedar")
STEPS_BEFORE, STEPS_AFTER = 5, 5
PATIENCE_S = 120.0
Note = Mapping[str, Any]


def case(settings: argparse.Namespace) -> str:
    return f"{len(SITES)} sites, loopback, a state of {amount(int(settings.mb * 1e6))}"


def notes(path: Path) -> list[Note]:
    """What a process has noted so far, in whole lines."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def steps(said: Sequence[Note]) -> list[Note]:
    return [note for note in said if "step" in note]


def wait_for(enough: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not enough():
        if time.monotonic() > deadline:
            raise BenchFailed(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(0.02)


def row(settings: argparse.Namespace, seed: int, files: Mapping[str, Path]) -> Rejoining:
    """files: by process; `again` is the replacement's."""
    said = {name: notes(path) for name, path in files.items()}
    again = {key: note[key] for note in said["again"] if "step" not in note for key in note}
    first = steps(said["again"])[0]
    parts = first["pause"]["parts"]
    pauses = []
    for name in SITES:
        ends = [note["at"] for note in steps(said[name]) if note["step"] <= first["step"]]
        gaps = [b - a for a, b in itertools.pairwise(ends)]
        if name in files and ends and steps(said[name])[-1]["step"] >= first["step"]:
            pauses.append(gaps[-1] - statistics.median(gaps))
    hashes: dict[int, set[str]] = {}
    for lines in said.values():
        for note in steps(lines):
            hashes.setdefault(note["step"], set()).add(note["hash"])
    return Rejoining(
        case=case(settings),
        seed=seed,
        state_bytes=first["pause"]["bytes"],
        imports_s=again["imported"] - again["started"],
        model_s=again["built"] - again["imported"],
        join_s=again["joined"] - again["built"],
        take_s=again["taken"] - again["joined"],
        step_s=first["at"] - again["taken"],
        transfer_s=parts["transfer"],
        pause_s=max(pauses),
        identical=all(len(found) == 1 for found in hashes.values()),
    )


def lose_and_replace(settings: argparse.Namespace, seed: int) -> Rejoining:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory() as name:
        files: dict[str, Path] = {}

        def start(label: str, site: str) -> None:
            files[label] = Path(name, f"{label}.jsonl")
            line = [sys.executable, "-m", "isthmus.bench.replacement", keeper.address, site]
            line += [str(len(SITES)), str(files[label]), f"{settings.mb:g}", f"{time.time():.6f}"]
            processes[label] = subprocess.Popen(line)

        def has(label: str, count: int) -> bool:
            if processes[label].poll() is not None:
                raise BenchFailed(f"site {label!r} has ended by itself")
            return len(steps(notes(files[label]))) >= count

        try:
            for site in SITES:
                start(site, site)
            wait_for(lambda: all(has(site, STEPS_BEFORE) for site in SITES), "the beginning")
            victim = SITES[seed % len(SITES)]
            processes[victim].kill()
            processes[victim].wait()
            start("again", victim)
            wait_for(lambda: has("again", STEPS_AFTER), "the replacement's steps")
            return row(settings, seed, files)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
            keeper.close()


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    for seed in range(settings.runs):
        if not ledger.has(case(settings), str(seed)):
            ledger.add(lose_and_replace(settings, seed))


def main(argv: Sequence[str]) -> int:
    parser = options.parser("rejoin", __doc__)
    parser.add_argument("--mb", type=float, default=100.0, help="of the state")
    parser.add_argument("--runs", type=int, default=5)
    settings = parser.parse_args(argv)
    options.require("rejoin", "torch")
    ledger = options.ledger("rejoin", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0 if all(row.identical for row in ledger.rows if isinstance(row, Rejoining)) else 1
