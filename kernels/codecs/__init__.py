"""Codecs: float32 elements to wire bytes and back, the same bytes from every implementation.

Needs NumPy alone; torch and triton are imported when a device implementation is asked for.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from isthmus.kernels.codecs.reference import Reference

if TYPE_CHECKING:
    import torch
    from isthmus.kernels.codecs.triton import Noise

_LINE = re.compile(r"^ISTHMUS_CODEC\((\d+), (\w+)\)$", re.MULTILINE)

FOLDERS: dict[str, int] = {
    name: int(number)
    for number, name in _LINE.findall(Path(__file__).with_name("codecs.def").read_text())
}
"""The folders beside this file, each with its codec's id, as codecs.def lists them."""

_REFERENCES: dict[str, Reference] = {
    name: codec
    for folder in FOLDERS
    for name, codec in import_module(f"{__name__}.{folder}.reference").CODECS.items()
}

NAMES = tuple(_REFERENCES)
"""All codecs, variants of one id among them, in the order of the table."""


class Device(Protocol):
    """A codec in Triton. Tensors are flat and contiguous, on one device; wires are uint8.

    residual, next_residual: float32 or bfloat16, of x's size, and may be the same tensor; without
    `next_residual` there is no error feedback, and without `residual` it is zeros.
    dither: (key, group, step, bucket, stream) for stochastic rounding; None: to nearest.
    noise: what is encoded is clip_noise(x, noise), which is not written to memory.
    """

    def wire_size(self, elements: int) -> int: ...
    def encode(
        self,
        x: torch.Tensor,
        out: torch.Tensor | None = None,
        *,
        residual: torch.Tensor | None = None,
        next_residual: torch.Tensor | None = None,
        beta: float = 1.0,
        dither: tuple[int, int, int, int, int] | None = None,
        noise: Noise | None = None,
    ) -> torch.Tensor: ...
    def decode(
        self, wire: torch.Tensor, elements: int, out: torch.Tensor | None = None
    ) -> torch.Tensor: ...
    def decode_add(self, wire: torch.Tensor, weight: float, total: torch.Tensor) -> None: ...


def reference(name: str) -> Reference:
    """The NumPy reference of a codec. ValueError: no such codec."""
    if name not in _REFERENCES:
        raise ValueError(f"no codec {name!r}; known codecs: {', '.join(NAMES)}")
    return _REFERENCES[name]


def feeds(name: str) -> bool:
    """Whether a codec takes error feedback. ValueError: no such codec."""
    return reference(name).feeds


def dithers(name: str) -> bool:
    """Whether a codec offers stochastic rounding. ValueError: no such codec."""
    return reference(name).dithers


def folder_of(name: str) -> str:
    """The folder of a codec: its name without the variant. ValueError: no such codec."""
    reference(name)
    return name.partition("-")[0]


def device(name: str) -> Device:
    """The Triton kernels of a codec. ValueError: no such codec; ImportError: no torch or triton."""
    module = import_module(f"{__name__}.{folder_of(name)}.triton")
    return cast(Device, module.CODECS[name])
