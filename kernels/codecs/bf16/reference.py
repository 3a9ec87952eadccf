"""bf16 in NumPy (format.md)."""

import numpy as np
from isthmus.kernels.codecs.reference import (
    Bytes,
    Counts,
    Floats,
    Reference,
    bf16_bits,
    bf16_values,
)


class Bf16:
    block = 1
    section_bytes = (2,)

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        return [bf16_bits(p).astype("<u2").view(np.uint8)]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        return True

    def decode(self, sections: list[Bytes]) -> Floats:
        return bf16_values(np.ascontiguousarray(sections[0]).view("<u2").astype(np.uint16))


CODECS = {"bf16": Reference(Bf16())}
