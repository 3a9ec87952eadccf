"""shards: how the rails divide a bucket among them; the same at every rank of every site."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.hook.layout import Contents, Layout
from isthmus.packing import EXACT, Packing, Way, cut, pack


@dataclass(frozen=True)
class Cut:
    """One bucket's shards. packing: of the whole bucket. edges: of the shards, by rail."""

    packing: Packing
    edges: tuple[int, ...]

    def bounds(self, rail: int) -> tuple[int, int]:
        """The first element of a rail's shard, and the one behind its last; equal where it has
        none, as at ranks that are no gateways."""
        if rail + 1 >= len(self.edges):
            return 0, 0
        return self.edges[rail], self.edges[rail + 1]

    def shard(self, rail: int) -> Packing:
        return self.packing.part(*self.bounds(rail))


class Shards:
    """Of one model's buckets. `ways`: of each parameter, in the model's order."""

    def __init__(self, layout: Layout, ways: Sequence[Way], rails: int) -> None:
        self._layout = layout
        self._ways = ways
        self._rails = rails
        self._cuts: dict[tuple[int, ...], Cut] = {}

    def of(self, contents: Contents) -> Cut:
        places = contents.parameters
        if places not in self._cuts:
            sizes = [self._layout.parameters[i].numel() for i in places]
            self._cuts[places] = self._cut(
                pack([(self._ways[i], size) for i, size in zip(places, sizes, strict=True)])
            )
        return self._cuts[places]

    def of_exact(self, elements: int) -> Cut:
        """Of values that are no gradients and go as f32."""
        return self._cut(pack([(EXACT, elements)]))

    def _cut(self, packing: Packing) -> Cut:
        return Cut(packing, cut(packing, self._rails))
