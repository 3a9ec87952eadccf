"""f32 in NumPy (format.md)."""

import numpy as np
from isthmus.kernels.codecs.reference import Bytes, Counts, Floats, Reference


class F32:
    block = 1
    section_bytes = (4,)

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        return [p.astype("<f4").view(np.uint8)]

    def valid(self, sections: list[Bytes], filled: Counts) -> bool:
        return True

    def decode(self, sections: list[Bytes]) -> Floats:
        return np.ascontiguousarray(sections[0]).view("<f4").astype(np.float32)


CODECS = {"f32": Reference(F32())}
