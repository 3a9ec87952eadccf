"""company: the sites of a session that are left, and what they tell each other."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.errors import PeerLost


@dataclass(frozen=True)
class Company:
    """Places count those that are left, ranks all sites of the session. The same at all of them.

    sites: of the session, by rank. ranks: who is left, by place. rank: this site's."""

    native: _core.Session
    sites: tuple[str, ...]
    ranks: tuple[int, ...]
    rank: int

    @staticmethod
    def of(native: _core.Session, sites: Sequence[str], rank: int) -> "Company":
        """Who is left now. All of them must call it at the same point."""
        work = native.all_gather(b"")
        work.wait()
        return Company(native, tuple(sites), tuple(work.contributors), rank)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sites[rank] for rank in self.ranks)

    @property
    def place(self) -> int:
        """This site's."""
        return self.ranks.index(self.rank)

    @property
    def relayed(self) -> tuple[tuple[int, int, int], ...]:
        """Places of two that are connected by way of a third."""
        place = {rank: i for i, rank in enumerate(self.ranks)}
        return tuple(
            (place[a], place[b], place[by])
            for a, b, by in self.native.relayed
            if {a, b, by} <= place.keys()
        )

    def by_rank(self, numbers: Sequence[float]) -> list[float]:
        """What stands by place; 0 for those that are lost."""
        known = dict(zip(self.ranks, numbers, strict=True))
        return [known.get(rank, 0.0) for rank in range(len(self.sites))]

    def share(self, numbers: Sequence[float] | NDArray[np.float64]) -> list[tuple[float, ...]]:
        """Every one's numbers, by place.

        PeerLost, at all of them, if one is lost meanwhile: none has gone further than this.
        """
        work = self.native.all_gather(struct.pack(f"<{len(numbers)}d", *numbers))
        work.wait()
        there = set(work.contributors)
        lost = [self.sites[rank] for rank in self.ranks if rank not in there]
        if lost:
            raise PeerLost(f'site "{lost[0]}" was lost while links were measured', lost[0])
        rows = work.gathered()
        return [struct.unpack(f"<{len(rows[rank]) // 8}d", rows[rank]) for rank in self.ranks]
