"""encoding: a state_dict as text and tensors, and back; reading it never runs code.

The text is JSON. A mapping, a tuple and whatever else JSON lacks is an object of one member whose
name says what it is; a tensor is its number, and its dtype and shape stand beside.
"""

import base64
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isthmus.errors import Refused, WireError
from isthmus.memory import fresh

_alignment = 64  # bytes: any dtype, and the vector units, may begin there


@dataclass(frozen=True)
class Encoded:
    """text: of all but the tensors' elements. offsets: where each tensor begins in the bytes that
    follow the text; last, where they end."""

    text: bytes
    tensors: list[torch.Tensor]
    offsets: list[int]

    @property
    def bytes(self) -> int:
        return self.offsets[-1]

    def whole(self) -> torch.Tensor:
        """The text and all tensors' elements, in host memory."""
        size = len(self.text)
        room = torch.from_numpy(fresh(size + self.bytes, np.uint8))
        room[:size].copy_(torch.frombuffer(bytearray(self.text), dtype=torch.uint8))
        for tensor, begin in zip(self.tensors, self.offsets, strict=False):
            elements = raw(tensor)
            room[size + begin : size + begin + elements.numel()].copy_(elements)
        return room


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """Its elements as bytes in host memory; no copy where none is needed."""
    return tensor.detach().contiguous().view(-1).view(torch.uint8).cpu()


def encode(state: Any) -> Encoded:
    """Refused: it holds something else than numbers, texts, bytes, tensors, arrays, and lists,
    tuples and dictionaries of such."""
    found = _Tensors()
    text = json.dumps(_plain(state, found, "state")).encode()
    text = text.ljust(_aligned(len(text)))
    return Encoded(text, found.tensors, found.offsets)


def decode(whole: torch.Tensor, text_bytes: int) -> Any:
    """What encode() was given, with tensors that are views of `whole`. WireError: it makes no
    sense."""
    try:
        text = whole[:text_bytes].numpy().tobytes()
        return _restored(json.loads(text), whole[text_bytes:])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WireError(f"the state that came from another site makes no sense: {error}") from error


def _aligned(size: int) -> int:
    return -(-size // _alignment) * _alignment


class _Tensors:
    """Those that were found so far, one behind the other."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self.offsets = [0]

    def add(self, tensor: torch.Tensor) -> list[Any]:
        """Where it is, and what."""
        begin, size = self.offsets[-1], tensor.numel() * tensor.element_size()
        self.tensors.append(tensor)
        self.offsets.append(begin + _aligned(size))
        return [begin, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]


def _plain(value: Any, found: _Tensors, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return {"tensor": found.add(value)}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return {"array": found.add(torch.from_numpy(np.array(array)))}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        kind = next((k for k, t in _mappings.items() if type(value) is t), "dict")
        return {
            kind: [
                [_plain(k, found, where), _plain(v, found, f"{where}.{k}")]
                for k, v in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        items = [_plain(each, found, f"{where}[{i}]") for i, each in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise Refused(
        f"{where} is a {type(value).__name__}, which cannot be handed to another site: a state may "
        "hold numbers, texts, bytes, tensors, arrays, and lists, tuples and dictionaries of such"
    )


_mappings: Mapping[str, type] = {"counter": Counter, "ordered": OrderedDict}


def _restored(value: Any, flat: torch.Tensor) -> Any:
    if isinstance(value, list):
        return [_restored(each, flat) for each in value]
    if not isinstance(value, dict):
        return value
    [(kind, inside)] = value.items()
    if kind == "tuple":
        return tuple(_restored(each, flat) for each in inside)
    if kind == "bytes":
        return base64.b64decode(inside)
    if kind == "tensor":
        return _tensor(inside, flat)
    if kind == "array":
        return _tensor(inside, flat).numpy()
    pairs = [(_restored(k, flat), _restored(v, flat)) for k, v in inside]
    if kind == "dict":
        return dict(pairs)
    return _mappings[kind](dict(pairs)) if kind == "counter" else _mappings[kind](pairs)


def _tensor(said: Any, flat: torch.Tensor) -> torch.Tensor:
    begin, name, shape = said
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype) or not all(n >= 0 for n in shape) or begin < 0:
        raise ValueError(f"a tensor of {name} {shape} at {begin}")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if begin + size > flat.numel():
        raise ValueError("a tensor ends behind the end")
    if size == 0:
        return torch.empty(shape, dtype=dtype)
    return flat[begin : begin + size].view(dtype).view(shape)
