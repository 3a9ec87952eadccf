"""What every rank of the demo runs under torchrun: an ordinary DDP script, and the two lines of
isthmus.

With --plain the same script is one ordinary gloo world across all sites, and the two lines are
left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import isthmus
from isthmus.demo import data, topology
from isthmus.demo.data import Tokens
from isthmus.demo.model import SIZES, build, digest
from isthmus.demo.record import Record
from isthmus.hook import Hook


class Trainer:
    """One rank's model with all that it takes to train it, a step at a time."""

    def __init__(
        self,
        model: DistributedDataParallel,
        tokens: Tokens,
        *,
        seat: int,
        rows: int,
        length: int,
        hook: Hook | None,
        counts_bytes: bool,
    ) -> None:
        self.model = model
        self.tokens_, self.seat_, self.rows_, self.length_ = tokens, seat, rows, length
        # Fused: top-k leaves second moments at zero, and MKL, which takes the roots of the unfused
        # one, needs three times as long for those (docs/bench.md).
        self.optimizer_ = torch.optim.AdamW(
            model.parameters(), lr=1e-3, weight_decay=0.01, fused=True
        )
        self.schedule_ = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer_, lambda step: min(1.0, (step + 1) / 10)
        )
        self.watch_ = Stopwatch(model, hook, counts_bytes=counts_bytes)

    def begin(self) -> None:
        """Count bytes from now on: others may have sent some since the last step."""
        self.watch_.begin()

    def step(self, number: int) -> Record:
        """One step of training, on the rank's batch of this number."""
        batch = torch.from_numpy(
            data.batch(
                self.tokens_, step=number, seat=self.seat_, rows=self.rows_, length=self.length_
            )
        )
        self.watch_.start()
        logits = self.model(input_ids=batch[:, :-1]).logits
        loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        self.watch_.gradients_summed()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer_.step()
        self.schedule_.step()
        self.optimizer_.zero_grad()
        return self.watch_.stop(step=number, loss=loss.item(), tokens=self.rows_ * self.length_)


def train(options: argparse.Namespace, site: int, local_rank: int) -> None:
    """All of it: the model, the steps, and what the ranks hold at the end."""
    size = SIZES[options.size]
    dist.init_process_group("gloo")  # this site's own world; with --plain, one world of all sites
    model = DistributedDataParallel(build(size))
    session = hook = None
    if not options.plain:
        session = isthmus.join()  # address, site: ISTHMUS_* variables
        hook = isthmus.register(model, session, codec=options.codec)

    trainer = Trainer(
        model,
        np.load(topology.tokens_file(options.data, site, local_rank), mmap_mode="r"),
        seat=topology.seat(site, local_rank),
        rows=options.rows,
        length=size.length,
        hook=hook,
        counts_bytes=local_rank == 0,
    )
    with topology.records_file(options.out, site, local_rank).open("w", buffering=1) as records:
        for step in range(options.steps):
            records.write(trainer.step(step).line())

    gather_digests(options, digest(model.module), session)
    if session is not None:
        session.close()
    leave()


def leave() -> None:
    """End this process, which has nothing more to do."""
    # gloo's threads need the GIL to let go of tensors gathered last, and the group's destructor
    # joins them while it holds the GIL. A thread that is late then waits for ever, so no destructor
    # runs: what is left goes with the process.
    dist.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def gather_digests(options: argparse.Namespace, mine: str, session: Any) -> None:
    """Write what all ranks of all sites hold; with isthmus it travels over the session, so each
    site has seen it."""
    here: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(here, mine)
    if session is None:
        held = {}
        for i, site in enumerate(topology.SITES):
            held[site.name] = [here[topology.seat(i, r)] for r in range(site.ranks)]
    elif dist.get_rank() == 0:
        everywhere = session.all_gather(json.dumps({session.site: here}).encode())
        held = {k: v for part in everywhere for k, v in json.loads(part).items()}
    if dist.get_rank() == 0 and os.environ["WAN_SITE"] == "0":
        topology.digests_file(options.out).write_text(json.dumps(held, indent=1) + "\n")


class Stopwatch:
    """Splits a step at two moments: the last gradient is ready; all gradients are summed."""

    def __init__(self, model: torch.nn.Module, hook: Hook | None, *, counts_bytes: bool) -> None:
        self.counts_bytes_ = counts_bytes
        self.hook_ = hook
        self.ready_ = self.start_ = self.summed_ = self.cpu_ = 0.0
        for p in model.parameters():
            p.register_post_accumulate_grad_hook(self.note_)  # type: ignore[no-untyped-call]
        self.begin()

    def begin(self) -> None:
        self.sent_ = sent_bytes()
        self.exchanged_ = self.exchanged()

    def exchanged(self) -> float:
        """Seconds of all exchanges so far."""
        return 0.0 if self.hook_ is None else float(self.hook_.stats()["exchange_seconds"])

    def note_(self, _: torch.Tensor) -> None:
        self.ready_ = time.monotonic()

    def start(self) -> None:
        self.start_ = self.ready_ = time.monotonic()
        self.cpu_ = time.process_time()

    def gradients_summed(self) -> None:
        self.summed_ = time.monotonic()

    def stop(self, *, step: int, loss: float, tokens: int) -> Record:
        now, sent = time.monotonic(), sent_bytes()
        wan = None if sent is None or self.sent_ is None else sent - self.sent_
        exchanged = self.exchanged()
        exchange = None if self.hook_ is None else exchanged - self.exchanged_
        self.sent_, self.exchanged_ = sent, exchanged
        return Record(
            step=step,
            loss=loss,
            tokens=tokens,
            start_s=self.start_,
            step_s=now - self.start_,
            compute_s=self.ready_ - self.start_,
            optimizer_s=now - self.summed_,
            exchange_s=exchange,
            cpu_s=time.process_time() - self.cpu_,
            wan_bytes=wan if self.counts_bytes_ else None,
        )


def sent_bytes() -> int | None:
    """What this site has sent into the emulated WAN, headers included; None on loopback."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "tun0":
            return int(counters.split()[8])
    return None


def main(argv: Sequence[str] | None = None) -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--data", type=Path, required=True, help="folder that data.prepare filled")
    ap.add_argument("--out", type=Path, required=True, help="folder for records")
    ap.add_argument("--steps", type=int, required=True)
    ap.add_argument("--rows", type=int, required=True, help="texts in a rank's batch")
    ap.add_argument("--size", choices=sorted(SIZES), required=True)
    ap.add_argument("--codec", required=True)
    ap.add_argument("--plain", action="store_true", help="ordinary gloo DDP across all sites")
    options = ap.parse_args(argv)
    torch.set_num_threads(1)
    train(options, int(os.environ["WAN_SITE"]), int(os.environ["LOCAL_RANK"]))


if __name__ == "__main__":
    main()
