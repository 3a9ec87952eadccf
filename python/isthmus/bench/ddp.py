"""Training the demo's model across an emulated WAN: isthmus beside plain gloo DDP, and beside the
same job with no exchange between sites at all ("alone").

Three sites of 2, 1 and 1 ranks, all on this machine. The ways take turns of some steps in the same
processes; isthmus has measured the links when it joined, and was told nothing. tokens/s: of all
ranks, from the first one's begin of a turn to the last one's end; step: the same for one step.
waiting: nothing left to do in a step but to wait for gradients, mean over ranks; CPU: of a rank's
process, which tells a step with more work from one beside other load; hidden: the share of the
exchange that passed while backward still ran. floor: the longer of a step alone and of what bytes,
rate and delay allow an exchange. A way "a step late" has delay=1 (docs/delay.md).
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.bench import floors, links, options
from isthmus.bench.carriers import TORCH_BUCKET_MB, Carrier, carriers
from isthmus.bench.job import BenchFailed
from isthmus.bench.rows import Ledger, Training
from isthmus.bench.table import show
from isthmus.demo import record, topology
from isthmus.demo.record import Record, Step
from isthmus.demo.world import RunFailed, Wan, World

if TYPE_CHECKING:
    from isthmus.bench.training import Plan

PROGRAM = "isthmus.bench.training"
WORK = options.DEFAULT_OUT / "ddp"  # logs and data of a run with --save
Rank = Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What one way's turns say together."""

    steps: Sequence[Step]
    tokens_per_s: float
    step_s: float  # of all ranks: what they begin at once ends with the last of them

    def mean(self, name: str) -> float:
        return record.mean([getattr(step, name) for step in self.steps])


def summary(turns: Sequence[Sequence[Rank]]) -> Way:
    """Of the records of one way, by turn and rank."""
    tokens = seconds = 0.0
    steps: list[Step] = []
    for ranks in turns:
        first = min(rank[0].start_s for rank in ranks)
        last = max(rank[-1].start_s + rank[-1].step_s for rank in ranks)
        seconds += last - first
        tokens += sum(r.tokens for rank in ranks for r in rank)
        steps += record.merge(ranks)
    return Way(steps=steps, tokens_per_s=tokens / seconds, step_s=seconds / len(steps))


def case(settings: argparse.Namespace) -> str:
    if settings.loopback:
        where = "loopback"
    else:
        where = f"{settings.rtt_ms:g} ms, {settings.site_mbit:g} Mbit/s"
    size = "" if settings.size == "demo" else f", {settings.size} model"
    warm = "" if settings.warm_up == record.WARM_UP else f", after {settings.warm_up} steps"
    return f"{len(topology.SITES)} sites, {where}{size}{warm}"


def carriers_of(settings: argparse.Namespace) -> list[Carrier]:
    return carriers(settings.codecs, settings.late, settings.bucket_mb, gloo=not settings.no_gloo)


def step_floor_s(
    settings: argparse.Namespace, carrier: Carrier, alone_s: float, elements: int
) -> float:
    if carrier.library == "alone" or settings.loopback:
        return alone_s
    network = links.even(len(topology.SITES), settings.rtt_ms, settings.site_mbit)
    return max(alone_s, floors.floor_s(network, elements, carrier.codec))


def rows(
    settings: argparse.Namespace, ways: Mapping[Carrier, Way], elements: int
) -> list[Training]:
    speeds = {carrier.name: way.tokens_per_s for carrier, way in ways.items()}
    others = {name: speed for name, speed in speeds.items() if name in ("alone", "gloo")}
    alone = ways[Carrier(library="alone")]

    def row(carrier: Carrier, way: Way) -> Training:
        sent = [step.wan_bytes for step in way.steps if step.wan_bytes is not None]
        return Training(
            case=case(settings),
            way=carrier.name,
            tokens_per_s=way.tokens_per_s,
            floor_s=step_floor_s(settings, carrier, alone.step_s, elements),
            step_s=way.step_s,
            compute_s=way.mean("compute_s") + way.mean("optimizer_s"),
            waiting_s=way.mean("communication_s"),
            cpu_s=way.mean("cpu_s"),
            hidden_share=record.hidden_share(way.steps),
            wan_bytes=record.mean(sent) if sent else None,
            loss=way.steps[-1].loss,
            peers={} if carrier.name in others else others,
            samples=len(way.steps),
        )

    return [row(carrier, way) for carrier, way in ways.items()]


