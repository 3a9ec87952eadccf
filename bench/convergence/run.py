"""Does it train? Every codec on one small language model, at equal tokens.

    python bench/convergence/run.py [--only int4 topk-15 ...] [--seeds 0 1 2]
                                    [--steps 1500] [--at-once 2]

Real text (the sources of Python's library), three sites of one process, each with its own third.
Finished runs are kept in bench/results/convergence/ and not repeated; an interrupted one goes on
from its last checkpoint in build/convergence. `python bench/convergence/report.py` makes the table
and the plot.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from train import Job

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "convergence"
CACHE = ROOT / "build" / "convergence"

SPARSE: dict[str, Any] = {"up": "topk", "down": None, "feedback": True}

WAYS: dict[str, dict[str, Any]] = {
    "f32": {},
    "int4": {"up": "int4", "down": "int8", "feedback": True},
    "f32-15": {"inner": 15},
    "topk-15": SPARSE | {"inner": 15, "beta": 0.95},
    "topk-15-beta-1": SPARSE | {"inner": 15},
    "topk-128-15": SPARSE | {"up": "topk-128-int8", "inner": 15},
    "f32-30": {"inner": 30},
    "topk-30": SPARSE | {"inner": 30, "beta": 0.95},
    "int4-no-feedback": {"up": "int4", "down": "int8"},
    "int8": {"up": "int8", "down": "int8"},
    "int2": {"up": "int2", "down": "int8", "feedback": True},
    "sign": {"up": "sign", "down": None, "feedback": True},
    "topk": SPARSE,
    "bf16": {"up": "bf16", "down": "bf16"},
    "f32-delay-1": {"delay": 1},
    "f32-delay-1-slow": {"delay": 1, "rate": 5e-4},
    "int4-delay-1": {"up": "int4", "down": "int8", "feedback": True, "delay": 1},
}
THREE_SEEDS = ("f32", "int4", "topk-15")


def jobs(options: argparse.Namespace) -> list[Job]:
    """Those that are asked for, the first seed of each before the others."""
    wanted = []
    for seed in options.seeds:
        for name in WAYS:
            if options.only and name not in options.only:
                continue
            if seed == options.seeds[0] or name in THREE_SEEDS:
                wanted.append(job_of(name, seed, options.steps))
    return wanted


def job_of(name: str, seed: int, steps: int) -> Job:
    way: dict[str, Any] = WAYS[name]
    return Job(name=name, seed=seed, steps=steps, **way)


def finished(job: Job, folder: Path) -> bool:
    """Whether its result is there. SystemExit: one of the same name but another job is."""
    path = folder / f"{job.key}.json"
    if not path.exists():
        return False
    if Job(**json.loads(path.read_text())["job"]) != job:  # one from before an option has it not
        raise SystemExit(f"{path} is of another job: remove it to run anew")
    return True


def start(job: Job, folder: Path) -> subprocess.Popen[bytes]:
    request = {"job": asdict(job), "results": str(folder), "cache": str(CACHE)}
    line = [sys.executable, str(Path(__file__).with_name("train.py")), json.dumps(request)]
    return subprocess.Popen(line, env={**os.environ, "OMP_NUM_THREADS": "1"})


def main() -> int:
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--only", nargs="+", choices=list(WAYS), metavar="WAY")
    ap.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    ap.add_argument("--steps", type=int, default=1500)
    ap.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    ap.add_argument("--results", type=Path, default=RESULTS)
    options = ap.parse_args()
    left = [job for job in jobs(options) if not finished(job, options.results)]
    total, begin, failed = len(left), time.monotonic(), 0
    running: list[subprocess.Popen[bytes]] = []
    try:
        while left or running:
            while left and len(running) < options.at_once:
                running.append(start(left.pop(0), options.results))
            time.sleep(0.5)
            ended = [p for p in running if p.poll() is not None]
            running = [p for p in running if p.poll() is None]
            failed += sum(p.returncode != 0 for p in ended)
            if ended:
                done = total - len(left) - len(running)
                each = (time.monotonic() - begin) / done
                print(f"{done} of {total} runs, about {each * (total - done) / 60:.0f} min left")
    finally:
        for process in running:
            process.terminate()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
