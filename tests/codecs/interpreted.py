"""Runs a codec's Triton kernels in Triton's interpreter, as a program of its own.

TRITON_INTERPRET counts when triton is imported, and the tests' own process compiles kernels. Reads
cases from one .npz file and writes what the kernels made of them to another.
"""

import sys

import numpy as np
import torch
from isthmus.kernels.codecs import device


def main(codec: str, source: str, target: str) -> None:
    """`source`: x0, weight0, total0, x1, …; `target`: wire0, decoded0, sum0, wire1, …"""
    kernels = device(codec)
    made = {}
    with np.load(source) as cases:
        for i in range(len(cases.files) // 3):
            x = torch.from_numpy(cases[f"x{i}"])
            total = torch.from_numpy(cases[f"total{i}"])
            wire = kernels.encode(x)
            kernels.decode_add(wire, float(cases[f"weight{i}"]), total)
            made[f"wire{i}"] = wire.numpy()
            stored = torch.from_numpy(wire.numpy().copy())  # an empty one has other strides
            made[f"decoded{i}"] = kernels.decode(stored, x.numel()).numpy()
            made[f"sum{i}"] = total.numpy()
    np.savez(target, **made)


if __name__ == "__main__":
    main(*sys.argv[1:])
