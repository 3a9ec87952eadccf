"""What the Triton kernels of all codecs share: their launch and the checks of their arguments.

A program handles BLOCK elements. Full programs go without masks, so that loads and stores stay
16 bytes wide for any number of elements; only the last one may be ragged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch

BLOCK = 1024

OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}
"""For every launch and compilation. No fusion, whatever TRITON_DEFAULT_FP_FUSION says: a fused
multiply-add would round once where the contract rounds twice."""


Dither = tuple[int, int, int, int, int]
"""(key, group, step, bucket, stream), see rng/reference.py."""


class Noise(NamedTuple):
    """What clip and noise do to a tensor (dp/clip_noise). factor: float32, one element, on the
    tensor's device, from clip_factor; the numbers as in Dither."""

    factor: torch.Tensor
    spread: float
    key: int
    group: int
    step: int
    bucket: int
    stream: int


def noise_arguments(noise: Noise | None, x: torch.Tensor) -> tuple[Any, ...]:
    """As kernels take it; without noise nothing of it is read."""
    return (x, 0.0, 0, 0, 0, 0, 0) if noise is None else noise


def launch(
    kernel: Any, programs: int, *arguments: Any, num_warps: int = 4, **constants: Any
) -> None:
    """Run so many programs of a kernel where the first tensor lies, on its current stream."""
    if programs == 0:
        return
    device = arguments[0].device
    options = {**OPTIONS, "num_warps": num_warps}
    if device.type != "cuda":  # Triton's interpreter
        kernel[(programs,)](*arguments, **constants, **options)
        return
    with torch.cuda.device(device):
        kernel[(programs,)](*arguments, **constants, **options)


def launch_flat(kernel: Any, elements: int, *arguments: Any) -> None:
    """Run `kernel(*arguments, elements, BLOCK)` over all elements."""
    launch(kernel, -(-elements // BLOCK), *arguments, elements, BLOCK=BLOCK)


def section(wire: torch.Tensor, begin: int, end: int, dtype: torch.dtype) -> torch.Tensor:
    """Bytes [begin, end) of a flat wire as words. ValueError: misaligned."""
    if begin == end:  # an empty tensor's strides may forbid the view
        return torch.empty(0, dtype=dtype, device=wire.device)
    part = wire[begin:end]
    if part.data_ptr() % dtype.itemsize or part.storage_offset() % dtype.itemsize:
        raise ValueError(f"wire must begin at a multiple of {dtype.itemsize} bytes")
    return part.view(dtype)


class Residual(NamedTuple):
    """A residual as kernels take it. kind: 0 none, 1 float32, 2 bfloat16 (as int16)."""

    tensor: torch.Tensor
    kind: int


def checked_residuals(
    x: torch.Tensor, residual: torch.Tensor | None, next_residual: torch.Tensor | None
) -> tuple[Residual, Residual]:
    """The one to add, and the one to write. Without the second there is no error feedback."""
    if next_residual is None:
        if residual is not None:
            raise ValueError("a residual needs next_residual too: it may be the same tensor")
        return Residual(x, 0), Residual(x, 0)
    if residual is not None and residual.dtype != next_residual.dtype:
        raise TypeError(f"residual is {residual.dtype}, next_residual {next_residual.dtype}")
    following = _as_words(next_residual, x.numel(), "next_residual")
    return (
        Residual(x, 0) if residual is None else _as_words(residual, x.numel(), "residual")
    ), following


def _as_words(residual: torch.Tensor, elements: int, what: str) -> Residual:
    if residual.dtype == torch.bfloat16:
        return Residual(checked(residual, torch.bfloat16, elements, what).view(torch.int16), 2)
    return Residual(checked(residual, torch.float32, elements, what), 1)


def checked(tensor: torch.Tensor, dtype: torch.dtype, elements: int, what: str) -> torch.Tensor:
    """The tensor, flat. TypeError: another dtype; ValueError: another size, or not contiguous."""
    if tensor.dtype != dtype:
        raise TypeError(f"{what} must be {dtype}, not {tensor.dtype}")
    if not tensor.is_contiguous():
        raise ValueError(f"{what} must be contiguous")
    if tensor.numel() != elements:
        raise ValueError(f"{what} must have {elements} elements, not {tensor.numel()}")
    return tensor.view(-1)


class Decoder(ABC):
    """decode and decode_add of a codec that says how many bytes a wire has and how to read it."""

    def decode(
        self, wire: torch.Tensor, elements: int, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        if out is None:
            out = torch.empty(elements, dtype=torch.float32, device=wire.device)
        self._decode(wire, 1.0, checked(out, torch.float32, elements, "out"), add=False)
        return out

    def decode_add(self, wire: torch.Tensor, weight: float, total: torch.Tensor) -> None:
        flat = checked(total, torch.float32, total.numel(), "total")
        self._decode(wire, float(weight), flat, add=True)

    @abstractmethod
    def _decode(self, wire: torch.Tensor, weight: float, to: torch.Tensor, *, add: bool) -> None:
        """add: to += weight * decoded; else to = decoded. `to` is flat."""


def words(wire: torch.Tensor, elements: int, dtype: torch.dtype) -> torch.Tensor:
    """A wire of `elements` words, as those words. ValueError: another size, or misaligned."""
    flat = checked(wire, torch.uint8, elements * dtype.itemsize, "wire")
    if elements == 0:  # an empty tensor's strides may forbid the view
        return torch.empty(0, dtype=dtype, device=wire.device)
    if flat.data_ptr() % dtype.itemsize:
        raise ValueError(f"wire must begin at a multiple of {dtype.itemsize} bytes")
    if flat.storage_offset() % dtype.itemsize:
        raise ValueError(f"wire's offset in its storage must be a multiple of {dtype.itemsize}")
    return flat.view(dtype)


def new_wire(x: torch.Tensor, size: int, out: torch.Tensor | None) -> torch.Tensor:
    """`out`, or a new wire of `size` bytes on x's device."""
    return torch.empty(size, dtype=torch.uint8, device=x.device) if out is None else out
