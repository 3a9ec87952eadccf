"""residuals: what error feedback keeps, by parameter, through every rebuilding of DDP's buckets.

Twice: `now`, left by the last step that ended well, and `next`, which the current one writes. A
step that ends well swaps them; one that does not leaves `now` as it was. A gateway keeps those of
its rail's shards.

Strays are residuals of elements that another gateway encodes: DDP builds its buckets anew after the
first step, a checkpoint may come from a run of other rails, and then elements change their rail. A
stray goes home inside the gradients. The rank that has it adds it to its own gradient before the
sum within the site, so that the other gateway encodes both, as if the residual were its own. It is
kept until that happened in a step that ended well.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from isthmus.arrays import can_encode_on, zeros
from isthmus.hook.layout import Contents, Layout
from isthmus.hook.pieces import Piece, divide, load, save
from isthmus.hook.shards import Shards
from isthmus.packing import Packing, Way
from isthmus.stages.encode import Memory

_host = torch.device("cpu")


@dataclass(frozen=True)
class _Part:
    """Where a shard has a parameter's elements. begin: the first of them, in the parameter."""

    segment: int
    where: slice
    begin: int


class _Bucket:
    """Memory for one bucket's shard: flat tensors in its order, one for each segment."""

    def __init__(
        self,
        packing: Packing,
        parts: Mapping[int, _Part],
        device: torch.device,
        *,
        on_device: bool,
    ) -> None:
        self.packing = packing
        self.parts = parts  # by parameter
        size = 0 if packing.exact and not on_device else packing.offsets[-1]
        self.wire = zeros(size, "uint8", device)
        self.host = self.wire if device == _host else zeros(size, "uint8", _host, pinned=True)
        self.now = tuple(_zeros(s.way, s.elements, device) for s in packing.segments)
        self.next = tuple(_zeros(s.way, s.elements, device) for s in packing.segments)

    def residual(self, parameter: int) -> Piece | None:
        """A view of what the last good step left of one parameter's elements in this shard."""
        part = self.parts.get(parameter)
        whole = None if part is None else self.now[part.segment]
        return None if part is None or whole is None else Piece(part.begin, whole[part.where])

    def swap(self) -> None:
        self.now, self.next = self.next, self.now


