"""Dataclasses to JSON and back. What comes from another site is checked value by value."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, TypeVar

from isthmus.errors import WireError

T = TypeVar("T")
most_text = 512
most_items = 64


def to_bytes(record: Any) -> bytes:
    return json.dumps(dataclasses.asdict(record)).encode()


def from_bytes(kind: type[T], data: bytes, *, site: str) -> T:
    """The record that `site` sent. WireError says what is wrong with it."""
    try:
        return read(kind, json.loads(data), kind.__name__)
    except (ValueError, RecursionError) as error:
        text = f"site {site!r} sent what is no {kind.__name__} of this doctor: {error}"
        raise WireError(f"{text}; run the same version of isthmus at all sites", site) from None


def read(kind: type[T], value: Any, where: str) -> T:
    """`value`, of json.loads, as a dataclass of plain fields. ValueError names the odd one."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object")
    hints = typing.get_type_hints(kind)
    if set(value) != set(hints):
        odd = sorted(set(value) ^ set(hints))
        raise ValueError(f"{where} has other fields than expected: {', '.join(map(str, odd))[:99]}")
    return kind(**{name: item(hints[name], value[name], f"{where}.{name}") for name in hints})


def item(hint: Any, value: Any, where: str) -> Any:
    """One field: a record, a tuple of one kind, something or None, or a scalar."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, where)
    if isinstance(hint, types.UnionType):
        inner, _ = typing.get_args(hint)  # always "X | None"
        return None if value is None else item(inner, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) > most_items:
            raise ValueError(f"{where} is no list of at most {most_items}")
        inner, _ = typing.get_args(hint)  # always "tuple[X, ...]"
        return tuple(item(inner, each, f"{where}[{i}]") for i, each in enumerate(value))
    return scalar(hint, value, where)


def scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint is int and type(value) is int and 0 <= value < 2**63:
        return value
    if hint is bool and type(value) is bool:
        return value
    if hint is str and isinstance(value, str) and value.isprintable() and len(value) <= most_text:
        return value
    raise ValueError(f"{where} is {str(value)[:40]!r}, which is no {hint.__name__}")
