# mypy: disable-error-code="import-untyped,no-untyped-def,untyped-decorator"
"""What stochastic rounding takes from Philox (rng/reference.py), in Triton."""

import triton
import triton.language as tl


@triton.jit
def words(group, step, bucket, stream, key):
    """The four words of each call."""
    c0 = group.to(tl.uint32)
    zero = c0 * 0
    return tl.philox(
        key,
        c0,
        zero + step.to(tl.uint32),
        zero + bucket.to(tl.uint32),
        zero + stream.to(tl.uint32),
    )


@triton.jit
def units(group, step, bucket, stream, key):
    """A number in [0, 1) for each of eight elements a call. group: (rows, calls), of each call.

    Returns (rows, 8 * calls).
    """
    a, b, c, d = words(group, step, bucket, stream, key)
    place = tl.arange(0, 8)[None, None, :]
    low = tl.where(place < 2, a[:, :, None], b[:, :, None])
    high = tl.where(place < 6, c[:, :, None], d[:, :, None])
    word = tl.where(place < 4, low, high)
    half = (word >> ((place & 1) * 16).to(tl.uint32)) & 0xFFFF
    numbers = half.to(tl.float32) * 1.52587890625e-05  # 2^-16
    return tl.reshape(numbers, [group.shape[0], 8 * group.shape[1]])
