"""One rank of exchange.py and wan.py: times all-reduces of gloo, of isthmus and of bare sockets.

The libraries take turns, operation by operation, so that what else the machine does hits all alike.
Every operation starts at a moment agreed before, and its result is checked.

    python bench/rank.py JSON      (started by exchange.py and wan.py)
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import isthmus
import torch
import torch.distributed as dist

WARM_UP = 2  # operations of each library that are not counted
# As training does, before anything is counted: BBR knows a path's rate only from operations that
# last longer than a round trip, and sends a small one over half a round trip until it does.
WARM_UP_ELEMENTS, WARM_UP_TURNS = 2_000_000, 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the parent asks for; `addresses` by rank. `lead_s`: from agreeing on a start to it."""

    addresses: list[str]
    ports: list[int]  # gloo, isthmus, then one a rank for bare sockets
    interface: str
    cases: list[dict[str, Any]]  # elements, repeats (by library), inner
    libraries: list[str]  # "gloo", "floor", and isthmus as "isthmus CODEC"
    lead_s: float
    out: str
    uplink_mbit: float | None = None  # what isthmus is told; this and the next as of join
    congestion: str | None = None


class Neighbours:
    """Bare TCP round the ring: what moving these bytes costs when nobody adds them up."""

    def __init__(self, job: Job, rank: int) -> None:
        world = len(job.addresses)
        after = (rank + 1) % world
        with socket.create_server((job.addresses[rank], job.ports[2 + rank])) as server:
            dist.barrier()
            self.next_ = socket.create_connection((job.addresses[after], job.ports[2 + after]))
            self.previous_, _ = server.accept()
        self.next_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.share_ = 2 * (world - 1) / world

    def all_reduce(self, x: torch.Tensor) -> None:
        """Send and receive as many bytes as an all-reduce of `x` must; `x` keeps its values."""
        count = int(self.share_ * x.numel() * 4)
        data = memoryview(bytearray(min(count, 1 << 20)))
        incoming = memoryview(bytearray(len(data)))

        def send() -> None:
            for at in range(0, count, len(data)):
                self.next_.sendall(data[: count - at])

        sender = threading.Thread(target=send) if count > 1 << 16 else None
        if sender is None:
            send()
        else:
            sender.start()
        left = count
        while left:
            got = self.previous_.recv_into(incoming[:left])
            if not got:
                raise ConnectionError("a neighbour has gone")
            left -= got
        if sender is not None:
            sender.join()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def wait_together(lead_s: float) -> float:
    """Return at a moment that rank 0 chose; the ranks share one machine and so one clock."""
    start = torch.tensor([time.monotonic() + lead_s], dtype=torch.float64)
    dist.broadcast(start, 0)
    time.sleep(max(0.0, start.item() - time.monotonic()))
    return float(start.item())


def timed(
    all_reduce: Callable[[torch.Tensor], None],
    x: torch.Tensor,
    *,
    inner: int,
    lead_s: float,
    expected: float,
    within: float,
) -> dict[str, float]:
    """One sample: `inner` operations in a row. Fails if the sum is wrong by more than `within`."""
    rank = dist.get_rank()
    x.fill_(rank + 1)
    start = wait_together(lead_s)
    cpu = cpu_s()
    for _ in range(inner):
        all_reduce(x)
    sample = {"start_s": start, "end_s": time.monotonic(), "cpu_s": cpu_s() - cpu}
    if expected and abs(x[0].item() - expected) > within * expected:
        raise AssertionError(f"rank {rank}: sum is {x[0].item()}, not {expected}")
    return sample


def measure(job: Job, session: Any, rank: int) -> list[dict[str, Any]]:
    """All cases; each library's samples by its name."""
    world = len(job.addresses)

    def ours(codec: str) -> Callable[[torch.Tensor], None]:
        return lambda x: session.all_reduce(x, codec=codec, op="sum").wait()

    actions: dict[str, Callable[[torch.Tensor], None]] = {"gloo": dist.all_reduce}
    for name in job.libraries:
        if name.startswith("isthmus "):
            actions[name] = ours(name.removeprefix("isthmus "))
    if "floor" in job.libraries:
        actions["floor"] = Neighbours(job, rank).all_reduce
    y = torch.ones(WARM_UP_ELEMENTS)
    for action in actions.values():
        for _ in range(WARM_UP_TURNS):
            action(y)
    rows = []
    for case in job.cases:
        x = torch.empty(case["elements"])
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in job.libraries}
        for turn in range(WARM_UP + max(case["repeats"].values())):
            for name in job.libraries:
                if turn >= WARM_UP + case["repeats"][name]:
                    continue
                sums = name != "floor" and case["inner"] == 1
                sample = timed(
                    actions[name],
                    x,
                    inner=case["inner"],
                    lead_s=job.lead_s,
                    expected=world * (world + 1) / 2 if sums else 0.0,
                    within=0.0 if name in ("gloo", "isthmus f32") else 0.02,
                )
                if turn >= WARM_UP:
                    samples[name].append(sample)
        rows.append(samples)
    return rows


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    rank = int(os.environ["WAN_SITE"])
    world = len(job.addresses)
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = job.interface
    session: Any = None
    if any(name.startswith("isthmus ") for name in job.libraries):
        # Before gloo: to isthmus, each of these processes is a site, and no rank of one.
        session = isthmus.join(
            rendezvous=f"{job.addresses[0]}:{job.ports[1]}",
            site=f"site{rank:02}",
            sites=world,
            serve=rank == 0,
            listen=f"{job.addresses[rank]}:0",
            uplink_mbit=job.uplink_mbit,
            congestion=job.congestion,
        )
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{job.addresses[0]}:{job.ports[0]}",
        rank=rank,
        world_size=world,
    )
    rows = measure(job, session, rank)
    Path(job.out, f"rank{rank}.json").write_text(json.dumps(rows))
    dist.barrier()
    if session is not None:
        session.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
