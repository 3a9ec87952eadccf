"""All-reduce of float32 on loopback: isthmus against gloo in the same run, and bare sockets.

Each rank is a process. The floor moves the same float32 bytes round a ring of plain sockets, adding
nothing; gloo moves float32 too. Under 1 MB a sample is 20 operations in a row.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from isthmus.bench import job, options
from isthmus.bench.job import Case, Job
from isthmus.bench.rows import Ledger, Row, Timing
from isthmus.bench.table import amount, show
from isthmus.demo.world import free_ports


def name(elements: int, ranks: int) -> str:
    return f"{amount(elements * 4)}, {ranks} ranks"


def run(ranks: int, elements: int, settings: argparse.Namespace) -> Iterator[Row]:
    """One size at one number of ranks, a row a codec. BenchFailed if a rank fails."""
    libraries = ["floor", "gloo", *(f"isthmus {codec}" for codec in settings.codecs)]
    inner = 20 if elements * 4 < 1e6 else 1
    repeats = dict.fromkeys(libraries, settings.repeats)
    by_rank = job.run_on_loopback(
        Job(
            addresses=["127.0.0.1"] * ranks,
            ports=free_ports(2 + ranks),
            interface="lo",
            cases=[Case(elements=elements, repeats=repeats, inner=inner)],
            libraries=libraries,
            lead_s=0.02,
            uplink_mbit=[0.0] * ranks,
        )
    )
    samples = [rank[0].samples for rank in by_rank]
    floor, gloo = (job.seconds(samples, library, inner=inner) for library in ("floor", "gloo"))
    assert floor is not None and gloo is not None
    for codec in settings.codecs:
        ours = f"isthmus {codec}"
        yield Timing(
            bench="exchange",
            case=name(elements, ranks),
            codec=codec,
            bytes=elements * 4,
            ranks=ranks,
            floor_s=floor,
            isthmus_s=job.seconds(samples, ours, inner=inner),
            peers={"gloo": gloo},
            cpu_s_per_gb=job.cpu_s_per_gb(
                samples, {"isthmus": ours, "gloo": "gloo"}, bytes=elements * 4 * inner
            ),
            samples=settings.repeats,
        )


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    for ranks in settings.ranks:
        for mb in settings.mb:
            elements = int(mb * 1e6 / 4)
            if all(ledger.has(name(elements, ranks), codec) for codec in settings.codecs):
                continue
            for row in run(ranks, elements, settings):
                ledger.add(row)


def main(argv: Sequence[str]) -> int:
    parser = options.parser("exchange", __doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--mb", type=float, nargs="+", default=[100, 25, 0.004])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--codecs", nargs="+", default=["f32", "int8", "int4"])
    settings = parser.parse_args(argv)
    options.require("exchange", "torch")
    ledger = options.ledger("exchange", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0
