"""Golden vectors: what every implementation of a codec must make of given elements.

`python -m isthmus.kernels.codecs.vectors --check | --write` compares the vectors.json of each
folder with its NumPy reference, or makes them anew. Fields that are bytes are base64: `input`
(float32), `wire`, `decoded` (float32), `total` (float32, before decode_add) and `sum` (after it).
Where the codec takes feedback: `residual` (float32), and the `fed_wire` and `next_residual` that
come of it with a beta of 0.95. Where it dithers: `dithered`, the wire at DITHER. NaNs that are
results of arithmetic are 0x7fc00000. Little endian.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isthmus.kernels.codecs import FOLDERS, NAMES, dithers, feeds, folder_of, reference
from isthmus.kernels.codecs.reference import Dither
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

QUIET_NAN = 0x7FC00000
SIZES = (0, 1, 7, 128, 129, 4097)
BETA = 0.95
DITHER = Dither(key=0x0123456789ABCDEF, step=3, bucket=5, stream=1, group=40)


@dataclass(frozen=True)
class Vector:
    """One golden vector; all arrays are flat."""

    name: str
    input: Floats
    wire: Bytes
    decoded: Floats
    weight: float
    total: Floats
    sum: Floats
    residual: Floats
    fed_wire: Bytes
    next_residual: Floats
    dithered: Bytes


def same(a: Floats, b: Floats) -> bool:
    """Equal bit for bit, except that any NaN equals any NaN (results of arithmetic)."""
    return bool(np.array_equal(canonical(a).view(np.uint32), canonical(b).view(np.uint32)))


def canonical(x: Floats) -> Floats:
    words = x.view(np.uint32).copy()
    words[np.isnan(x)] = QUIET_NAN
    values: Floats = words.view(np.float32)
    return values


def normal(elements: int, seed: int) -> Floats:
    """Heavy-tailed values, as gradients are."""
    rng = np.random.Generator(np.random.PCG64(seed))
    scale: Floats = np.exp2(rng.integers(-20, 4, elements)).astype(np.float32)
    mantissas: Floats = rng.integers(-(1 << 12), 1 << 12, elements).astype(np.float32)
    values: Floats = scale * mantissas
    return values


def adversarial() -> dict[str, Floats]:
    """Values at the edges of float32 and of its roundings."""
    words = {
        "zeros": [0x00000000, 0x80000000],
        "denormals": [1, 0x7FFF, 0x8000, 0x8001, 0x18000, 0x7FFFFF, 0x80000001, 0x807F8000],
        "smallest normals": [0x00800000, 0x80800000, 0x00800001, 0x00808000],
        "ties": [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF808000, 0xBF818000],
        "carries": [0x3FFF8000, 0x3FFFFFFF, 0x3F7FFFFF, 0x407F8000, 0xC07FFFFF],
        "huge": [0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0xFF7FFFFF, 0xFF7F7FFF, 0x7F000000],
        "infinities": [0x7F800000, 0xFF800000, 0x3F800000],
        "NaNs": [
            0x7F800001,
            0x7FC00000,
            0x7FFFFFFF,
            0xFF800001,
            0xFFFFFFFF,
            0x7F808000,
            0x7FBFFFFF,
        ],
    }
    return {name: np.array(value, np.uint32).view(np.float32) for name, value in words.items()}


def make(codec: str) -> list[Vector]:
    """The vectors of a codec, from its reference. Variants of a folder's codec get a few only."""
    inputs = {f"{size} elements": normal(size, size) for size in SIZES}
    if codec in FOLDERS:
        inputs |= adversarial()
        inputs["one huge value"] = np.concatenate(
            [normal(300, 1), np.full(1, 3e38, np.float32), normal(83, 2)]
        )
        inputs["largest"] = np.full(130, np.finfo(np.float32).max)
        inputs["all edges"] = np.concatenate(list(adversarial().values()))
        inputs["all edges, twice and ragged"] = np.tile(inputs["all edges"], 5)[:201]
    weights = (1.0, 0.3, -2.5, 0.0, 1e-30)
    return [
        _vector(codec, name, x, float(np.float32(weights[i % len(weights)])))
        for i, (name, x) in enumerate(inputs.items())
    ]


