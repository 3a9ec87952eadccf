"""Codecs on one core: GB/s of float32 elements, and as a fraction of memcpy in the same run.

    python bench/codecs.py [--elements N] [--repeats N] [--out FILE]

One JSON line for each codec, implementation and operation, then a table. All buffers are warm;
memcpy copies as many bytes as the elements have. A fraction above 1 is possible where the wire is
small.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from isthmus import _core
from results import machine


def best_seconds(action: Callable[[], object], repeats: int) -> float:
    """The fastest of `repeats` runs, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def actions(codec: str, implementation: str, x: Any) -> dict[str, Callable[[], object]]:
    """Each operation of a codec on `x`, without an allocation."""
    wire = _core.encode(codec, x)
    out = np.zeros_like(x)
    return {
        "encode": lambda: _core.encode(codec, x, out=wire, implementation=implementation),
        "decode": lambda: _core.decode(codec, wire, x.size, out=out, implementation=implementation),
        "decode_add": lambda: _core.decode_add(
            codec, wire, 0.25, out, implementation=implementation
        ),
    }


def measure(elements: int, repeats: int) -> list[dict[str, Any]]:
    """One row an operation. memcpy is timed before and after each, and the better one counts."""
    x = np.random.default_rng(0).standard_normal(elements, dtype=np.float32)
    copy = np.zeros_like(x)

    def memcpy() -> float:
        return x.nbytes / best_seconds(lambda: np.copyto(copy, x), repeats) / 1e9

    rows = []
    for codec in [row["name"] for row in _core.codec_table()]:
        for implementation in _core.codec_implementations():
            for operation, action in actions(codec, implementation, x).items():
                before = memcpy()
                rate = x.nbytes / best_seconds(action, repeats) / 1e9
                reference = max(before, memcpy())
                rows.append(
                    {
                        "codec": codec,
                        "implementation": implementation,
                        "operation": operation,
                        "elements": elements,
                        "gb_per_s": round(rate, 2),
                        "memcpy_gb_per_s": round(reference, 2),
                        "of_memcpy": round(rate / reference, 2),
                    }
                )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=16 << 20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the JSON lines here, not to stdout")
    options = parser.parse_args()
    about = machine()
    rows = [about | row for row in measure(options.elements, options.repeats)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if options.out:
        options.out.write_text(lines)
    else:
        sys.stdout.write(lines)
    print(f"{'codec':8}{'code':10}{'operation':12}{'GB/s':>8}{'of memcpy':>11}", file=sys.stderr)
    for row in rows:
        print(
            f"{row['codec']:8}{row['implementation']:10}{row['operation']:12}"
            f"{row['gb_per_s']:8.2f}{row['of_memcpy']:11.2f}",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
