"""int8 in NumPy (format.md)."""

import numpy as np
from isthmus.kernels.codecs.integers import BLOCK, Codes, Integers
from isthmus.kernels.codecs.reference import Bytes, Reference


def pack(codes: Codes) -> Bytes:
    return codes.view(np.uint8)


def unpack(section: Bytes) -> Codes:
    return np.ascontiguousarray(section).view(np.int8)


INTEGERS = Integers(limit=127, pack=pack, unpack=unpack, section_bytes=(2, BLOCK))
CODECS = {"int8": Reference(INTEGERS, feeds=True, dithers=True)}