def load(codec: str) -> list[Vector]:
    """The vectors of a codec, from its folder's vectors.json."""
    rows: list[dict[str, Any]] = json.loads(_path(folder_of(codec)).read_text())
    return [_from_row(row) for row in rows if row["codec"] == codec]


def write(folder: str) -> None:
    rows = [_row(name, v) for name in NAMES if folder_of(name) == folder for v in make(name)]
    lines = ",\n".join(json.dumps(row) for row in rows)
    _path(folder).write_text(f"[\n{lines}\n]\n")


def differences(codec: str) -> list[str]:
    """Where vectors.json is not what the reference makes; empty when all is well."""
    made = {vector.name: _row(codec, vector) for vector in make(codec)}
    found = {vector.name: _row(codec, vector) for vector in load(codec)}
    report = [f"{codec}: no vector {name!r}" for name in made.keys() - found.keys()]
    report += [f"{codec}: unknown vector {name!r}" for name in found.keys() - made.keys()]
    for name in made.keys() & found.keys():
        for field, value in made[name].items():
            if found[name][field] != value:
                report.append(f"{codec}: vector {name!r}: {field} differs from the reference")
    return sorted(report)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compare with the references")
    action.add_argument("--write", action="store_true", help="make the files anew")
    options = parser.parse_args(arguments)
    if options.write:
        for folder in FOLDERS:
            write(folder)
        return 0
    report = [line for codec in NAMES for line in differences(codec)]
    print("\n".join(report) or f"vectors of {', '.join(NAMES)} are as the references make them")
    return 1 if report else 0


def _vector(codec: str, name: str, x: Floats, weight: float) -> Vector:
    kernels = reference(codec)
    wire = kernels.encode(x)
    total = np.resize(np.array([0.0, -0.0, 1.5, -3.25, 1e-3, 7e4, -1e30], np.float32), x.size)
    result = total.copy()
    kernels.decode_add(wire, weight, result)
    none = np.zeros(0, np.float32)
    residual, fed_wire, left = none, none.view(np.uint8), none
    if feeds(codec):
        residual = np.roll(np.where(np.isfinite(x), x, np.float32(1)), 3) * np.float32(0.25)
        fed_wire, after = kernels.encode_with_feedback(x, residual, beta=BETA)
        left = after.view(np.float32)
    return Vector(
        name=name,
        input=x,
        wire=wire,
        decoded=kernels.decode(wire, x.size),
        weight=weight,
        total=total,
        sum=canonical(result),
        residual=residual,
        fed_wire=fed_wire,
        next_residual=canonical(left),
        dithered=kernels.encode(x, dither=DITHER) if dithers(codec) else none.view(np.uint8),
    )


_FLOATS = ("input", "decoded", "total", "sum", "residual", "next_residual")
_BYTES = ("wire", "fed_wire", "dithered")


def _row(codec: str, vector: Vector) -> dict[str, Any]:
    row: dict[str, Any] = {"codec": codec, "name": vector.name, "weight": vector.weight}
    return row | {field: _text(getattr(vector, field)) for field in (*_FLOATS, *_BYTES)}


def _from_row(row: dict[str, Any]) -> Vector:
    fields: dict[str, Any] = {field: _floats(row[field]) for field in _FLOATS}
    fields |= {field: _bytes(row[field]) for field in _BYTES}
    return Vector(name=row["name"], weight=row["weight"], **fields)


def _path(codec: str) -> Path:
    return Path(__file__).with_name(codec) / "vectors.json"


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _bytes(text: str) -> Bytes:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def _floats(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
