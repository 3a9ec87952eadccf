"""Carries slices between executors in memory, in an order that only the seed knows."""

from __future__ import annotations

import random

import numpy as np
from isthmus import _core
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Net:
    """A world of executors.

    A slice is handed out, placed, and arrives, and work on it waits; between these, other slices
    have their turn.
    """

    def __init__(self, executors: list[_core.Executor], seed: int) -> None:
        self.executors = executors
        self.random = random.Random(seed)
        self.unstarted = list(executors)
        self.out: list[tuple[int, int, _core.Slice]] = []
        self.placed: list[tuple[int, int, _core.Slice]] = []
        self.computing: list[_core.Executor] = []

    def run(self) -> list[Floats]:
        """Each executor starts at some moment: slices leave and come before it, too."""
        self.random.shuffle(self.unstarted)
        while self.step() or self.unstarted:
            if self.unstarted and self.random.random() < 0.1:
                self.unstarted.pop().start()
        for rank, executor in enumerate(self.executors):
            assert executor.output_ready() and executor.finished() and executor.input_free()
            assert not any(executor.waits_for(peer) for peer in range(len(self.executors)))
            assert not any(executor.has_next(peer) for peer in range(len(self.executors))), rank
        return [executor.output() for executor in self.executors]

    def run_with_threads(self) -> None:
        """Like run(), of executors whose threads may still compute when nothing moves."""
        for executor in self.unstarted:
            executor.start()
        while not all(executor.finished() for executor in self.executors):
            if not self.step():
                for executor in self.executors:
                    executor.drain()

    def step(self) -> bool:
        world = range(len(self.executors))
        source, target = self.random.choice(world), self.random.choice(world)
        self.computing = [executor for executor in self.executors if executor.to_compute()]
        moves = [self.place] * bool(self.out) + [self.arrive] * bool(self.placed)
        moves += [self.compute] * bool(self.computing)
        if moves and self.random.random() < 0.6:
            self.random.choice(moves)()
        elif self.executors[source].has_next(target):
            self.pull(source, target)
        elif not moves:
            ready = [(r, p) for r in world for p in world if self.executors[r].has_next(p)]
            if not ready:
                return False
            self.pull(*self.random.choice(ready))
        return True

    def pull(self, source: int, target: int) -> None:
        piece = self.executors[source].next(target, sums_first=self.random.random() < 0.5)
        assert piece is not None and not self.executors[source].finished()
        self.out.append((source, target, piece))

    def place(self) -> None:
        source, target, piece = self.out.pop(self.random.randrange(len(self.out)))
        wire = piece.wire()
        self.executors[source].sent(piece)
        assert self.executors[target].waits_for(source)
        if self.random.random() < 0.2:  # it lay in a buffer since before the executor was there
            self.executors[target].take(source, piece.transfer, piece.offset, wire)
            return
        memory = self.executors[target].place(source, piece.transfer, piece.offset, len(wire))
        memory.cast("B")[:] = wire
        self.placed.append((source, target, piece))

    def arrive(self) -> None:
        source, target, piece = self.placed.pop(self.random.randrange(len(self.placed)))
        self.executors[target].arrived(source, piece.transfer, piece.offset)

    def compute(self) -> None:
        executor = self.random.choice(self.computing)
        executor.compute(self.random.randrange(executor.to_compute()))


def assert_all_bits_equal(results: list[Floats], expected: Floats | None = None) -> None:
    reference = results[0] if expected is None else expected
    for rank, result in enumerate(results):
        different = np.flatnonzero(result.view(np.uint32) != reference.view(np.uint32))
        assert different.size == 0, f"rank {rank} differs at {different[:5]}"
