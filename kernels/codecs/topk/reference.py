"""topk in NumPy (format.md)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from isthmus.kernels.codecs import moments, scaling
from isthmus.kernels.codecs.int8.reference import INTEGERS as INT8
from isthmus.kernels.codecs.reference import Bytes, Counts, Floats, Reference
from numpy.typing import NDArray

BLOCK = 4096


@dataclass(frozen=True)
class TopK:
    k: int
    values: str
    block: int = BLOCK

    @property
    def section_bytes(self) -> tuple[int, ...]:
        return (2, self.k // 2 * 3, self.k // 4 if self.values == "int2" else self.k)

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        # Stable, so that of equal magnitudes the lower place comes first.
        order = np.argsort(~scaling.magnitudes(p), axis=1, kind="stable")
        places = np.sort(order[:, : self.k], axis=1)
        kept = np.take_along_axis(p, places, axis=1)
        counted = np.minimum(filled, self.k)
        if self.values == "int2":
            scales = moments.root_mean_squares(kept, counted)
            codes = moments.pack_two_bits(moments.two_bit_codes(kept, scales))
            return [scaling.stored(scales), pack_places(places), codes]
        scale_bytes, codes = INT8.encode(kept, counted, None)
        return [scale_bytes, pack_places(places), codes]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        ascending = (np.diff(unpack_places(sections[1]), axis=1) > 0).all()
        return bool(ascending) and scaling.valid(sections[0])

    def decode(self, sections: list[Bytes]) -> Floats:
        if self.values == "int2":
            codes = moments.unpack_two_bits(sections[2])
            kept = moments.two_bit_values(codes, scaling.loaded(sections[0]))
        else:
            kept = INT8.decode([sections[0], sections[2]])
        values = np.zeros((len(kept), BLOCK), np.float32)
        np.put_along_axis(values, unpack_places(sections[1]), kept, axis=1)
        return values

    def kept(self, sections: list[Bytes]) -> NDArray[np.bool_]:
        """The elements that are in the wire: decode_add leaves the others alone."""
        mask = np.zeros((len(sections[0]), BLOCK), bool)
        np.put_along_axis(mask, unpack_places(sections[1]), True, axis=1)
        return mask


def pack_places(places: NDArray[Any]) -> Bytes:
    """Pairs of 12 bits in three bytes."""
    pairs = places[:, 0::2].astype(np.uint32) | places[:, 1::2].astype(np.uint32) << np.uint32(12)
    packed = np.stack([pairs & 255, pairs >> 8 & 255, pairs >> 16], axis=2).astype(np.uint8)
    return packed.reshape(len(places), places.shape[1] // 2 * 3)


def unpack_places(section: Bytes) -> NDArray[np.int64]:
    threes = section.astype(np.int64).reshape(len(section), section.shape[1] // 3, 3)
    pairs = threes[:, :, 0] | threes[:, :, 1] << 8 | threes[:, :, 2] << 16
    places = np.stack([pairs & 4095, pairs >> 12], axis=2)
    return places.reshape(len(section), 2 * pairs.shape[1])


CODECS = {"topk": Reference(TopK(64, "int2"), feeds=True)} | {
    f"topk-{k}-{values}": Reference(TopK(k, values), feeds=True)
    for values, ks in (("int2", (16, 32, 128)), ("int8", (16, 32, 64, 128)))
    for k in ks
}
