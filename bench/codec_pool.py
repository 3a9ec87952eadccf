"""How fast one rank decodes, adds and encodes, by the number of its codec threads. No network.

    python bench/codec_pool.py [--codecs int4 int8 f32] [--world 4] [--mb 100] [--threads 0 1 2]
                               [--repeats 7]

All slices of all peers lie in memory; a sample begins with the first one's arrival and ends when
the rank's result stands and its share of the sum is encoded. The numbers of threads take turns. A
thread beside the calling one is worth nothing where there is no core for it. "late": what the sum
begins with, rank 0's term, comes after all others', which wait for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
from isthmus import _core

SLICE_ELEMENTS = 64 << 10  # csrc/collective/choose.hpp


@dataclass(frozen=True)
class Arrival:
    peer: int
    transfer: int
    offset: int
    wire: bytes


@dataclass(frozen=True)
class World:
    """`direct` between ranks that all have the same values, of which the last is timed."""

    up: str
    down: str
    ranks: int
    elements: int
    wire: bytes

    @property
    def timed(self) -> int:
        return self.ranks - 1

    def executor(self, rank: int, threads: int) -> _core.Executor:
        return _core.Executor(
            "direct",
            rank=rank,
            world=self.ranks,
            wire=self.wire,
            segments=[(self.up, self.down, self.elements)],
            weights=(),
            mean=True,
            slice_elements=SLICE_ELEMENTS,
            threads=threads,
        )


def world_of(codec: str, ranks: int, elements: int) -> World:
    values = np.random.default_rng(1).standard_normal(elements, np.float32)
    up, down = codec, "int8" if codec in ("int4", "int2") else codec
    return World(up, down, ranks, elements, _core.encode(up, values).tobytes())


def arrivals_in(world: World) -> list[Arrival]:
    """What the others send to the timed rank, in the order in which it can be sent."""
    executors = [world.executor(rank, 0) for rank in range(world.ranks)]
    for executor in executors:
        executor.start()
    arrivals = []
    pairs = [(a, b) for a in range(world.ranks) for b in range(world.ranks) if a != b]
    while not all(executor.finished() for executor in executors):
        for source, target in pairs:
            if (piece := executors[source].next(target)) is not None:
                arrival = Arrival(source, piece.transfer, piece.offset, piece.wire())
                executors[source].sent(piece)
                executors[target].take(source, arrival.transfer, arrival.offset, arrival.wire)
                if target == world.timed:
                    arrivals.append(arrival)
        for executor in executors:
            executor.drain()
    return arrivals


def sample(world: World, arrivals: list[Arrival], threads: int) -> tuple[float, bytes]:
    """Seconds, and the result."""
    executor = world.executor(world.timed, threads)
    executor.start()
    begun = time.perf_counter()
    for arrival in arrivals:
        executor.take(arrival.peer, arrival.transfer, arrival.offset, arrival.wire)
    executor.drain()
    took = time.perf_counter() - begun
    assert executor.output_ready()
    return took, executor.output().tobytes()


def main() -> int:
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--codecs", nargs="+", default=["int4", "int8", "f32"])
    ap.add_argument("--world", type=int, default=4)
    ap.add_argument("--mb", type=float, default=100)
    ap.add_argument("--threads", type=int, nargs="+", default=[0, 1, 2])
    ap.add_argument("--repeats", type=int, default=7)
    options = ap.parse_args()
    print(f"{os.cpu_count()} cores; {options.mb:g} MB of float32, direct, {options.world} ranks")
    print(f"{'codec':<8}{'order':<8}{'threads':>8}{'GB/s of float32':>18}{'to the first':>15}")
    for codec in options.codecs:
        world = world_of(codec, options.world, int(options.mb * 1e6 / 4))
        even = arrivals_in(world)
        orders = {"even": even, "late": sorted(even, key=lambda arrival: arrival.peer == 0)}
        cases = [(order, threads) for order in orders for threads in options.threads]
        took: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
        results = set()
        for turn in range(1 + options.repeats):
            for order, threads in cases:
                seconds, result = sample(world, orders[order], threads)
                results.add(result)
                if turn > 0:
                    took[order, threads].append(seconds)
        assert len(results) == 1, "threads or order changed the result"
        rate = {case: world.elements * 4e-9 / statistics.median(took[case]) for case in cases}
        for order, threads in cases:
            ratio = rate[order, threads] / rate[cases[0]]
            print(f"{codec:<8}{order:<8}{threads:>8}{rate[order, threads]:>18.1f}{ratio:>15.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
