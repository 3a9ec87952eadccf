"""regrouping: a backward pass in other buckets than DDP's.

DDP builds its buckets anew after its first pass. A site that comes in later has that pass before
it when the others have it behind them, and sites must reduce the same buckets. So it keeps the
gradients until it has them all, and sends them in the others' buckets.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.futures import Future, collect_all

from isthmus.hook.layout import Contents, Layout


class Submit(Protocol):
    """Begins to replace a flat bucket by its mean."""

    def __call__(
        self, buffer: torch.Tensor, /, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]": ...


class Regrouping:
    """Of one pass. buckets: the parameters of each that is to be made, in its order."""

    def __init__(self, layout: Layout, buckets: Sequence[tuple[int, ...]], submit: Submit) -> None:
        self._layout = layout
        self._buckets = buckets
        self._submit = submit
        self._parts: dict[int, torch.Tensor] = {}  # of DDP's buckets, by parameter
        self._given: list[tuple[torch.Tensor, Future[torch.Tensor]]] = []

    def take(
        self, buffer: torch.Tensor, contents: Contents, *, is_last: bool
    ) -> "Future[torch.Tensor]":
        """The future brings `buffer` with the means, once DDP's last bucket was taken."""
        future: Future[torch.Tensor] = Future(
            devices=[buffer.device] if buffer.device.type == "cuda" else None
        )
        self._given.append((buffer, future))
        begin = 0
        for i in contents.parameters:
            end = begin + self._layout.parameters[i].numel()
            self._parts[i] = buffer[begin:end]
            begin = end
        if is_last:
            self._send()
        return future

    def _send(self) -> None:
        flats = [torch.cat([self._parts[i] for i in places]) for places in self._buckets]
        works = []
        for number, (flat, places) in enumerate(zip(flats, self._buckets, strict=True)):
            last = number == len(flats) - 1
            works.append(self._submit(flat, self._layout.of_places(places), is_last=last))

        def give(_: object) -> None:
            for flat, places in zip(flats, self._buckets, strict=True):
                sizes = [self._parts[i].numel() for i in places]
                for i, mean in zip(places, torch.split(flat, sizes), strict=True):
                    self._parts[i].copy_(mean)
            for buffer, future in self._given:
                future.set_result(buffer)

        collect_all(works).then(give)
