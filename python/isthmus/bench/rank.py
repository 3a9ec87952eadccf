"""One rank of exchange and wan: times all-reduces of gloo, of isthmus and of bare sockets.

The libraries take turns, operation by operation, so that what else the machine does hits all alike.
Every operation starts at a moment agreed before, and its result is checked.

    python -m isthmus.bench.rank JOB FOLDER      (started by job.py)
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from isthmus import _core
from isthmus.bench.job import ByLibrary, Case, Job, Result, Sample, job_of
from isthmus.codecs import parse
from isthmus.config import join_settings
from isthmus.session import Session

ENCODINGS = 5
WARM_UP = 2  # operations of each library that are not counted
# As training does, before anything is counted: BBR knows a path's rate only from operations that
# last longer than a round trip, and sends a small one over half a round trip until it does.
WARM_UP_ELEMENTS, WARM_UP_TURNS = 2_000_000, 3

Action = Callable[[torch.Tensor], object]


class Meeting:
    """How the ranks agree: over a store at the first one, as two of them may have no way to each
    other. They share one machine and so one clock."""

    def __init__(self, job: Job, rank: int) -> None:
        self.rank, self.world, self._lead_s = rank, len(job.addresses), job.lead_s
        self.store = TCPStore(job.addresses[0], job.ports[0], self.world, rank == 0)
        self._number = 0

    def _told(self, seconds: float, by: int, name: str) -> float:
        if self.rank == by:
            self.store.set(name, repr(seconds))
        return float(self.store.get(name))

    def start_s(self) -> float:
        """Return at a moment that rank 0 chose, and when that was."""
        self._number += 1
        start = self._told(time.monotonic() + self._lead_s, 0, f"start {self._number}")
        time.sleep(max(0.0, start - time.monotonic()))
        return start

    def most(self, seconds: float) -> float:
        """Of all ranks."""
        self._number += 1
        names = [f"of {rank}, {self._number}" for rank in range(self.world)]
        self.store.set(names[self.rank], repr(seconds))
        return max(float(self.store.get(name)) for name in names)

    def end(self) -> None:
        """Return when all are here; the first one, with the store, as the last."""
        self.store.add("left", 1)
        while self.rank == 0 and self.store.add("left", 0) < self.world:
            time.sleep(0.01)


class Neighbours:
    """Bare TCP round the ring: what moving these bytes costs when nobody adds them up."""

    def __init__(self, job: Job, meeting: Meeting) -> None:
        world, rank = meeting.world, meeting.rank
        after = (rank + 1) % world
        with socket.create_server((job.addresses[rank], job.ports[2 + rank])) as server:
            meeting.most(0)
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


def timed(
    action: Action, x: torch.Tensor, meeting: Meeting, *, inner: int, idle_s: float
) -> Sample:
    """One sample: `inner` operations in a row."""
    x.fill_(meeting.rank + 1)
    time.sleep(idle_s)
    start = meeting.start_s()
    cpu = cpu_s()
    for _ in range(inner):
        action(x)
    return Sample(start_s=start, end_s=time.monotonic(), cpu_s=cpu_s() - cpu)


def check(library: str, x: torch.Tensor, meeting: Meeting) -> None:
    """Fail if the sum is wrong by more than the library's codec may make it. Of equal values, topk
    sends an arbitrary few: there is nothing to check."""
    if library == "isthmus topk":
        return
    world = meeting.world
    expected = world * (world + 1) / 2
    within = 0.0 if library in ("gloo", "isthmus f32") else 0.02
    if abs(x[0].item() - expected) > within * expected:
        raise AssertionError(
            f"{library}, rank {meeting.rank}: the sum is {x[0].item()}, not {expected}"
        )


def actions(job: Job, session: Session | None, meeting: Meeting) -> dict[str, Action]:
    """By library: what replaces a tensor by its sum over all ranks."""

    def ours(codec: str) -> Action:
        assert session is not None
        return lambda x: session.all_reduce(x, codec=codec, op="sum").wait()

    found: dict[str, Action] = {}
    for library in job.libraries:
        name, _, codec = library.partition(" ")
        if name == "isthmus":
            found[library] = ours(codec)
        elif name == "gloo":
            found[library] = dist.all_reduce
        else:
            found[library] = Neighbours(job, meeting).all_reduce
    return found


def measure(job: Job, case: Case, found: dict[str, Action], meeting: Meeting) -> ByLibrary:
    """Each library's samples of one case."""
    x = torch.empty(case.elements)
    samples: ByLibrary = {library: [] for library in found}
    for turn in range(WARM_UP + max(case.repeats.values())):
        for library, action in found.items():
            if turn >= WARM_UP + case.repeats[library]:
                continue
            sample = timed(action, x, meeting, inner=case.inner, idle_s=job.idle_s)
            if library != "floor" and case.inner == 1:
                check(library, x, meeting)
            if turn >= WARM_UP:
                samples[library].append(sample)
    return samples


def encoding_s(elements: int, codec: str, meeting: Meeting) -> float:
    """What encoding takes, all ranks at a time: nothing is sent before it is done."""
    way = parse(codec)
    if way.up == "f32":
        return 0.0
    x = np.ones(elements, np.float32)
    took = []
    for _ in range(ENCODINGS):
        start = meeting.start_s()
        _core.encode(way.up, x, dither=(0, 0, 0, 0) if way.stochastic else None)
        took.append(meeting.most(time.monotonic() - start))
    return statistics.median(took)


def planned_s(job: Job, case: Case, session: Session | None, meeting: Meeting) -> dict[str, float]:
    """What the session expects of isthmus's libraries, if it has measured its links, and encoding,
    which its plans leave out."""
    if session is None or session.links is None:
        return {}
    codecs = [name.removeprefix("isthmus ") for name in job.libraries if name.startswith("isth")]
    return {
        f"isthmus {c}": session.links.plan(case.elements, c).seconds
        + encoding_s(case.elements, c, meeting)
        for c in codecs
    }


def join(job: Job, rank: int) -> Session:
    """To isthmus, each of these processes is a site, and no rank of one."""
    return Session(
        join_settings(
            rendezvous=f"{job.addresses[0]}:{job.ports[1]}",
            site=f"site{rank:02}",
            sites=len(job.addresses),
            serve=rank == 0,
            listen=f"{job.addresses[rank]}:0",
            uplink_mbit=job.uplink_mbit[rank] or None,
            congestion=job.congestion,
            streams=job.streams,
            measure=job.measured,
        )
    )


def main() -> None:
    job = job_of(sys.argv[1])
    rank = int(os.environ["WAN_SITE"])
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = job.interface
    with_isthmus = any(library.startswith("isthmus ") for library in job.libraries)
    session = join(job, rank) if with_isthmus else None
    meeting = Meeting(job, rank)
    if "gloo" in job.libraries:
        store = PrefixStore("gloo", meeting.store)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=meeting.world)
    found = actions(job, session, meeting)
    y = torch.ones(WARM_UP_ELEMENTS)
    for action in found.values():
        for _ in range(WARM_UP_TURNS):
            action(y)
    results = [
        Result(
            samples=measure(job, case, found, meeting),
            planned_s=planned_s(job, case, session, meeting),
        )
        for case in job.cases
    ]
    text = json.dumps([asdict(result) for result in results])
    Path(sys.argv[2], f"rank{rank}.json").write_text(text)
    meeting.most(0)
    if session is not None:
        session.close()
    if dist.is_initialized():
        dist.destroy_process_group()
    meeting.end()


if __name__ == "__main__":
    main()
