"""int4 in NumPy (format.md)."""

import numpy as np
from isthmus.kernels.codecs.integers import BLOCK, Codes, Integers
from isthmus.kernels.codecs.reference import Bytes, Reference


def pack(codes: Codes) -> Bytes:
    nibbles = codes.view(np.uint8) & np.uint8(15)
    packed: Bytes = nibbles[:, 0::2] | (nibbles[:, 1::2] << np.uint8(4))
    return packed


def unpack(section: Bytes) -> Codes:
    nibbles = np.stack([section & np.uint8(15), section >> np.uint8(4)], axis=2)
    codes = nibbles.reshape(-1, BLOCK).astype(np.int8)
    return np.where(codes < 8, codes, codes - np.int8(16)).astype(np.int8)


INTEGERS = Integers(limit=7, pack=pack, unpack=unpack, section_bytes=(2, BLOCK // 2))
CODECS = {"int4": Reference(INTEGERS, feeds=True, dithers=True)}
