"""Codecs: float32 elements to wire bytes and back, the same bytes from every implementation.

Needs NumPy alone; torch and triton are imported when a device implementation is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

NAMES = ("f32", "bf16")
"""The folders beside this file, in the order of codecs.def (a test compares them)."""


class Reference(Protocol):
    """A codec in NumPy, written to be read. Arrays are flat; wires are uint8."""

    def wire_size(self, elements: int) -> int: ...
    def pieces(self, elements: int, begin: int, count: int) -> list[tuple[int, int]]: ...
    def encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]: ...
    def decode(self, wire: NDArray[np.uint8], elements: int) -> NDArray[np.float32]: ...


class Device(Protocol):
    """A codec in Triton. Tensors are flat and contiguous, on one device; wires are uint8."""

    def encode(self, x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor: ...
    def decode(
        self, wire: torch.Tensor, elements: int, out: torch.Tensor | None = None
    ) -> torch.Tensor: ...
    def decode_add(self, wire: torch.Tensor, weight: float, total: torch.Tensor) -> None: ...


def reference(name: str) -> Reference:
    """The NumPy reference of a codec. ValueError: no such codec."""
    return cast(Reference, import_module(f"{__name__}.{_known(name)}.reference"))


def device(name: str) -> Device:
    """The Triton kernels of a codec. ValueError: no such codec; ImportError: no torch or triton."""
    return cast(Device, import_module(f"{__name__}.{_known(name)}.triton"))


def decode_add(
    name: str, wire: NDArray[np.uint8], weight: float, total: NDArray[np.float32]
) -> None:
    """total += weight * decoded in place, each product and each sum rounded to float32."""
    decoded = reference(name).decode(wire, total.size)
    with np.errstate(invalid="ignore", over="ignore"):
        total += np.float32(weight) * decoded


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"no codec {name!r}; known codecs: {', '.join(NAMES)}")
    return name
