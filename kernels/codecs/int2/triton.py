"""int2 in Triton (format.md)."""

from isthmus.kernels.codecs import quantize
from isthmus.kernels.codecs.rows import Rows

CODECS = {
    "int2": Rows(
        quantize.encode_two_bits,
        quantize.decode_two_bits,
        bits=2,
        limit=0,
        factor=1.510,
    )
}
