"""Doors are types: what one stage hands to the next.

`noise` (or the explicit `without_privacy`) is the only maker of Released, `encode` takes only
Released and is the only maker of Wire, `exchange` takes only Wire. A test greps for that. On the
way back `decode` takes a Mean, or the Parts of one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays import Floats, Tensor
from isthmus.packing import Packing
from isthmus.terms import Terms, TermSum


@dataclass(frozen=True)
class Bucket:
    """Gradients of this site, in host memory or on a device. Must not leave the site."""

    values: Floats
    layout: int  # a hash of what the elements are; sites compare it


@dataclass(frozen=True)
class Released:
    """Values that may leave the site."""

    values: Floats
    layout: int


@dataclass(frozen=True)
class Wire:
    """Encoded bytes of a bucket, in host memory."""

    packing: Packing
    data: NDArray[np.uint8] | NDArray[np.float32]
    layout: int


@dataclass(frozen=True)
class Mean:
    """Of all sites, in host memory."""

    values: NDArray[np.float32]
    finite: bool


@dataclass(frozen=True)
class Parts:
    """What a device makes the mean of: wires in host memory, and the rule."""

    terms: Terms
    wires: Tensor  # bytes, pinned where there is a GPU
    rule: TermSum
