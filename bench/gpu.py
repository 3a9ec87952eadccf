"""The Triton kernels on a CUDA device: checked against the golden vectors, then timed (`make gpu`).

    python bench/gpu.py [--elements N] [--repeats N] [--out FILE]

Needs torch, triton and NumPy, and no build of isthmus: the kernels are read from the source tree.
Where there is nvcc, the CUDA encoders are compiled too and compared with Triton's. Each kernel is
timed beside a copy on the device in the same run; both count the bytes that they read and write.
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
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Action = Callable[[], object]

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


def on_device(array: Any) -> Any:
    """A copy on the device; uint16 words are bfloat16."""
    import torch

    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16).copy()).cuda().view(torch.bfloat16)
    return torch.from_numpy(array.copy()).cuda()


def on_host(tensor: Any) -> Any:
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).cpu().numpy().view(np.uint16)
    return tensor.cpu().numpy()


@dataclass(frozen=True)
class Case:
    """Elements, and what was left of the step before."""

    name: str
    x: Any
    residual: Any
    weight: float
    total: Any


def same(mine: Any, theirs: Any) -> bool:
    """Equal bit for bit, except that any NaN equals any NaN (results of arithmetic)."""
    from isthmus.kernels.codecs import vectors

    if mine.dtype == np.float32:
        return vectors.same(mine, theirs)
    nans = (mine & 0x7FFF) > 0x7F80
    others = (theirs & 0x7FFF) > 0x7F80
    return bool((nans == others).all() and (mine[~nans] == theirs[~nans]).all())


def check(codec: str, case: Case) -> list[str]:
    """How the kernels differ from the reference on one case; empty when they agree."""
    from isthmus.kernels import codecs
    from isthmus.kernels.codecs.reference import Dither, bf16_bits

    kernels, reference = codecs.device(codec), codecs.reference(codec)
    x, wire, expected = on_device(case.x), reference.encode(case.x), case.total.copy()
    reference.decode_add(wire, case.weight, expected)
    result = on_device(case.total)
    kernels.decode_add(on_device(wire), case.weight, result)
    decoded = on_host(kernels.decode(on_device(wire), case.x.size))
    agreed = {
        "encode": on_host(kernels.encode(x)).tobytes() == wire.tobytes(),
        "decode": decoded.tobytes() == reference.decode(wire, case.x.size).tobytes(),
        "decode_add": same(on_host(result), expected),
    }
    if codecs.feeds(codec):
        for residual in (case.residual, bf16_bits(case.residual)):
            fed, left = reference.encode_with_feedback(case.x, residual, beta=0.95)
            now = on_device(residual)
            made = kernels.encode(x, residual=now, next_residual=now, beta=0.95)
            well = on_host(made).tobytes() == fed.tobytes() and same(on_host(now), left)
            agreed[f"encode, {residual.dtype} residual"] = well
    if codecs.dithers(codec):
        place = Dither(key=2**63 + 11, step=3, bucket=5, stream=1, group=40)
        made = kernels.encode(x, dither=(2**63 + 11, 40, 3, 5, 1))
        dithered = reference.encode(case.x, dither=place)
        agreed["encode, stochastic"] = on_host(made).tobytes() == dithered.tobytes()
    return [f"{codec}: {case.name}: {what} differs" for what, well in agreed.items() if not well]


def check_all(codec: str) -> tuple[int, list[str]]:
    """The golden vectors and random bits of ragged lengths: how many cases, and what differs."""
    from isthmus.kernels.codecs import vectors

    cases = [
        Case(v.name, v.input, np.roll(v.total, 1), v.weight, v.total) for v in vectors.load(codec)
    ]
    rng = np.random.default_rng(7)
    for elements in (1023, 1024, 1025, 1 << 20, (1 << 20) + 7):
        words = rng.integers(0, 2**32, elements, dtype=np.uint32).view(np.float32)
        ordinary = rng.standard_normal(elements).astype(np.float32)
        start, left = vectors.normal(elements, elements), vectors.normal(elements, 1)
        cases.append(Case(f"{elements} random words", words, left, 1 / 3, start))
        cases.append(Case(f"{elements} normal values", ordinary, left, 1 / 3, start))
    stale = vectors.differences(codec)
    return len(cases), stale + [line for case in cases for line in check(codec, case)]


def check_cuda(codec: str, encoder: Any) -> list[str]:
    """How the CUDA encoder differs from the Triton kernels, which were checked before."""
    import torch
    from isthmus.kernels import codecs

    kernels, wrong = codecs.device(codec), []
    for elements in (1, 127, 4096, 4099, (1 << 20) + 7):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(elements, device="cuda")
            x[:: max(1, elements // 3)] *= 1e4
            now = torch.randn(elements, device="cuda").to(dtype)
            expected, made = torch.empty_like(now), torch.empty_like(now)
            right = kernels.encode(x, residual=now, next_residual=expected, beta=0.95)
            wire = torch.full_like(right, 77)
            encoder.encode(x, wire, residual=now, next_residual=made, beta=0.95)
            if not (torch.equal(wire, right) and torch.equal(made, expected)):
                wrong.append(f"{codec}: CUDA, {elements} elements, {dtype} residual: differs")
    return wrong


def cuda_encoders() -> dict[str, Any]:
    """By codec; empty where there is no nvcc."""
    from isthmus.kernels.codecs import cuda

    if cuda.compiler() is None:
        print("no nvcc: the CUDA encoders are left out", file=sys.stderr)
        return {}
    module = cuda.build(Path(tempfile.mkdtemp(prefix="isthmus-cuda-")))
    return {codec: cuda.Encoder(module, codec) for codec in cuda.CODECS}


def milliseconds(action: Action, repeats: int) -> float:
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


def operations(codec: str, x: Any, encoder: Any = None) -> dict[str, tuple[Action, int]]:
    """Each operation of a codec, and the bytes that it must read and write at the least."""
    import torch
    from isthmus.kernels import codecs

    kernels = codecs.device(codec)
    target, wire = torch.empty_like(x), kernels.encode(x)
    elements, size, packed = x.numel(), x.nbytes, wire.nbytes
    kept = 64 / 4096 if codec == "topk" else 1  # decode_add touches these elements alone
    found: dict[str, tuple[Action, int]] = {
        "encode": (lambda: kernels.encode(x, wire), size + packed),
        "decode": (lambda: kernels.decode(wire, elements, target), packed + size),
        "decode_add": (
            lambda: kernels.decode_add(wire, 0.25, target),
            packed + int(2 * size * kept),
        ),
    }
    if codecs.feeds(codec):
        for dtype in (torch.float32, torch.bfloat16):
            left = torch.zeros(elements, dtype=dtype, device=x.device)

            def fed(left: Any = left) -> None:
                kernels.encode(x, wire, residual=left, next_residual=left)

            name = str(dtype).removeprefix("torch.")
            found[f"encode, {name} residual"] = (fed, size + 2 * left.nbytes + packed)
            if encoder is not None:

                def fed_by_cuda(left: Any = left) -> None:
                    encoder.encode(x, wire, residual=left, next_residual=left)

                moved = size + 2 * left.nbytes + packed
                found[f"encode, {name} residual, CUDA"] = (fed_by_cuda, moved)
    if codecs.dithers(codec):
        found["encode, stochastic"] = (
            lambda: kernels.encode(x, wire, dither=(1, 2, 3, 4, 5)),
            size + packed,
        )
    return found


def eager(x: Any) -> dict[str, Action]:
    """int4 and topk with feedback as a chain of eager torch calls: what a user has without us."""
    import torch

    residual = torch.zeros_like(x)

    def int4() -> None:
        p = x + residual
        blocks = p.view(-1, 128)
        scale = blocks.abs().amax(1, keepdim=True) / 7
        codes = (blocks / scale.clamp_min(1e-30)).round().to(torch.int8)
        flat = codes.view(-1)
        (flat[0::2] & 15) | (flat[1::2] << 4)
        residual.copy_((blocks - codes * scale).view(-1))

    def topk() -> None:
        p = x + residual
        blocks = p.view(-1, 4096)
        places = blocks.abs().topk(64, dim=1, sorted=False).indices
        kept = blocks.gather(1, places)
        left = kept - kept.sign() * kept.abs().mean(1, keepdim=True)
        residual.copy_(blocks.scatter(1, places, left).view(-1))

    return {"int4": int4, "topk": topk}


def measure(codec: str, elements: int, repeats: int, encoder: Any) -> list[dict[str, Any]]:
    """One row an operation, each with a device copy timed just before it."""
    import torch

    x = torch.randn(elements, device="cuda")
    chain = eager(x).get(codec)
    rows = []
    for operation, (action, moved) in operations(codec, x, encoder).items():
        row = timed_row(codec, operation, x, action, moved, repeats)
        if chain is not None and operation == "encode, float32 residual":
            theirs = milliseconds(chain, max(3, repeats // 4))
            row["eager_over_ours"] = round(theirs / row["ms"], 1)
        rows.append(row)
    return rows


def timed_row(
    codec: str, operation: str, x: Any, action: Action, moved: int, repeats: int
) -> dict[str, Any]:
    import torch

    target = torch.empty_like(x)
    copy = 2 * x.nbytes / milliseconds(lambda: target.copy_(x), repeats) / 1e6
    time = milliseconds(action, repeats)
    return {
        "codec": codec,
        "operation": operation,
        "elements": x.numel(),
        "ms": round(time, 4),
        "ms_per_gb_of_float32": round(time / x.nbytes * 1e9, 4),
        "bytes_per_element": round(moved / x.numel(), 3),
        "gb_per_s": round(moved / time / 1e6, 1),
        "copy_gb_per_s": round(copy, 1),
        "of_copy": round(moved / time / 1e6 / copy, 3),
    }


def measure_noise(elements: int, repeats: int) -> list[dict[str, Any]]:
    """Norm, clip and noise, and all of it with int4's encoding; beside a copy."""
    import torch
    from isthmus.kernels import codecs
    from isthmus.kernels.codecs.triton import Noise
    from isthmus.kernels.dp.clip_noise import triton as kernels

    x = torch.randn(elements, device="cuda")
    target, left = torch.empty_like(x), torch.zeros_like(x)
    int4 = codecs.device("int4")
    wire = int4.encode(x)

    def noise() -> Noise:
        factor = kernels.clip_factor(kernels.sum_of_squares(x), 1.0)
        return Noise(factor, 1.0, 2**63 + 5, 1, 2, 3, 4)

    actions: dict[str, tuple[Action, int]] = {
        "norm, then clip and noise": (lambda: kernels.clip_noise(x, noise(), target), 3 * x.nbytes),
        "norm, clip, noise, int4": (
            lambda: int4.encode(x, wire, residual=left, next_residual=left, noise=noise()),
            4 * x.nbytes + wire.nbytes,
        ),
    }
    return [timed_row("clip_noise", name, x, *action, repeats) for name, action in actions.items()]


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
    encoders = cuda_encoders()
    wrong = [line for codec, encoder in encoders.items() for line in check_cuda(codec, encoder)]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    size, repeats = options.elements, options.repeats
    rows = [row for codec in NAMES for row in measure(codec, size, repeats, encoders.get(codec))]
    rows += measure_noise(size, repeats)
    made = report({codec: cases for codec, (cases, _) in checks.items()}, rows)
    name = re.sub(r"[^A-Za-z0-9]+", "-", made["device"]).strip("-")
    path = options.out or ROOT / "bench" / "results" / f"gpu-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['codec']:15}{row['operation']:26}{row['ms']:9.4f} ms{row['gb_per_s']:9.1f} GB/s"
            f"{row['of_copy']:7.3f} of a copy"
            + (
                f", eager torch takes {row['eager_over_ours']} x"
                if "eager_over_ours" in row
                else ""
            )
        )
    print(f"every vector agrees; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
