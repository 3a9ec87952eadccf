"""The Triton kernels on a CUDA device: checked against the golden vectors, then timed (`make gpu`).

    python bench/gpu.py [--elements N] [--repeats N] [--out FILE]

Needs torch, triton and NumPy, and no build: the kernels are read from the source tree. Each kernel
is timed beside a copy on the device in the same run; both count the bytes that they read and write.
Writes bench/results/gpu-<device name>.json. Ends with status 2 where there is no device, and with
status 1 where a kernel makes other bytes than the vectors say; then nothing is timed or written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def use_kernels_of_the_tree() -> None:
    """Let `isthmus.kernels` be the source folder, without the rest of the package."""
    sys.modules["isthmus"] = types.ModuleType("isthmus")
    folder = ROOT / "kernels"
    spec = importlib.util.spec_from_file_location(
        "isthmus.kernels", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["isthmus.kernels"] = module
    spec.loader.exec_module(module)


def check(codec: str, x: Any, weight: float, total: Any, name: str) -> list[str]:
    """How the kernels differ from the reference on one case; empty when they agree."""
    import torch
    from isthmus.kernels import codecs
    from isthmus.kernels.codecs import vectors

    kernels, reference = codecs.device(codec), codecs.reference(codec)
    wire = reference.encode(x)
    expected = total.copy()
    codecs.reference(codec).decode_add(wire, weight, expected)

    made = kernels.encode(torch.from_numpy(x.copy()).cuda())
    decoded = kernels.decode(torch.from_numpy(wire.copy()).cuda(), x.size)
    result = torch.from_numpy(total.copy()).cuda()
    kernels.decode_add(torch.from_numpy(wire.copy()).cuda(), weight, result)
    agreed = {
        "encode": made.cpu().numpy().tobytes() == wire.tobytes(),
        "decode": decoded.cpu().numpy().tobytes() == reference.decode(wire, x.size).tobytes(),
        "decode_add": vectors.same(result.cpu().numpy(), expected),
    }
    return [f"{codec}: {name}: {what} differs" for what, well in agreed.items() if not well]


def check_all(codec: str) -> tuple[int, list[str]]:
    """The golden vectors and random bits of ragged lengths: how many cases, and what differs."""
    from isthmus.kernels.codecs import vectors

    cases = [(v.input, v.weight, v.total, v.name) for v in vectors.load(codec)]
    rng = np.random.default_rng(7)
    for elements in (1023, 1024, 1025, 1 << 20, (1 << 20) + 7):
        words = rng.integers(0, 2**32, elements, dtype=np.uint32).view(np.float32)
        start = vectors.normal(elements, elements)
        cases.append((words, 1 / 3, start, f"{elements} random words"))
    stale = vectors.differences(codec)
    return len(cases), stale + [line for case in cases for line in check(codec, *case)]


def milliseconds(action: Callable[[], object], repeats: int) -> float:
    """The median time of `repeats` runs on the device, after a few to warm up and to compile."""
    import torch

    for _ in range(3):
        action()
    pairs = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        action()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in pairs)


def measure(codec: str, elements: int, repeats: int) -> list[dict[str, Any]]:
    """One row an operation, each with a device copy timed just before it."""
    import torch
    from isthmus.kernels import codecs

    kernels = codecs.device(codec)
    x = torch.randn(elements, device="cuda")
    target = torch.empty_like(x)
    wire = kernels.encode(x)
    actions: dict[str, tuple[Callable[[], object], int]] = {
        "encode": (lambda: kernels.encode(x, wire), x.nbytes + wire.nbytes),
        "decode": (lambda: kernels.decode(wire, elements, target), wire.nbytes + x.nbytes),
        "decode_add": (
            lambda: kernels.decode_add(wire, 0.25, target),
            wire.nbytes + 2 * x.nbytes,
        ),
    }
    rows = []
    for operation, (action, moved) in actions.items():
        copy = 2 * x.nbytes / milliseconds(lambda: target.copy_(x), repeats) / 1e6
        time = milliseconds(action, repeats)
        rows.append(
            {
                "codec": codec,
                "operation": operation,
                "elements": elements,
                "ms": round(time, 4),
                "ms_per_gb_of_float32": round(time / x.nbytes * 1e9, 4),
                "gb_per_s": round(moved / time / 1e6, 1),
                "copy_gb_per_s": round(copy, 1),
                "of_copy": round(moved / time / 1e6 / copy, 3),
            }
        )
    return rows


def report(checked: dict[str, int], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written: the machine, the commit, the checks and the figures."""
    import torch
    import triton

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "device": torch.cuda.get_device_name(),
        "commit": commit.stdout.strip() or "unknown",
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cases_that_agree": checked,
        "rows": rows,
    }


def device_missing() -> str | None:
    """Why the kernels cannot run here, in a sentence; None when they can."""
    try:
        import torch
        import triton  # noqa: F401
    except ImportError as error:
        return f"bench/gpu.py needs torch and triton: {error}"
    if not torch.cuda.is_available():
        return (
            f"bench/gpu.py needs a CUDA device, and torch {torch.__version__} finds none here; "
            "nothing was checked or timed."
        )
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--elements", type=int, default=1 << 28)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, help="instead of bench/results/gpu-<device name>.json")
    options = parser.parse_args()
    if missing := device_missing():
        print(missing, file=sys.stderr)
        return 2
    use_kernels_of_the_tree()
    from isthmus.kernels.codecs import NAMES

    checks = {codec: check_all(codec) for codec in NAMES}
    wrong = [line for _, lines in checks.values() for line in lines]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    rows = [row for codec in NAMES for row in measure(codec, options.elements, options.repeats)]
    made = report({codec: cases for codec, (cases, _) in checks.items()}, rows)
    name = re.sub(r"[^A-Za-z0-9]+", "-", made["device"]).strip("-")
    path = options.out or ROOT / "bench" / "results" / f"gpu-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['codec']:6}{row['operation']:12}{row['ms']:9.4f} ms{row['gb_per_s']:9.1f} GB/s"
            f"{row['of_copy']:7.3f} of a copy"
        )
    print(f"every vector agrees; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
