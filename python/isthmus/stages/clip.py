"""clip: bound the norm of what leaves the site."""

import math

import numpy as np

from isthmus.arrays import is_tensor
from isthmus.doors import Bucket
from isthmus.errors import Refused


def clip(bucket: Bucket, norm: float) -> Bucket:
    """Scale the bucket down to an L2 norm of at most `norm`; the input stays untouched.

    The norm is summed in float64. A bucket with a NaN becomes NaN, and so do the infinities of one
    with an infinity, so that a GradScaler still sees them. This is the clip of a batch gradient:
    by itself it promises no privacy for single records.
    """
    if not (norm > 0 and math.isfinite(norm)):
        raise Refused(f"clip norm is {norm}; expected a number above 0")
    if is_tensor(bucket.values):
        raise Refused("clip of a bucket on a device is not built: clip its gradients with torch")
    length = math.sqrt(float(np.square(bucket.values, dtype=np.float64).sum()))
    if length <= norm:
        return bucket
    with np.errstate(invalid="ignore"):
        values = bucket.values * np.float32(norm / length)
    return Bucket(values.astype(np.float32, copy=False), bucket.layout)
