"""sign in NumPy (format.md)."""

import numpy as np
from isthmus.kernels.codecs import moments, scaling
from isthmus.kernels.codecs.reference import Bytes, Counts, Floats, Reference, bf16_values


class Sign:
    block = 128
    section_bytes = (2, 16)

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        scales = moments.mean_magnitudes(p, filled)
        bits = np.signbit(p)
        bits[(scales == 0) | (scales == scaling.NAN_SCALE)] = False
        return [scaling.stored(scales), np.packbits(bits, axis=1, bitorder="little")]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        return scaling.valid(sections[0])

    def decode(self, sections: list[Bytes]) -> Floats:
        negative = np.unpackbits(sections[1], axis=1, bitorder="little").astype(bool)
        values = bf16_values(scaling.loaded(sections[0]))[:, None]
        return np.where(negative, -values, values).astype(np.float32)


CODECS = {"sign": Reference(Sign(), feeds=True)}
