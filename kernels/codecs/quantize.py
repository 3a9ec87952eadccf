# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator,valid-type"
"""What codecs do with tiles of whole blocks, in Triton. Tiles are (blocks, elements).

The counterpart of the references (scaling.py, integers.py, moments.py); every operation is one
that rounds as theirs do, so that the bytes are the same.
"""

import triton
import triton.language as tl

INFINITY = tl.constexpr(0x7F800000)
NAN_SCALE = tl.constexpr(0x7FC0)
FLUSH = tl.constexpr(0x0D800000)  # 2^-100: what is below counts as zeros
SQUARE_BITS = tl.constexpr(12)
MEAN_BITS = tl.constexpr(23)
SMALL = tl.constexpr(0.4528)
LARGE = tl.constexpr(1.510)
THRESHOLD = tl.constexpr(0.9816)


@triton.jit
def magnitudes(p):
    return p.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def bf16_bits(x):
    """Rounded to nearest, ties to even; NaNs stay NaNs. int32, the upper half zero."""
    word = x.to(tl.uint32, bitcast=True)
    upper = word >> 16
    rounded = (word + 0x7FFF + (upper & 1)) >> 16
    nan = (word & 0x7FFFFFFF) > 0x7F800000
    return tl.where(nan, upper | 0x40, rounded).to(tl.int32)


@triton.jit
def bf16_value(bits):
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def nearest(x):
    """To an integer, ties to even, as float32. For magnitudes up to 2^22."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def pack(codes, BITS: tl.constexpr):
    """(blocks, n) codes to (blocks, n * BITS / 32) words, the first in the lowest bits."""
    EACH: tl.constexpr = 32 // BITS
    parts = tl.reshape(codes, [codes.shape[0], codes.shape[1] // EACH, EACH])
    shifts = tl.arange(0, EACH)[None, None, :] * BITS
    return tl.sum((parts & ((1 << BITS) - 1)).to(tl.uint32) << shifts.to(tl.uint32), axis=2)


@triton.jit
def unpack(words, BITS: tl.constexpr):
    EACH: tl.constexpr = 32 // BITS
    shifts = tl.arange(0, EACH)[None, None, :] * BITS
    parts = (words.to(tl.uint32)[:, :, None] >> shifts.to(tl.uint32)) & ((1 << BITS) - 1)
    return tl.reshape(parts.to(tl.int32), [words.shape[0], words.shape[1] * EACH])


@triton.jit
def encode_integers(
    p, filled, units, LIMIT: tl.constexpr, CAP: tl.constexpr, STOCHASTIC: tl.constexpr
):
    """(scales, codes, decoded). filled: how many elements of each block there are; not needed."""
    largest = tl.max(magnitudes(p), axis=1)
    plain = (largest >= FLUSH) & (largest < INFINITY)
    quotient = tl.div_rn(tl.where(plain, largest, 0).to(tl.float32, bitcast=True), LIMIT * 1.0)
    scale = tl.minimum((quotient.to(tl.int32, bitcast=True) + 0xFFFF) >> 16, CAP)
    scale = tl.where(largest >= INFINITY, NAN_SCALE, scale)
    value = bf16_value(scale)
    inverse = tl.div_rn(1.0, tl.where(plain, value, 1.0))
    scaled = p * inverse[:, None]
    if STOCHASTIC:
        whole = tl.floor(scaled + units)
    else:
        whole = nearest(scaled)
    bounded = tl.minimum(tl.maximum(tl.where(plain[:, None], whole, 0.0), -LIMIT), LIMIT)
    codes = bounded.to(tl.int32)
    return scale, codes, codes.to(tl.float32) * value[:, None]


@triton.jit
def decode_integers(scale, codes, BITS: tl.constexpr):
    signed = (codes << (32 - BITS)) >> (32 - BITS)
    return signed.to(tl.float32) * bf16_value(scale)[:, None]


@triton.jit
def mean_scale(p, filled, BITS: tl.constexpr, CAP: tl.constexpr):
    """The mean magnitude (BITS: MEAN_BITS) or the root mean square (SQUARE_BITS) of each block."""
    largest = tl.max(magnitudes(p), axis=1)
    plain = (largest >= FLUSH) & (largest < INFINITY)
    shift = tl.where(plain, BITS - 1 - ((largest >> 23) - 127), 0)
    factor = ((shift + 127) << 23).to(tl.float32, bitcast=True)
    back = ((127 - shift) << 23).to(tl.float32, bitcast=True)
    sizes = tl.where(plain[:, None], tl.abs(p), 0.0) * factor[:, None]
    numbers = ((sizes + 8388608.0) - 8388608.0).to(tl.uint32)  # up to 2^23, ties to even
    if BITS == MEAN_BITS:
        mean = tl.div_rn(tl.sum(numbers, axis=1).to(tl.float32), filled.to(tl.float32))
    else:
        squares = tl.sum(numbers * numbers, axis=1).to(tl.float32)
        mean = tl.sqrt_rn(tl.div_rn(squares, filled.to(tl.float32)))
    scale = tl.minimum(bf16_bits(mean * back), CAP)
    scale = tl.where(plain, scale, 0)
    return tl.where(largest >= INFINITY, NAN_SCALE, scale)


@triton.jit
def coded(scale):
    """Whether a block of this scale has codes at all, for each of its elements."""
    return ((scale != 0) & (scale != NAN_SCALE))[:, None]


@triton.jit
def encode_two_bits(
    p, filled, units, LIMIT: tl.constexpr, CAP: tl.constexpr, STOCHASTIC: tl.constexpr
):
    scale = mean_scale(p, filled, SQUARE_BITS, CAP)
    limit = bf16_value(scale)[:, None] * THRESHOLD
    large = (tl.abs(p) > limit).to(tl.int32)
    negative = (p.to(tl.int32, bitcast=True) >> 31) & 1
    codes = tl.where(coded(scale), large | (negative << 1), 0)
    return scale, codes, decode_two_bits(scale, codes, 2)


@triton.jit
def decode_two_bits(scale, codes, BITS: tl.constexpr):
    value = bf16_value(scale)[:, None]
    found = tl.where((codes & 1) != 0, value * LARGE, value * SMALL)
    return tl.where((codes & 2) != 0, -found, found)


@triton.jit
def encode_sign(p, filled, units, LIMIT: tl.constexpr, CAP: tl.constexpr, STOCHASTIC: tl.constexpr):
    scale = mean_scale(p, filled, MEAN_BITS, CAP)
    negative = (p.to(tl.int32, bitcast=True) >> 31) & 1
    codes = tl.where(coded(scale), negative, 0)
    return scale, codes, decode_sign(scale, codes, 1)


@triton.jit
def decode_sign(scale, codes, BITS: tl.constexpr):
    value = bf16_value(scale)[:, None]
    return tl.where(codes != 0, -value, value)
