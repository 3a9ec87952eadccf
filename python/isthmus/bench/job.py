"""What the ranks of exchange and wan do, how they are started, and what their samples say."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from isthmus.errors import IsthmusError

PATIENCE_S = 900.0


class BenchFailed(IsthmusError):
    """A process of a bench ended badly; what it said is on the terminal."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """All-reduces of one size. repeats: by library; inner: operations in a row a sample."""

    elements: int
    repeats: Mapping[str, int]
    inner: int = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """For every rank the same.

    addresses: by rank. ports: gloo's, isthmus's, then one a rank for bare sockets. libraries:
    "gloo", "floor" (bare sockets), and isthmus as "isthmus CODEC". lead_s: from agreeing on a start
    to it. idle_s: nothing is sent for so long before each operation. uplink_mbit: by rank, what
    isthmus is told; 0: nothing. measured: isthmus measures the links before it begins. streams: of
    each of its links, if it is told.
    """

    addresses: Sequence[str]
    ports: Sequence[int]
    interface: str
    cases: Sequence[Case]
    libraries: Sequence[str]
    lead_s: float
    uplink_mbit: Sequence[float]
    idle_s: float = 0.0
    measured: bool = False
    congestion: str | None = None
    streams: int | None = None

    def line(self, folder: Path) -> list[str]:
        """The command of a rank, which finds its number in WAN_SITE and writes into the folder."""
        return [sys.executable, "-m", "isthmus.bench.rank", json.dumps(asdict(self)), str(folder)]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One rank's part in `inner` operations; the ranks share one clock."""

    start_s: float
    end_s: float
    cpu_s: float


ByLibrary: TypeAlias = dict[str, list[Sample]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One rank's account of one case. planned_s: by library, what its session expected of the links
    that it had measured, and the time of encoding."""

    samples: ByLibrary
    planned_s: Mapping[str, float]


def job_of(text: str) -> Job:
    values = json.loads(text)
    cases = [Case(**case) for case in values.pop("cases")]
    return Job(cases=cases, **values)


def results_of(text: str) -> list[Result]:
    return [
        Result(
            samples={
                name: [Sample(**sample) for sample in samples]
                for name, samples in case["samples"].items()
            },
            planned_s=case["planned_s"],
        )
        for case in json.loads(text)
    ]


def run_on_loopback(job: Job) -> list[list[Result]]:
    """Results by rank, then case. BenchFailed if a rank fails."""
    ranks = range(len(job.addresses))
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            subprocess.Popen(job.line(Path(folder)), env={**os.environ, "WAN_SITE": str(rank)})
            for rank in ranks
        ]
        try:
            for process in processes:
                if process.wait(timeout=PATIENCE_S):
                    raise BenchFailed(f"a rank ended with status {process.returncode}")
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return read(Path(folder), len(ranks))


def run_on_wan(job: Job, emulator: Sequence[str]) -> list[list[Result]]:
    """The same, at the sites of an emulated WAN; emulator: its arguments, before the command."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "isthmus.wan", *emulator, "--", *job.line(Path(folder))]
        # The sites have no name service, of which torch warns at every connection.
        done = subprocess.run(line, check=False, env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"})
        if done.returncode:
            raise BenchFailed(f"isthmus wan ended with status {done.returncode}")
        return read(Path(folder), len(job.addresses))


def read(folder: Path, ranks: int) -> list[list[Result]]:
    return [results_of((folder / f"rank{r}.json").read_text()) for r in range(ranks)]


def seconds(case: Sequence[ByLibrary], library: str, *, inner: int = 1) -> float | None:
    """The median operation: from the common start until the last rank has ended; None without."""
    if not case[0].get(library):
        return None
    turns: Iterable[Sequence[Sample]] = zip(*(rank[library] for rank in case), strict=True)
    return statistics.median(
        (max(s.end_s for s in turn) - turn[0].start_s) / inner for turn in turns
    )


def cpu_s_per_gb(
    case: Sequence[ByLibrary], libraries: Mapping[str, str], *, bytes: int
) -> dict[str, float]:
    """Mean over ranks of the median sample's CPU seconds, for each GB; by the mapping's keys, which
    name libraries. `bytes`: of a sample."""
    used = {
        name: [statistics.median(s.cpu_s for s in rank[library]) for rank in case]
        for name, library in libraries.items()
        if case[0].get(library)
    }
    return {name: statistics.mean(of) / (bytes / 1e9) for name, of in used.items()}
