"""What the references of int8 and int4 share: integers of one scale for every 128 elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from isthmus.kernels.codecs import scaling
from isthmus.kernels.codecs.reference import Bytes, Counts, Floats, bf16_values
from numpy.typing import NDArray

Codes = NDArray[np.int8]

BLOCK = 128


@dataclass(frozen=True)
class Integers:
    """Codes from -limit to limit."""

    limit: int
    pack: Callable[[Codes], Bytes]
    unpack: Callable[[Bytes], Codes]
    section_bytes: tuple[int, ...]
    block: int = BLOCK

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        largest = scaling.largest(p)
        plain = (largest >= scaling.FLUSH) & (largest < scaling.INFINITY)
        quotients = np.where(plain, largest, 0).view(np.float32) / np.float32(self.limit)
        scales = np.minimum(
            scaling.upper_bf16(quotients), np.uint16(scaling.largest_scale(self.limit))
        )
        scales[largest >= scaling.INFINITY] = scaling.NAN_SCALE
        values = np.where(plain, bf16_values(scales), np.float32(1))
        scaled = p * (np.float32(1) / values)[:, None]
        whole = np.rint(scaled) if units is None else np.floor(scaled + units)
        whole[~plain] = 0
        codes = np.clip(whole, -self.limit, self.limit).astype(np.int8)
        return [scaling.stored(scales), self.pack(codes)]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        return scaling.valid(sections[0])

    def decode(self, sections: list[Bytes]) -> Floats:
        codes = self.unpack(sections[1]).astype(np.float32)
        values: Floats = codes * bf16_values(scaling.loaded(sections[0]))[:, None]
        return values
