# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator,valid-type"
"""Gaussians of Philox's words, and clipping, for a tile of elements in Triton (format.md)."""

import triton
import triton.language as tl
from isthmus.kernels.rng.triton import words

LN2 = tl.constexpr(0.6931471824645996)


@triton.jit
def radius(word):
    u = ((word >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07  # 2^-23
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    p = f * 0.09132901579141617 + -0.14324887096881866
    p = p * f + 0.14789512753486633
    p = p * f + -0.1656429022550583
    p = p * f + 0.19973693788051605
    p = p * f + -0.2500211000442505
    p = p * f + 0.33333656191825867
    p = p * f + -0.49999988079071045
    log = exponent.to(tl.float32) * LN2 + (f + (f * f) * p)
    return tl.sqrt_rn(log * -2.0)


@triton.jit
def pair(a, b):
    """Box and Muller's two normals of each pair of words."""
    r = radius(a)
    turn = ((b << 2) >> 9).to(tl.float32) * 1.1920928955078125e-07 - 0.5
    z = turn * turn
    sine = z * -0.004602163098752499 + 0.07968021929264069
    sine = turn * ((sine * z + -0.6459634900093079) * z + 1.5707963705062866)
    cosine = z * 0.00090362987248227 + -0.02086007036268711
    cosine = ((cosine * z + 0.25366920232772827) * z + -1.2337005138397217) * z + 1.0
    quarter = b >> 30
    odd = (quarter & 1) == 1
    first, second = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    first = tl.where((quarter == 1) | (quarter == 2), -first, first)
    second = tl.where(quarter >= 2, -second, second)
    return first * r, second * r


@triton.jit
def normals(group, step, bucket, stream, key):
    """One for each of four elements a call. group: (rows, calls), of each call.

    Returns (rows, 4 * calls).
    """
    a, b, c, d = words(group, step, bucket, stream, key)
    n0, n1 = pair(a, b)
    n2, n3 = pair(c, d)
    place = tl.arange(0, 4)[None, None, :]
    low = tl.where(place == 0, n0[:, :, None], n1[:, :, None])
    high = tl.where(place == 2, n2[:, :, None], n3[:, :, None])
    return tl.reshape(tl.where(place < 2, low, high), [group.shape[0], 4 * group.shape[1]])


@triton.jit
def noised(x, factor, spread, gaussians):
    """What clip and noise make of a tile. A factor of 0: of zeros, whatever x holds."""
    return tl.where(factor == 0.0, 0.0, x * factor) + spread * gaussians
