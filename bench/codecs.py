"""Codecs on one core: GB/s of float32 elements, as a fraction of memcpy in the same run, and error.

    python bench/codecs.py [--elements N] [--repeats N] [--codecs int4 …] [--save]

One JSON line for each codec, implementation and operation, then a table. All buffers are warm;
memcpy copies as many bytes as the elements have and is timed before and after each row: the better
one counts. owner: two wires summed, halved and encoded, which a rank does to its share. The rows of
torch (a chain of eager calls), bitsandbytes and torchao, on one thread, are what a user has without
isthmus; they are there if they are installed, and `to best` is the ratio to the best of them.
error: |decoded - x| / |x| of standard normal values;
contraction: |residual| / |x| after 100 steps of feedback. --save writes
bench/results/codecs.jsonl, in which other processors' rows stay, and docs/codecs.svg.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from codec_peers import Action, peers
from isthmus import _core
from results import FOLDER, machine

PLACE = (1, 2, 3, 4)  # of stochastic rounding
OWNER_TERMS = 2
NOISE = (0.5, 1.0, *PLACE)  # factor and spread


def zeros(elements: int, dtype: Any = np.float32) -> Any:
    """Aligned to 64 bytes, as torch's memory is."""
    width = np.dtype(dtype).itemsize
    memory = np.zeros(elements * width + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + elements * width].view(dtype)


