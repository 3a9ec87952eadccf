"""Codecs on one core: GB/s of float32 elements, as a fraction of memcpy in the same run, and error.

All buffers are warm; memcpy copies as many bytes as the elements have and is timed before and after
each row: the better one counts. owner: two wires summed, halved and encoded, which a rank does to
its share. The rows of torch (a chain of eager calls), bitsandbytes and torchao, on one thread, are
what a user has without isthmus; they are there if they are installed, and `to best` is the ratio to
the best of them. error: |decoded - x| / |x| of standard normal values; contraction: |residual| /
|x| after 100 steps of feedback. --save also draws docs/codecs.svg, which needs matplotlib.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import _core
from isthmus.bench import options
from isthmus.bench.codec_peers import Action, peers
from isthmus.bench.rows import Coding, Ledger
from isthmus.bench.table import show
from isthmus.errors import Refused

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


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Of a codec, the same in every implementation."""

    bits: float | None = None
    error: float | None = None
    contraction: float | None = None


nothing = Accuracy()


def accuracy(row: dict[str, Any]) -> Accuracy:
    codec = row["name"]
    x = np.random.default_rng(1).standard_normal(1 << 18).astype(np.float32)
    wire = _core.encode(codec, x)
    error = np.linalg.norm(_core.decode(codec, wire, x.size) - x) / np.linalg.norm(x)
    return Accuracy(
        bits=round(8 * wire.nbytes / x.size, 3),
        error=round(float(error), 4),
        contraction=contraction(codec) if row["feedback"] else None,
    )


def wanted(names: list[str] | None) -> list[dict[str, Any]]:
    table = _core.codec_table()
    if names is None:
        return [row for row in table if row["variant"] == 0]
    unknown = set(names) - {row["name"] for row in table}
    if unknown:
        raise Refused(f"no codec {', '.join(sorted(unknown))}")
    return [row for row in table if row["name"] in names]


class Bench:
    """Times one operation after another, each between two copies; what is kept may be left out."""

    def __init__(self, settings: argparse.Namespace, ledger: Ledger) -> None:
        self.ledger_ = ledger
        self.repeats_ = settings.repeats
        self.x, self.copy_ = zeros(settings.elements), zeros(settings.elements)
        self.x[:] = np.random.default_rng(0).standard_normal(self.x.size, dtype=np.float32)

    def memcpy(self) -> float:
        seconds = best_seconds(lambda: np.copyto(self.copy_, self.x), self.repeats_)
        return float(self.x.nbytes / seconds / 1e9)

    def time(
        self,
        codec: str,
        implementation: str,
        operation: str,
        action: Action,
        *,
        about: Accuracy = nothing,
    ) -> None:
        if self.ledger_.has(codec, implementation, operation):
            return
        before = self.memcpy()
        rate = self.x.nbytes / best_seconds(action, self.repeats_) / 1e9
        reference = max(before, self.memcpy())
        self.ledger_.add(
            Coding(
                codec=codec,
                implementation=implementation,
                operation=operation,
                elements=self.x.size,
                gb_per_s=round(rate, 2),
                memcpy_gb_per_s=round(reference, 2),
                of_memcpy=round(rate / reference, 3),
                bits=about.bits,
                error=about.error,
                contraction=about.contraction,
            )
        )

    def all(self, names: list[str] | None) -> None:
        """Every codec, clip and noise, and what others make of the same values."""
        rows = wanted(names)
        for row in rows:
            about = accuracy(row)
            for implementation in _core.codec_implementations():
                for operation, action in actions(row, implementation, self.x).items():
                    self.time(row["name"], implementation, operation, action, about=about)
        for implementation in _core.codec_implementations():
            for operation, action in noise_actions(implementation, self.x).items():
                self.time("dp", implementation, operation, action)
        if importlib.util.find_spec("torch") is None:
            print("torch is not installed: nothing to compare the codecs with")
            return
        known = {row["name"] for row in rows}
        for library, codec, operation, action in peers(self.x):
            if codec in known:
                self.time(codec, library, operation, action)


def plot(rows: Sequence[Coding], path: Path) -> None:
    """The best implementation's operations, as fractions of memcpy."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "isthmus"
    from matplotlib import pyplot

    best = _core.codec_implementations()[-1]
    operations = ["encode", "encode, residual", "decode_add"]
    names = list(dict.fromkeys(row.codec for row in rows if row.codec != "dp"))
    figure, panel = pyplot.subplots(figsize=(9, 3.6))
    for i, operation in enumerate(operations):
        found = {
            row.codec: row.of_memcpy
            for row in rows
            if row.implementation == best and row.operation == operation
        }
        places = [n + 0.27 * (i - 1) for n, name in enumerate(names) if name in found]
        panel.bar(places, list(found.values()), 0.25, label=operation)
    panel.axhline(1, color="black", linewidth=0.7)
    panel.set_xticks(range(len(names)), names)
    panel.set_ylabel(f"of memcpy ({best}, one core)")
    panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str]) -> int:
    parser = options.parser("codecs", __doc__)
    parser.add_argument("--elements", type=int, default=16 << 20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--codecs", nargs="+", help="default: all but variants")
    settings = parser.parse_args(argv)
    if settings.save:
        options.require("codecs --save", "matplotlib")
    ledger = options.ledger("codecs", settings, argv)
    Bench(settings, ledger).all(settings.codecs)
    show(ledger)
    if settings.save:
        rows = [row for row in ledger.rows if isinstance(row, Coding)]
        plot(rows, Path("docs/codecs.svg"))
    return 0
