"""One exchange between simulated sites, with the library's arithmetic and no network.

What a schedule makes of wires does not depend on who sent them when: every element's sum is taken
in the order of the ranks, and blocks do not know of each other. So the sites' result is computed
once, from the same kernels (`isthmus._core`), and tests compare it with real sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from isthmus import _core
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass
class Exchange:
    """Of one vector that all sites have. down: None for a schedule that encodes no sums."""

    up: str
    down: str | None
    feedback: bool = False
    beta: float = 1.0
    residuals: list[Floats] = field(default_factory=list)  # by site

    def mean(self, values: Sequence[Floats]) -> Floats:
        """The sites' mean as every one of them ends with it; `values` by rank."""
        if not self.residuals and self.feedback:
            self.residuals = [np.zeros_like(x) for x in values]
        total = np.zeros_like(values[0])
        for rank, x in enumerate(values):
            wire = self._encode(rank, x)
            if rank == 0:
                _core.decode(self.up, wire, x.size, out=total)
            else:
                _core.decode_add(self.up, wire, 1.0, total)
        total /= np.float32(len(values))
        if self.down is None:
            return total
        return _core.decode(self.down, _core.encode(self.down, total), total.size)

    def wire_bytes(self, elements: int, sites: int) -> float:
        """What a site sends for one exchange: by `direct`, or by `gather` without a way down."""
        up = _core.wire_size(self.up, elements)
        if self.down is None:
            return (sites - 1) * up
        return (sites - 1) / sites * (up + _core.wire_size(self.down, elements))

    def _encode(self, rank: int, x: Floats) -> NDArray[np.uint8]:
        if not self.feedback:
            return _core.encode(self.up, x)
        residual = self.residuals[rank]
        return _core.encode(self.up, x, residual=residual, next_residual=residual, beta=self.beta)
