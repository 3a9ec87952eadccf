"""state: what a site's training consists of: taken, put back, and compared between sites."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from isthmus.errors import Refused
from isthmus.hook import Hook
from isthmus.rejoin.encoding import encode, raw

_digest_bytes = 8


class Stateful(Protocol):
    """Anything that can say its state and take one."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass(frozen=True)
class Digests:
    """Of what must be the same at all sites: names, and a hash of each."""

    names: list[str]
    hashes: bytes = field(repr=False)  # of `size` bytes each
    size = _digest_bytes

    @property
    def number(self) -> int:
        """Of all; never 0."""
        whole = hashlib.blake2b(self.hashes, digest_size=_digest_bytes).digest()
        return int.from_bytes(whole, "little") or 1

    def first_odd(self, others: bytes) -> str | None:
        """The name of the first that another site has differently; None: they are the same."""
        for i, name in enumerate(self.names):
            at = slice(i * self.size, (i + 1) * self.size)
            if self.hashes[at] != others[at]:
                return name
        return None if len(self.hashes) == len(others) else "the number of tensors"


class TrainingState:
    """shared: parts that are the same at all sites, by name; `own`: those that need not be."""

    def __init__(
        self,
        model: nn.Module,
        hook: Hook,
        *,
        shared: Mapping[str, Stateful],
        own: Mapping[str, Stateful],
        random_state: bool,
    ) -> None:
        self._model = model
        self._hook = hook
        self._shared = dict(shared)
        self._own = dict(own)
        self._random_state = random_state

    def take(self) -> dict[str, Any]:
        """All of it. Tensors are the training's own: copy them before it goes on."""
        parts = {**self._shared, **self._own}
        return {
            "model": self._model.state_dict(),
            "hook": self._hook.shared_state(),
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "random": _random_states() if self._random_state else None,
        }

    def put(self, state: dict[str, Any]) -> None:
        """Go on from another site's. Refused: it is of another model, codec or set of parts."""
        self._hook.take_over(state["hook"])
        parts = {**self._shared, **self._own}
        if set(parts) != set(state["parts"]):
            raise Refused(
                f"this site's Run has {sorted(parts)}, the other sites' {sorted(state['parts'])}"
            )
        try:
            self._model.load_state_dict(state["model"])
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise Refused(f"the other sites' state does not fit this site's: {error}") from error
        if state["random"] is not None and self._random_state:
            _set_random_states(state["random"])

    def digests(self) -> Digests:
        """Of parameters and shared parts. Buffers may differ: BatchNorm's are each site's own."""
        names, hashes = [], bytearray()
        for name, parameter in self._model.named_parameters():
            names.append(name)
            hashes += _hash(raw(parameter))
        for name, part in self._shared.items():
            encoded = encode(part.state_dict())
            names.append(f"{name} (all but its tensors)")
            hashes += hashlib.blake2b(encoded.text, digest_size=_digest_bytes).digest()
            for i, tensor in enumerate(encoded.tensors):
                names.append(f"tensor {i} of {name}")
                hashes += _hash(raw(tensor))
        return Digests(names, bytes(hashes))


def _hash(data: torch.Tensor) -> bytes:
    return hashlib.blake2b(data.numpy().data, digest_size=_digest_bytes).digest()


def _random_states() -> dict[str, Any]:
    numbers = np.random.get_state(legacy=False)
    states = {"python": random.getstate(), "numpy": numbers, "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].clone())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].clone())