def best_seconds(action: Action, repeats: int) -> float:
    """The fastest of `repeats` runs, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def actions(row: dict[str, Any], implementation: str, x: Any) -> dict[str, Action]:
    """Each operation of a codec on `x`, without an allocation."""
    codec = row["name"]
    wire = _core.encode(codec, x)
    out = zeros(x.size)

    def encode(**options: Any) -> Action:
        return lambda: _core.encode(codec, x, out=wire, implementation=implementation, **options)

    found = {"encode": encode()}
    if row["feedback"]:
        now, left = zeros(x.size), zeros(x.size)
        half, next_half = (zeros(x.size, np.uint16) for _ in range(2))
        found["encode, residual"] = encode(residual=now, next_residual=left)
        found["encode, bf16 residual"] = encode(residual=half, next_residual=next_half)
        found["clip, noise, encode"] = encode(residual=now, next_residual=left, noise=NOISE)
    if row["dithers"]:
        found["encode, stochastic"] = encode(dither=PLACE)
    how = {"implementation": implementation}
    if row["recodable"]:
        down = "int8" if codec in ("int8", "int4", "int2", "sign") else codec
        total, wires = zeros(x.size), [wire] * OWNER_TERMS
        room = np.zeros(_core.wire_size(down, x.size), np.uint8)
        found["owner"] = lambda: _core.sum_wires(
            codec, wires, total, divisor=OWNER_TERMS, down=down, out=room, **how
        )
    return found | {
        "decode": lambda: _core.decode(codec, wire, x.size, out=out, **how),
        "decode_add": lambda: _core.decode_add(codec, wire, 0.25, out, **how),
    }


def noise_actions(implementation: str, x: Any) -> dict[str, Action]:
    """Clip and noise by themselves; the sum of squares has one implementation."""
    out, how = zeros(x.size), {"implementation": implementation}
    return {
        "sum of squares": lambda: _core.sum_of_squares(x),
        "clip and noise": lambda: _core.clip_noise(x, NOISE, out=out, **how),
    }


def contraction(codec: str, steps: int = 100) -> float:
    rng = np.random.default_rng(0)
    left = np.zeros(1 << 15, np.float32)
    x = left
    for _ in range(steps):
        x = rng.standard_normal(left.size).astype(np.float32)
        _core.encode(codec, x, residual=left, next_residual=left)
    return round(float(np.linalg.norm(left) / np.linalg.norm(x)), 4)


def accuracy(row: dict[str, Any]) -> dict[str, Any]:
    """Bits, error and contraction of a codec: the same in every implementation."""
    codec = row["name"]
    x = np.random.default_rng(1).standard_normal(1 << 18).astype(np.float32)
    wire = _core.encode(codec, x)
    error = np.linalg.norm(_core.decode(codec, wire, x.size) - x) / np.linalg.norm(x)
    found: dict[str, Any] = {"bits": round(8 * wire.nbytes / x.size, 3)}
    found["error"] = round(float(error), 4)
    if row["feedback"]:
        found["contraction"] = contraction(codec)
    return found


def wanted(names: list[str] | None) -> list[dict[str, Any]]:
    table = _core.codec_table()
    if names is None:
        return [row for row in table if row["variant"] == 0]
    unknown = set(names) - {row["name"] for row in table}
    if unknown:
        raise SystemExit(f"no codec {', '.join(sorted(unknown))}")
    return [row for row in table if row["name"] in names]


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row an operation."""
    x, copy = zeros(options.elements), zeros(options.elements)
    x[:] = np.random.default_rng(0).standard_normal(x.size, dtype=np.float32)

    def memcpy() -> float:
        return float(x.nbytes / best_seconds(lambda: np.copyto(copy, x), options.repeats) / 1e9)

    def timed(codec: str, implementation: str, operation: str, action: Action) -> dict[str, Any]:
        before = memcpy()
        rate = x.nbytes / best_seconds(action, options.repeats) / 1e9
        reference = max(before, memcpy())
        return {
            "codec": codec,
            "implementation": implementation,
            "operation": operation,
            "elements": options.elements,
            "gb_per_s": round(rate, 2),
            "memcpy_gb_per_s": round(reference, 2),
            "of_memcpy": round(rate / reference, 3),
        }

    rows = []
    for row in wanted(options.codecs):
        about = accuracy(row)
        for implementation in _core.codec_implementations():
            for operation, action in actions(row, implementation, x).items():
                rows.append(timed(row["name"], implementation, operation, action) | about)
    names = {row["codec"] for row in rows}
    for implementation in _core.codec_implementations():
        for operation, action in noise_actions(implementation, x).items():
            rows.append(timed("dp", implementation, operation, action))
    for library, codec, operation, action in peers(x):
        if codec in names:
            rows.append(timed(codec, library, operation, action))
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    head = ("codec", "code", "operation", "GB/s", "of memcpy", "to best", "bits", "error")
    print("{:9}{:13}{:22}{:>7}{:>11}{:>9}{:>8}{:>8}".format(*head))
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["implementation"] not in _core.codec_implementations():
            key = row["codec"], row["operation"]
            best[key] = max(best.get(key, 0), row["of_memcpy"])
    for row in rows:
        theirs = best.get((row["codec"], row["operation"]))
        ratio = f"{row['of_memcpy'] / theirs:.1f}" if theirs else ""
        print(
            f"{row['codec']:9}{row['implementation']:13}{row['operation']:22}{row['gb_per_s']:7.2f}"
            f"{row['of_memcpy']:11.3f}{ratio:>9}{row.get('bits', ''):>8}{row.get('error', ''):>8}"
        )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """The best implementation's operations, as fractions of memcpy."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "isthmus"
    from matplotlib import pyplot

    best = _core.codec_implementations()[-1]
    operations = ["encode", "encode, residual", "decode_add"]
    names = list(dict.fromkeys(row["codec"] for row in rows if row["codec"] != "dp"))
    figure, panel = pyplot.subplots(figsize=(9, 3.6))
    for i, operation in enumerate(operations):
        found = {
            row["codec"]: row["of_memcpy"]
            for row in rows
            if row["implementation"] == best and row["operation"] == operation
        }
        places = [n + 0.27 * (i - 1) for n, name in enumerate(names) if name in found]
        panel.bar(places, list(found.values()), 0.25, label=operation)
    panel.axhline(1, color="black", linewidth=0.7)
    panel.set_xticks(range(len(names)), names)
    panel.set_ylabel(f"of memcpy ({best}, one core)")
    panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=16 << 20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--codecs", nargs="+", help="default: all but variants")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    about = machine()
    rows = measure(options)
    show(rows)
    lines = "".join(json.dumps(about | row) + "\n" for row in rows)
    if options.save:
        path = FOLDER / "codecs.jsonl"
        others = [
            line
            for line in path.read_text().splitlines(keepends=True)
            if json.loads(line)["processor"] != about["processor"]
        ]
        path.write_text("".join(others) + lines)
        plot(rows, FOLDER.parents[1] / "docs" / "codecs.svg")
    else:
        print(lines, file=sys.stderr, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
