"""decode: the mean of all sites back to where the gradient lives, in the gradient's own dtype.

The wire itself is decoded by the native core, slice by slice, while the next slices travel.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays import Tensor, from_host_float32


def decode(mean: NDArray[np.float32], gradient: Tensor) -> None:
    """Write `mean` over `gradient`, flat. No copy where they are the same memory."""
    from_host_float32(mean, gradient)
