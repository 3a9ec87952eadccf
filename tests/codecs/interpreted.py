"""Runs the codecs' Triton kernels in Triton's interpreter, as a program of its own.

TRITON_INTERPRET counts when triton is imported, and the tests' own process compiles kernels. Reads
each codec's cases from an .npz file of a folder (test_triton.py), and writes what the kernels made
of them to one of another folder.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from isthmus.kernels import codecs


def residual_of(case: dict[str, np.ndarray], kind: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(case["residual"].copy()).to(kind)


def made_of(codec: str, case: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kernels = codecs.device(codec)
    x, total = torch.from_numpy(case["x"]), torch.from_numpy(case["total"].copy())
    wire = kernels.encode(x)
    kernels.decode_add(wire, float(case["weight"]), total)
    stored = torch.from_numpy(wire.numpy().copy())  # an empty one has other strides
    made: dict[str, Any] = {
        "wire": wire,
        "sum": total,
        "decoded": kernels.decode(stored, x.numel()),
    }
    if codecs.feeds(codec):
        for kind in (torch.float32, torch.bfloat16):
            name = str(kind).removeprefix("torch.")
            now, left = residual_of(case, kind), residual_of(case, kind)
            given = {"residual": now, "next_residual": left, "beta": float(case["beta"])}
            made[f"fed {name}"] = kernels.encode(x, **given)
            kernels.encode(x, residual=now, next_residual=now, beta=float(case["beta"]))
            made[f"left {name}"] = left.view(torch.int16) if kind == torch.bfloat16 else left
            made[f"in place {name}"] = now.view(torch.int16) if kind == torch.bfloat16 else now
    if codecs.dithers(codec):
        made["dithered"] = kernels.encode(x, dither=tuple(int(n) for n in case["dither"]))
    return {key: value.numpy() for key, value in made.items()}


def make(codec: str, source: Path, target: Path) -> None:
    found: dict[str, np.ndarray] = {}
    with np.load(source) as file:
        names = {key.split("/")[0] for key in file.files}
        for number in sorted(names, key=int):
            case = {k.split("/")[1]: file[k] for k in file.files if k.startswith(f"{number}/")}
            found |= {f"{number}/{key}": value for key, value in made_of(codec, case).items()}
    np.savez(target, **found)


def main(sources: str, targets: str) -> None:
    np.seterr(all="ignore")
    for source in Path(sources).iterdir():
        make(source.stem, source, Path(targets) / source.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
