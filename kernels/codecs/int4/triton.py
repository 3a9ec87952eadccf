"""int4 in Triton (format.md)."""

from isthmus.kernels.codecs import quantize
from isthmus.kernels.codecs.rows import Rows

CODECS = {
    "int4": Rows(
        quantize.encode_integers,
        quantize.decode_integers,
        bits=4,
        limit=7,
        factor=7.0,
        dithers=True,
    )
}
