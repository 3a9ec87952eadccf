"""Codecs of a word for every element, in Triton: what f32 and bf16 share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from isthmus.kernels.codecs.triton import (
    Decoder,
    Dither,
    Noise,
    checked,
    launch_flat,
    new_wire,
    words,
)
from isthmus.kernels.dp.clip_noise.triton import clip_noise


@dataclass(frozen=True)
class Flat(Decoder):
    """A codec. word: of the wire; plain: what encode and decode take elements for; summed: what
    decode_add takes words for."""

    name: str
    encoding: Any
    decoding: Any
    adding: Any
    word: torch.dtype
    plain: torch.dtype
    summed: torch.dtype

    def wire_size(self, elements: int) -> int:
        return self.word.itemsize * elements

    def encode(
        self,
        x: torch.Tensor,
        out: torch.Tensor | None = None,
        *,
        residual: torch.Tensor | None = None,
        next_residual: torch.Tensor | None = None,
        beta: float = 1.0,
        dither: Dither | None = None,
        noise: Noise | None = None,
    ) -> torch.Tensor:
        if residual is not None or next_residual is not None or dither is not None:
            raise ValueError(f"{self.name} takes neither error feedback nor stochastic rounding")
        flat = checked(x, torch.float32, x.numel(), "x")
        if noise is not None:
            flat = clip_noise(flat, noise)  # a pass of its own
        wire = new_wire(x, self.wire_size(flat.numel()), out)
        target = words(wire, flat.numel(), self.word)
        launch_flat(self.encoding, flat.numel(), flat.view(self.plain), target)
        return wire

    def _decode(self, wire: torch.Tensor, weight: float, to: torch.Tensor, *, add: bool) -> None:
        if add:
            source = words(wire, to.numel(), self.summed)
            launch_flat(self.adding, to.numel(), source, to, weight)
        else:
            source = words(wire, to.numel(), self.word)
            launch_flat(self.decoding, to.numel(), source, to.view(self.plain))
