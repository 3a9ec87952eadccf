"""int2 in NumPy (format.md)."""

from isthmus.kernels.codecs import moments, scaling
from isthmus.kernels.codecs.reference import Bytes, Counts, Floats, Reference


class Int2:
    block = 128
    section_bytes = (2, 32)

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        scales = moments.root_mean_squares(p, filled)
        codes = moments.two_bit_codes(p, scales)
        return [scaling.stored(scales), moments.pack_two_bits(codes)]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        return scaling.valid(sections[0])

    def decode(self, sections: list[Bytes]) -> Floats:
        codes = moments.unpack_two_bits(sections[1])
        return moments.two_bit_values(codes, scaling.loaded(sections[0]))


CODECS = {"int2": Reference(Int2(), feeds=True)}
