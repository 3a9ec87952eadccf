"""encode: released values to wire bytes."""

from isthmus import _core
from isthmus.doors import Released, Wire
from isthmus.errors import Refused


def encode(released: Released, codec: str) -> Wire:
    """f32 passes as it is, without a copy: then the wire is the values' own memory."""
    if not isinstance(released, Released):
        raise Refused(f"encode takes Released, not {type(released).__name__}: pass noise first")
    data = released.values if codec == "f32" else _core.encode(codec, released.values)
    return Wire(codec, data, released.values.size, released.layout)