class Residuals:
    """Of one model at one rank. `ways`: of each parameter, in the model's order. ranks: of the
    site."""

    def __init__(
        self, layout: Layout, ways: Sequence[Way], shards: Shards, *, rank: int, ranks: int
    ) -> None:
        self._layout = layout
        self._ways = ways
        self._shards = shards
        self._rank = rank
        self._ranks = ranks
        self._lock = threading.Lock()
        self._buckets: dict[tuple[int, ...], _Bucket] = {}
        self._home: dict[int, _Bucket] = {}  # parameter: the bucket that has its residual now
        self._loaded: dict[int, list[Piece]] = {}
        self._strays: dict[int, list[Piece]] = {}
        self._sent: set[int] = set()  # parameters whose strays are in this step's gradients
        self._touched: list[_Bucket] = []
        device = layout.parameters[0].device
        self.on_device = can_encode_on(device)
        """Whether buckets are encoded, and their mean is made, on the gradients' device."""
        self._device = device if self.on_device else _host

    @property
    def between_steps(self) -> bool:
        """Whether a step needs what the one before left, or its memory."""
        return self.on_device or any(way.codec.up != "f32" for way in self._ways)

    def may_stray(self, contents: Contents) -> bool:
        """Whether `send_strays` has to wait for the end of the step before: there are strays, or a
        bucket that was not seen before may make some."""
        with self._lock:
            return self.between_steps and (bool(self._strays) or self._known(contents) is None)

    def send_strays(self, contents: Contents, gradients: torch.Tensor) -> None:
        """Add what other gateways should have to this rank's flat bucket, in float32.

        Once a step and bucket, before the sum within the site; where anything may stray, once the
        step before has ended.
        """
        with self._lock:
            self._bucket_of(contents)
            if not self._strays:
                return
            begin = 0
            for i in contents.parameters:
                feedback = self._ways[i].feedback
                for piece in self._strays.get(i, []):
                    assert feedback is not None
                    own = gradients[begin + piece.begin : begin + piece.end]
                    # The sum within the site is divided by the number of ranks, and the encoder
                    # would have taken beta of it.
                    own.add_(piece.values.to(own.device), alpha=self._ranks * feedback.beta)
                    self._sent.add(i)
                begin += self._layout.parameters[i].numel()

    def memory_for(self, contents: Contents) -> tuple[Packing, Memory]:
        """How this rail's shard of a bucket travels, and the memory for it. Once a step and bucket.

        After send_strays."""
        with self._lock:
            bucket = self._bucket_of(contents)
            self._touched.append(bucket)
            memory = Memory(bucket.wire, bucket.host, bucket.now, bucket.next)
            return bucket.packing, memory

    def end_step(self, *, well: bool) -> None:
        """Every bucket of the step is done. well: all values were finite, and all sites summed."""
        with self._lock:
            if well:
                for bucket in self._touched:
                    bucket.swap()
                for i in self._sent:
                    self._strays.pop(i, None)
            self._touched.clear()
            self._sent.clear()

    def state(self) -> dict[str, torch.Tensor]:
        """What this rank keeps, by parameter; without those that have no residual yet."""
        with self._lock:
            places = range(len(self._layout.parameters))
            return save(self._layout, {i: self._pieces(i) for i in places})

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replace all residuals. Refused, and nothing is changed: one that does not fit."""
        loaded = load(self._layout, state)
        with self._lock:
            self._loaded = loaded
            self._buckets.clear()
            self._home.clear()
            self._strays.clear()
            self._sent.clear()
            self._touched.clear()

    def _bucket_of(self, contents: Contents) -> _Bucket:
        return self._known(contents) or self._add(contents)

    def _known(self, contents: Contents) -> _Bucket | None:
        bucket = self._buckets.get(contents.parameters)
        if bucket is None or any(self._home[i] is not bucket for i in contents.parameters):
            return None
        return bucket

    def _add(self, contents: Contents) -> _Bucket:
        """A bucket that was not seen before takes over the residuals of its parameters."""
        places = contents.parameters
        cut = self._shards.of(contents)
        packing = cut.shard(self._rank)
        sizes = [self._layout.parameters[i].numel() for i in places]
        parts = _parts(packing, places, sizes, cut.bounds(self._rank))
        bucket = _Bucket(packing, parts, self._device, on_device=self.on_device)
        for i in places:
            self._move(i, bucket.residual(i))
            self._home[i] = bucket
        homes = {id(home) for home in self._home.values()}
        self._buckets[places] = bucket
        self._buckets = {k: b for k, b in self._buckets.items() if id(b) in homes}
        return bucket

    def _move(self, parameter: int, into: Piece | None) -> None:
        """What this rank has of a residual goes to its new place, or becomes a stray."""
        strays = []
        for piece in self._pieces(parameter):
            inside, rest = divide(piece, into)
            if inside is not None and into is not None:
                place = into.part(inside.begin, inside.end)
                assert place is not None
                place.values.add_(inside.values.to(place.values.device))
            strays += [each.copy() for each in rest]
        self._loaded.pop(parameter, None)
        self._strays.pop(parameter, None)
        if strays and self._ways[parameter].feedback is not None:
            self._strays[parameter] = strays

    def _pieces(self, parameter: int) -> list[Piece]:
        if parameter in self._loaded:
            return self._loaded[parameter]
        home = self._home.get(parameter)
        own = None if home is None else home.residual(parameter)
        return [*([] if own is None else [own]), *self._strays.get(parameter, [])]


def _zeros(way: Way, elements: int, device: torch.device) -> torch.Tensor | None:
    return None if way.feedback is None else zeros(elements, way.feedback.dtype, device)


def _parts(
    packing: Packing, places: Sequence[int], sizes: Sequence[int], bounds: tuple[int, int]
) -> dict[int, _Part]:
    """Of the shard that holds these elements of its bucket."""
    parts = {}
    segment, at = 0, 0  # in the shard
    offset = 0  # in the bucket
    for i, size in zip(places, sizes, strict=True):
        first, last = max(offset, bounds[0]), min(offset + size, bounds[1])
        if first < last:
            if at == packing.segments[segment].elements:
                segment, at = segment + 1, 0
            parts[i] = _Part(segment, slice(at, at + last - first), first - offset)
            at += last - first
        offset += size
    return parts
