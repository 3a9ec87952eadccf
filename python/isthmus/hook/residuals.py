"""residuals: what error feedback keeps, by parameter, through every rebuilding of DDP's buckets.

Twice: `now`, left by the last step that ended well, and `next`, which the current one writes. A
step that ends well swaps them; one that does not leaves `now` as it was. Lives at the gateway.
"""

import threading
from collections.abc import Mapping, Sequence

import torch

from isthmus.arrays import can_encode_on, zeros
from isthmus.errors import Refused
from isthmus.hook.layout import Contents, Layout
from isthmus.packing import Packing, Way, pack
from isthmus.stages.encode import Memory

_host = torch.device("cpu")


class _Bucket:
    """One bucket's memory: flat tensors in the bucket's order, one for each segment."""

    def __init__(
        self,
        packing: Packing,
        parts: Mapping[int, tuple[int, slice]],
        device: torch.device,
        *,
        on_device: bool,
    ) -> None:
        self.packing = packing
        self.parts = parts  # parameter: its segment, and where it lies in that
        size = 0 if packing.exact and not on_device else packing.offsets[-1]
        self.wire = zeros(size, "uint8", device)
        self.host = self.wire if device == _host else zeros(size, "uint8", _host, pinned=True)
        self.now = tuple(_zeros(s.way, s.elements, device) for s in packing.segments)
        self.next = tuple(_zeros(s.way, s.elements, device) for s in packing.segments)

    def residual(self, parameter: int) -> torch.Tensor | None:
        """A view of what the last good step left of one parameter."""
        i, where = self.parts[parameter]
        whole = self.now[i]
        return None if whole is None else whole[where]

    def swap(self) -> None:
        self.now, self.next = self.next, self.now


class Residuals:
    """Of one model at one site. `ways`: of each parameter, in the model's order."""

    def __init__(self, layout: Layout, ways: Sequence[Way]) -> None:
        self._layout = layout
        self._ways = ways
        self._lock = threading.Lock()
        self._buckets: dict[tuple[int, ...], _Bucket] = {}
        self._home: dict[int, _Bucket] = {}  # parameter: the bucket that has its residual now
        self._loaded: dict[int, torch.Tensor] = {}
        self._touched: list[_Bucket] = []
        device = layout.parameters[0].device
        self.on_device = can_encode_on(device)
        """Whether buckets are encoded, and their mean is made, on the gradients' device."""
        self._device = device if self.on_device else _host

    @property
    def between_steps(self) -> bool:
        """Whether a step needs what the one before left, or its memory."""
        return self.on_device or any(way.codec.up != "f32" for way in self._ways)

    def memory_for(self, contents: Contents) -> tuple[Packing, Memory]:
        """How a bucket travels, and the memory for it. Once a step and bucket."""
        with self._lock:
            bucket = self._buckets.get(contents.parameters)
            if bucket is None or any(self._home[i] is not bucket for i in contents.parameters):
                bucket = self._add(contents)
            self._touched.append(bucket)
            memory = Memory(bucket.wire, bucket.host, bucket.now, bucket.next)
            return bucket.packing, memory

    def end_step(self, *, well: bool) -> None:
        """Every bucket of the step is done. well: all values were finite, and all sites summed."""
        with self._lock:
            if well:
                for bucket in self._touched:
                    bucket.swap()
            self._touched.clear()

    def state(self) -> dict[str, torch.Tensor]:
        """By parameter name, in its shape; without those that have no residual yet."""
        with self._lock:
            found = {}
            for i, name in enumerate(self._layout.names):
                residual = self._current(i)
                if residual is not None:
                    shape = self._layout.parameters[i].shape
                    found[name] = residual.detach().to(_host, copy=True).reshape(shape)
            return found

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replace all residuals. Refused, and nothing is changed: one that does not fit."""
        index = {name: i for i, name in enumerate(self._layout.names)}
        loaded = {}
        for name, tensor in state.items():
            if name not in index:
                raise Refused(f"the checkpoint has a residual of {name!r}, the model no parameter")
            shape = tuple(self._layout.parameters[index[name]].shape)
            if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
                raise Refused(f"the checkpoint's residual of {name!r} is not of the shape {shape}")
            loaded[index[name]] = tensor.detach().reshape(-1).clone()
        with self._lock:
            self._loaded = loaded
            self._buckets.clear()
            self._home.clear()
            self._touched.clear()

    def _add(self, contents: Contents) -> _Bucket:
        """A bucket that was not seen before takes over the residuals of its parameters."""
        places = contents.parameters
        sizes = [self._layout.parameters[i].numel() for i in places]
        packing = pack([(self._ways[i], size) for i, size in zip(places, sizes, strict=True)])
        parts = _parts(packing, places, sizes)
        bucket = _Bucket(packing, parts, self._device, on_device=self.on_device)
        for i in places:
            into, old = bucket.residual(i), self._current(i)
            if into is not None and old is not None:
                into.copy_(old)
            self._loaded.pop(i, None)
            self._home[i] = bucket
        homes = {id(home) for home in self._home.values()}
        self._buckets[places] = bucket
        self._buckets = {k: b for k, b in self._buckets.items() if id(b) in homes}
        return bucket

    def _current(self, parameter: int) -> torch.Tensor | None:
        if parameter in self._loaded:
            return self._loaded[parameter]
        home = self._home.get(parameter)
        return None if home is None else home.residual(parameter)


def _zeros(way: Way, elements: int, device: torch.device) -> torch.Tensor | None:
    return None if way.feedback is None else zeros(elements, way.feedback.dtype, device)


def _parts(
    packing: Packing, places: Sequence[int], sizes: Sequence[int]
) -> dict[int, tuple[int, slice]]:
    parts = {}
    segment, begin = 0, 0
    for i, size in zip(places, sizes, strict=True):
        if size and begin == packing.segments[segment].elements:
            segment, begin = segment + 1, 0
        parts[i] = (min(segment, len(packing.segments) - 1), slice(begin, begin + size))
        begin += size
    return parts