def run(settings: argparse.Namespace, work: Path) -> dict[Carrier, Way]:
    """Train in every way; BenchFailed if a site fails, with its last words."""
    from isthmus.bench import training
    from isthmus.demo import data

    work.mkdir(parents=True, exist_ok=True)
    data.prepare(work / "data", shard_bytes=settings.shard_bytes)
    records = work / "records"
    shutil.rmtree(records, ignore_errors=True)
    records.mkdir()
    plan = training.Plan(
        ways=carriers_of(settings),
        turns=settings.turns,
        steps=settings.steps,
        warm_up=settings.warm_up,
        size=settings.size,
        rows=settings.rows,
        data=str((work / "data").resolve()),
        out=str(records.resolve()),
    )
    wan = None if settings.loopback else Wan(rtt_ms=settings.rtt_ms, site_mbit=settings.site_mbit)
    try:
        with World(
            (work / "logs").resolve(),
            PROGRAM,
            [training.line(plan)],
            together=True,
            wan=wan,
            timeout_s=settings.timeout,
        ) as world:
            while world.running():
                time.sleep(0.2)
    except RunFailed as error:
        raise BenchFailed(
            f"a site failed; its last words (more in {work}/logs):\n{error}"
        ) from None
    return {way: summary(read(plan, way)) for way in plan.ways}


def read(plan: Plan, way: Carrier) -> list[list[Rank]]:
    """By turn and rank."""
    from isthmus.bench.training import records_file

    seats = [(i, r) for i, site in enumerate(topology.SITES) for r in range(site.ranks)]
    out = Path(plan.out)
    return [
        [record.read(records_file(out, way, turn, *seat)) for seat in seats]
        for turn in range(plan.turns)
    ]


def elements_of(size: str) -> int:
    """How many parameters the model has."""
    from isthmus.demo.model import SIZES, build

    return sum(p.numel() for p in build(SIZES[size]).parameters())


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = options.parser("ddp", __doc__)
    add = parser.add_argument
    add("--codecs", nargs="+", default=["f32", "int4", "topk"])
    add("--late", nargs="*", default=[], metavar="CODEC", help="also with delay=1")
    add("--no-gloo", action="store_true", help="leave plain gloo DDP out")
    add("--rtt-ms", type=float, default=80.0, help="round trip between any two sites")
    add("--site-mbit", type=float, nargs="+", default=[100.0, 1000.0], help="one case each")
    add("--turns", type=int, default=2, help="of every way")
    add("--steps", type=int, default=3, help="that count, in a turn")
    buckets = "DDP's buckets; one way each"
    add("--warm-up", type=int, default=record.WARM_UP, help="first steps, which do not count")
    add("--bucket-mb", nargs="+", type=float, default=[TORCH_BUCKET_MB], help=buckets)
    add("--rows", type=int, default=4, help="texts in each rank's batch")
    add("--size", choices=("demo", "tiny"), default="demo", help="of the model")
    add("--shard-bytes", type=int, default=200_000, help="text of each rank")
    add("--loopback", action="store_true", help="no emulated WAN")
    add("--timeout", type=float, default=600.0, help="seconds for each case")
    settings = parser.parse_args(argv)
    if settings.turns < 1 or settings.steps < 1:
        parser.error("--turns and --steps must be at least 1")
    if settings.warm_up < record.WARM_UP:
        parser.error(f"--warm-up must be at least {record.WARM_UP}: DDP rearranges its buckets")
    return settings


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    for mbit in [0.0] if settings.loopback else settings.site_mbit:
        this = argparse.Namespace(**{**vars(settings), "site_mbit": mbit})
        if all(ledger.has(case(this), carrier.name) for carrier in carriers_of(this)):
            continue
        ways = run(this, WORK if this.save else this.out / "ddp")
        for row in rows(this, ways, elements_of(this.size)):
            ledger.add(row)


def main(argv: Sequence[str]) -> int:
    settings = parse(argv)
    options.require("ddp", "torch", "transformers", "tokenizers")
    if not settings.loopback and not options.can_emulate("ddp"):
        return options.UNAVAILABLE
    ledger = options.ledger("ddp", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0
