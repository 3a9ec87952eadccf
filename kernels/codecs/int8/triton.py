"""int8 in Triton (format.md)."""

from isthmus.kernels.codecs import quantize
from isthmus.kernels.codecs.rows import Rows

CODECS = {
    "int8": Rows(
        quantize.encode_integers,
        quantize.decode_integers,
        bits=8,
        limit=127,
        factor=127.0,
        dithers=True,
    )
}
