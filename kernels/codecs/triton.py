"""What the Triton kernels of all codecs share: their launch and the checks of their arguments.

A program handles BLOCK elements. Full programs go without masks, so that loads and stores stay
16 bytes wide for any number of elements; only the last one may be ragged.
"""

from __future__ import annotations

from typing import Any

import torch

BLOCK = 1024

OPTIONS: dict[str, Any] = {"num_warps": 4, "enable_fp_fusion": False}
"""For every launch and compilation. No fusion, whatever TRITON_DEFAULT_FP_FUSION says: a fused
multiply-add would round once where the contract rounds twice."""


def launch(kernel: Any, elements: int, *arguments: Any) -> None:
    """Run `kernel(*arguments, elements, BLOCK)` over all elements, where the first tensor lies."""
    if elements == 0:
        return
    programs = -(-elements // BLOCK)
    device = arguments[0].device
    if device.type != "cuda":  # Triton's interpreter
        kernel[(programs,)](*arguments, elements, BLOCK=BLOCK, **OPTIONS)
        return
    with torch.cuda.device(device):
        kernel[(programs,)](*arguments, elements, BLOCK=BLOCK, **OPTIONS)


def checked(tensor: torch.Tensor, dtype: torch.dtype, elements: int, what: str) -> torch.Tensor:
    """The tensor, flat. TypeError: another dtype; ValueError: another size, or not contiguous."""
    if tensor.dtype != dtype:
        raise TypeError(f"{what} must be {dtype}, not {tensor.dtype}")
    if not tensor.is_contiguous():
        raise ValueError(f"{what} must be contiguous")
    if tensor.numel() != elements:
        raise ValueError(f"{what} must have {elements} elements, not {tensor.numel()}")
    return tensor.view(-1)


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


def new_floats(wire: torch.Tensor, elements: int, out: torch.Tensor | None) -> torch.Tensor:
    """`out`, or new float32 elements on the wire's device."""
    if out is None:
        return torch.empty(elements, dtype=torch.float32, device=wire.device)
    return out
