"""All-reduce of float32 on loopback: isthmus against gloo in the same run, and bare sockets.

    python bench/exchange.py [--ranks 2 4] [--mb 100 25 .004] [--codecs f32 int8 int4] [--repeats 7]
                             [--save]

Each rank is a process. The floor moves the same float32 bytes round a ring of plain sockets, adding
nothing; gloo moves float32 too. Under 1 MB a sample is 20 operations in a row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from results import Row, cpu_per_gb, free_ports, read_ranks, save, seconds, show


def run(ranks: int, sizes: list[int], repeats: int, codecs: list[str]) -> list[Row]:
    """All sizes at one number of ranks, a row a codec. CalledProcessError if a rank fails."""
    libraries = ["floor", "gloo", *(f"isthmus {codec}" for codec in codecs)]
    inner = [20 if elements * 4 < 1e6 else 1 for elements in sizes]
    turns = dict.fromkeys(libraries, repeats)
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "addresses": ["127.0.0.1"] * ranks,
            "ports": free_ports(2 + ranks),
            "interface": "lo",
            "cases": [
                {"elements": e, "repeats": turns, "inner": i}
                for e, i in zip(sizes, inner, strict=True)
            ],
            "libraries": libraries,
            "lead_s": 0.02,
            "out": folder,
        }
        line = [sys.executable, str(Path(__file__).with_name("rank.py")), json.dumps(job)]
        processes = [
            subprocess.Popen(line, env={**os.environ, "WAN_SITE": str(rank)})
            for rank in range(ranks)
        ]
        try:
            for process in processes:
                if process.wait(timeout=600):
                    raise subprocess.CalledProcessError(process.returncode, "bench/rank.py")
        finally:
            for process in processes:
                process.kill()
                process.wait()
        by_rank = read_ranks(Path(folder), ranks)
    rows = []
    for i, elements in enumerate(sizes):
        case = [rank[i] for rank in by_rank]
        floor, gloo = (seconds(case, name, inner=inner[i]) for name in ("floor", "gloo"))
        moved = elements * 4 * inner[i]
        gloo_cpu = cpu_per_gb(case, "gloo", bytes=moved)
        assert floor is not None and gloo is not None and gloo_cpu is not None
        rows += [
            Row(
                case=f"{elements * 4 / 1e6:g} MB, {ranks} ranks",
                codec=codec,
                bytes=elements * 4,
                ranks=ranks,
                floor_s=floor,
                isthmus_s=seconds(case, f"isthmus {codec}", inner=inner[i]),
                gloo_s=gloo,
                isthmus_cpu_s_per_gb=cpu_per_gb(case, f"isthmus {codec}", bytes=moved),
                gloo_cpu_s_per_gb=gloo_cpu,
                samples=repeats,
            )
            for codec in codecs
        ]
    return rows


def main() -> int:
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    ap.add_argument("--mb", type=float, nargs="+", default=[100, 25, 0.004])
    ap.add_argument("--repeats", type=int, default=7)
    ap.add_argument("--codecs", nargs="+", default=["f32", "int8", "int4"])
    ap.add_argument("--save", action="store_true", help="write bench/results/exchange.json")
    options = ap.parse_args()
    sizes = [int(mb * 1e6 / 4) for mb in options.mb]
    rows = [row for n in options.ranks for row in run(n, sizes, options.repeats, options.codecs)]
    show(rows)
    if options.save:
        save("exchange", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
