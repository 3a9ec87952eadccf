"""One rank of the ddp bench: models trained in several ways, which take turns.

A way is what carries gradients between the sites. All ranks are one torch world, of which each site
has a group of its own; so the ways share processes, data and network, and what else the machine
does hits all.

    python -m isthmus.bench.training PLAN      (started by torchrun at each site; see demo/site.py)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from isthmus.bench.carriers import Carrier
from isthmus.config import join_settings
from isthmus.demo import topology
from isthmus.demo.model import SIZES, build
from isthmus.demo.record import Record
from isthmus.demo.train import Trainer, leave
from isthmus.hook import Hook, register
from isthmus.session import Session


@dataclass(frozen=True, kw_only=True)
class Plan:
    """In every turn, every way trains `steps` steps after some that do not count: the first of a
    turn finds idle connections, and a way's very first ones (warm_up) find DDP arranging its
    buckets."""

    ways: Sequence[Carrier]
    turns: int
    steps: int
    warm_up: int
    size: str
    rows: int
    data: str
    out: str

    def uncounted(self, turn: int) -> int:
        return self.warm_up if turn == 0 else 1


def records_file(out: Path, way: Carrier, turn: int, site: int, local_rank: int) -> Path:
    """Where a rank writes the steps of one turn that count."""
    folder = out / f"{way.name.replace(',', '').replace(' ', '-')}-{turn}"
    folder.mkdir(exist_ok=True)
    return topology.records_file(folder, site, local_rank)


class Ways:
    """A trainer for each way, all with the same first parameters."""

    def __init__(self, plan: Plan, site: int, local_rank: int) -> None:
        self.plan_, self.site_, self.local_rank_ = plan, site, local_rank
        groups = [
            dist.new_group([topology.seat(i, r) for r in range(s.ranks)])
            for i, s in enumerate(topology.SITES)
        ]
        self.inside_ = groups[site]
        # By hand: to torch, this rank is one of the world of all sites, of which 0 is but one.
        self.session_ = Session(join_settings()) if local_rank == 0 else None
        self.hooks_: dict[Carrier, Hook] = {}
        self.trainers_ = {way: self.trainer(way) for way in plan.ways}
        self.numbers_ = dict.fromkeys(plan.ways, 0)

    def trainer(self, way: Carrier) -> Trainer:
        plan, size = self.plan_, SIZES[self.plan_.size]
        model = DistributedDataParallel(
            build(size),
            process_group=None if way.library == "gloo" else self.inside_,
            bucket_cap_mb=way.bucket_mb,
        )
        if way.library == "isthmus":
            self.hooks_[way] = register(model, self.session_, codec=way.codec, delay=way.delay)
        tokens = topology.tokens_file(Path(plan.data), self.site_, self.local_rank_)
        return Trainer(
            model,
            np.load(tokens, mmap_mode="r"),
            seat=topology.seat(self.site_, self.local_rank_),
            rows=plan.rows,
            length=size.length,
            hook=self.hooks_.get(way),
            counts_bytes=self.local_rank_ == 0,
        )

    def take_turn(self, way: Carrier, turn: int) -> None:
        self.train(way, self.plan_.uncounted(turn))
        records = self.train(way, self.plan_.steps)
        self.settle(way)
        place = (way, turn, self.site_, self.local_rank_)
        records_file(Path(self.plan_.out), *place).write_text("".join(r.line() for r in records))

    def train(self, way: Carrier, steps: int) -> list[Record]:
        """Some steps, which all ranks begin together."""
        trainer, first = self.trainers_[way], self.numbers_[way]
        self.numbers_[way] += steps
        dist.barrier()
        trainer.begin()
        return [trainer.step(first + i) for i in range(steps)]

    def settle(self, way: Carrier) -> None:
        """Let nothing of a step late be under way in the next turn, which is another's."""
        if way in self.hooks_ and self.hooks_[way].flush():
            self.trainers_[way].model.zero_grad()

    def close(self) -> None:
        dist.barrier()
        if self.session_ is not None:
            self.session_.close()


def line(plan: Plan) -> str:
    """As plan_of() reads it."""
    return json.dumps(asdict(plan))


def plan_of(text: str) -> Plan:
    values = json.loads(text)
    return Plan(ways=[Carrier(**way) for way in values.pop("ways")], **values)


def main() -> None:
    plan = plan_of(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ways = Ways(plan, int(os.environ["WAN_SITE"]), int(os.environ["LOCAL_RANK"]))
    for turn in range(plan.turns):
        for way in plan.ways:
            ways.take_turn(way, turn)
    ways.close()
    leave()


if __name__ == "__main__":
    main()
