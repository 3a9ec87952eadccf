"""sign in Triton (format.md)."""

from isthmus.kernels.codecs import quantize
from isthmus.kernels.codecs.rows import Rows

CODECS = {
    "sign": Rows(
        quantize.encode_sign,
        quantize.decode_sign,
        bits=1,
        limit=0,
        factor=1.0,
    )
}
