"""What exchange.py and wan.py share: from the ranks' samples to a table and a file."""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case: medians in seconds; CPU seconds of a rank for each GB of its float32 data."""

    case: str
    codec: str
    bytes: int
    ranks: int
    floor_s: float
    isthmus_s: float | None
    gloo_s: float
    isthmus_cpu_s_per_gb: float | None
    gloo_cpu_s_per_gb: float
    samples: int


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def read_ranks(folder: Path, ranks: int) -> list[list[dict[str, Any]]]:
    """By rank, then case."""
    return [json.loads((folder / f"rank{r}.json").read_text()) for r in range(ranks)]


def seconds(case: Sequence[dict[str, Any]], library: str, *, inner: int) -> float | None:
    """The median operation: from the common start until the last rank has ended."""
    if not case[0].get(library):
        return None
    turns = zip(*(rank[library] for rank in case), strict=True)
    return statistics.median(
        (max(r["end_s"] for r in turn) - turn[0]["start_s"]) / inner for turn in turns
    )


def cpu_per_gb(case: Sequence[dict[str, Any]], library: str, *, bytes: int) -> float | None:
    """Mean over ranks of the median operation's CPU seconds, for each GB. `bytes`: of a sample."""
    if not case[0].get(library):
        return None
    used = [statistics.median(s["cpu_s"] for s in rank[library]) for rank in case]
    return statistics.mean(used) / (bytes / 1e9)


def duration(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms"


def show(rows: Sequence[Row]) -> None:
    """The table: floor, measured, gloo, and gloo's time over ours."""
    print(
        f"{'case':<40}{'codec':<8}{'floor':>11}{'isthmus':>11}{'gloo':>11}{'gloo/ours':>10}"
        f"{'CPU-s/GB':>15}"
    )
    for row in rows:
        ratio = cpu = "-"
        if row.isthmus_s is not None and row.isthmus_cpu_s_per_gb is not None:
            ratio = f"{row.gloo_s / row.isthmus_s:.2f}"
            cpu = f"{row.isthmus_cpu_s_per_gb:.2f}"
        print(
            f"{row.case:<40}{row.codec:<8}{duration(row.floor_s):>11}{duration(row.isthmus_s):>11}"
            f"{duration(row.gloo_s):>11}{ratio:>10}{cpu:>7} ({row.gloo_cpu_s_per_gb:.2f})"
        )
    print("CPU-s/GB: of one rank, isthmus (gloo)")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python", "bench/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def save(name: str, rows: Sequence[Row]) -> None:
    """Write bench/results/NAME.json."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(machine() | {"rows": [asdict(row) for row in rows]}, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n")
