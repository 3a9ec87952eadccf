"""exchange: wire bytes across the sites. The only stage that touches the network."""

import numpy as np
from numpy.typing import NDArray

from isthmus.doors import Wire
from isthmus.errors import Refused
from isthmus.session import Session, Work


def exchange(
    wire: Wire,
    session: Session,
    out: NDArray[np.float32] | NDArray[np.uint8],
    *,
    weight: float,
    terms: bool = False,
) -> Work:
    """Begin the weighted mean over all sites into `out`, which is written when the work is done.

    terms: `out` takes session.terms of the wire's packing instead.
    """
    if not isinstance(wire, Wire):
        raise Refused(f"exchange takes Wire, not {type(wire).__name__}: encode first")
    if not terms and out.size != wire.packing.elements:
        raise Refused(f"exchange of {wire.packing.elements} elements into {out.size}")
    return session.exchange(
        wire.data,
        out,
        segments=wire.packing.table,
        op="mean",
        weight=weight,
        schedule="auto",
        layout=wire.layout,
        terms=terms,
    )
