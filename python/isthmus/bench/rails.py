"""A DDP step on loopback with one rail and with more.

Backward computes next to nothing, so a step is its exchange: reduce in the site, across, broadcast.
Numbers of rails take turns. Every rank is a process, and on few cores they take each other's time:
read ratios. The wire is a loopback here; what rails gain with a gateway's link or processor as the
limit, this cannot show.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus.bench import options
from isthmus.bench.rows import Ledger, Railed
from isthmus.bench.table import amount, show
from isthmus.errors import Refused

if TYPE_CHECKING:
    from isthmus.bench.rail_steps import Step


@dataclass(frozen=True, kw_only=True)
class Took:
    """A step of all ranks. step_s: from the last rank's begin to the last one's end."""

    step_s: float
    cpu_s: float


def together(ranks: Sequence[Sequence[Step]]) -> list[Took]:
    """Each step, of what every rank saw of it."""
    return [
        Took(
            step_s=max(step.end_s for step in row) - max(step.begin_s for step in row),
            cpu_s=sum(step.cpu_s for step in row),
        )
        for row in zip(*ranks, strict=True)
    ]


def case(sites: Sequence[int], mb: float) -> str:
    ranks = "+".join(str(count) for count in sites)
    return f"{amount(round(mb * 1e6))}, {len(sites)} sites of {ranks} ranks"


def rows(
    settings: argparse.Namespace, codec: str, took: Mapping[int, Sequence[Took]]
) -> list[Railed]:
    medians = {
        rails: statistics.median(each.step_s for each in samples) for rails, samples in took.items()
    }
    return [
        Railed(
            case=case(settings.sites, settings.mb),
            codec=codec,
            rails=rails,
            step_s=medians[rails],
            one_rail_s=medians[1],
            cpu_s=statistics.median(each.cpu_s for each in samples),
            samples=len(samples),
        )
        for rails, samples in took.items()
    ]


def run(settings: argparse.Namespace, codec: str) -> dict[int, list[Took]]:
    """By number of rails. SiteFailed if a rank fails."""
    from isthmus.bench.rail_steps import steps
    from isthmus.testing import run_sites

    took: dict[int, list[Took]] = {rails: [] for rails in settings.rails}
    for _ in range(settings.turns):
        for rails, samples in took.items():
            arguments = (settings.mb, codec, settings.steps)
            by_site = run_sites(steps, sites=settings.sites, arguments=arguments, rails=rails)
            samples += together([rank for site in by_site for rank in site])
    return took


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    where = case(settings.sites, settings.mb)
    for codec in settings.codecs:
        if all(ledger.has(where, codec, str(rails)) for rails in settings.rails):
            continue
        for row in rows(settings, codec, run(settings, codec)):
            ledger.add(row)


def main(argv: Sequence[str]) -> int:
    parser = options.parser("rails", __doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 2], help="ranks of each")
    parser.add_argument("--rails", type=int, nargs="+", default=[1, 2], help="1 among them")
    parser.add_argument("--mb", type=float, default=100, help="of float32 parameters")
    parser.add_argument("--codecs", nargs="+", default=["f32", "int4"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    settings = parser.parse_args(argv)
    if 1 not in settings.rails:
        raise Refused(f"--rails is {settings.rails}: one rail, to compare with, must be among them")
    options.require("rails", "torch")
    ledger = options.ledger("rails", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0
