"""The CUDA C++ encoders: int4 and topk with error feedback, to be compared with Triton's.

A module of its own, made on demand by nvcc with the CUDA runtime linked in: nothing else of isthmus
depends on it. Its functions take pointers and a stream as integers.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SOURCES = Path(__file__).parent
CODECS = ("int4", "topk")
FLAGS = ("-std=c++20", "-O3", "-fmad=false", f"-I{SOURCES.parent}")
ALIGNMENT = 16


def source(codec: str) -> Path:
    return SOURCES / codec / "cuda.cu"


def compiler() -> str | None:
    """nvcc, where there is one."""
    return shutil.which("nvcc")


def build(folder: Path, architecture: str = "native") -> Path:
    """Compile the module into `folder`. CalledProcessError: nvcc says why."""
    target = folder / "isthmus_cuda.so"
    files = [str(source(codec)) for codec in CODECS]
    shared = ["-shared", "-Xcompiler", "-fPIC,-fvisibility=hidden", "-cudart", "static"]
    line = ["nvcc", *FLAGS, f"-arch={architecture}", *shared, "-o", str(target), *files]
    subprocess.run(line, check=True, capture_output=True, text=True)
    return target


@dataclass(frozen=True)
class Encoder:
    """One codec's encoder of a module that `build` made."""

    module: Path
    codec: str

    def call(
        self, x: int, now: int, next: int, kind: int, wire: int, elements: int, beta: float, on: int
    ) -> int:
        """Addresses and a stream as integers; returns CUDA's error, 0 for none."""
        function = getattr(ctypes.CDLL(str(self.module)), f"isthmus_{self.codec}_encode")
        pointer = ctypes.c_void_p
        function.argtypes = [
            *(pointer, pointer, pointer, ctypes.c_int, pointer),
            *(ctypes.c_int64, ctypes.c_float, pointer),
        ]
        return int(function(x, now, next, kind, wire, elements, beta, on))

    def encode(
        self,
        x: torch.Tensor,
        wire: torch.Tensor,
        *,
        residual: torch.Tensor | None = None,
        next_residual: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> None:
        """As Device.encode, into `wire`. RuntimeError: CUDA refused; ValueError: misaligned."""
        import torch

        tensors = [x, wire, *(t for t in (residual, next_residual) if t is not None)]
        if any(t.data_ptr() % ALIGNMENT or not t.is_contiguous() for t in tensors):
            raise ValueError(f"tensors must be contiguous and begin at multiples of {ALIGNMENT}")
        kind = 0 if next_residual is None else 1 if next_residual.dtype == torch.float32 else 2
        now, following = (0 if t is None else t.data_ptr() for t in (residual, next_residual))
        stream = torch.cuda.current_stream(x.device).cuda_stream
        with torch.cuda.device(x.device):
            error = self.call(
                x.data_ptr(), now, following, kind, wire.data_ptr(), x.numel(), beta, stream
            )
        if error:
            raise RuntimeError(f"{self.codec} in CUDA: error {error} at launch")
