"""The exchange of one training step of large models, in the simulator: time against the floor.

No network of 16 sites at 10 Gbit/s is at hand, nor is one needed to see how schedules and pipelines
scale: the simulator runs the same engine, executor and links in virtual time. Bytes, rates and
slices are divided by one number, so times stay what they are while memory stays small. It has no
processor time, no packet headers and no congestion: what is seen is what the exchange itself costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus import _core, codecs
from isthmus.bench import floors, links, options
from isthmus.bench.job import BenchFailed
from isthmus.bench.rows import Scaling, scaling_key
from isthmus.bench.table import ratio, show
from isthmus.errors import Refused
from isthmus.page.document import standalone

# A step of a real model is hundreds of DDP's buckets; the simulated one has four, each in six
# slices an owner, as a bucket of 25 MB has between 16 sites.
BUCKETS = 4
SLICES_OF_AN_OWNER = 6
LEAST_SLICE = 8192  # elements; of smaller ones, frame headers would be more than a hundredth
MOST_SITES = 16
SEED = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One step: of so many float32 elements, between so many sites. scale: what bytes, rates and
    slices are divided by."""

    codec: str
    sites: int
    gbit_per_s: float
    rtt_ms: float
    elements: float
    scale: float

    @property
    def key(self) -> tuple[str, ...]:
        return scaling_key(
            self.codec, self.sites, self.gbit_per_s, self.rtt_ms, self.elements, self.scale
        )

    @property
    def simulated_elements(self) -> int:
        """Of one bucket."""
        return round(self.elements / self.scale / BUCKETS)

    @property
    def slice_elements(self) -> int:
        share = self.simulated_elements / MOST_SITES / SLICES_OF_AN_OWNER
        return max(1, round(share / LEAST_SLICE)) * LEAST_SLICE


def least_scale(elements: float) -> float:
    """With which a slice is as small as it can be."""
    return max(1.0, elements / (BUCKETS * MOST_SITES * SLICES_OF_AN_OWNER * LEAST_SLICE))


def floor_s(shape: Shape) -> float:
    network = links.even(shape.sites, shape.rtt_ms, shape.gbit_per_s * 1e3)
    return floors.floor_s(network, round(shape.elements), shape.codec)


def schedule(shape: Shape) -> str:
    """As "auto" chooses it for these links and a whole bucket."""
    way = codecs.parse(shape.codec)
    rate = shape.gbit_per_s * 1e9 / 8
    every = range(shape.sites)
    paths = _core.Paths(
        uplink=[rate] * shape.sites,
        downlink=[rate] * shape.sites,
        pair=[[rate for _ in every] for _ in every],
        delay=[[shape.rtt_ms / 2e3 for _ in every] for _ in every],
    )
    elements = round(shape.elements / BUCKETS)
    return str(paths.choose([(way.up, way.down, elements)])["schedule"])


def simulate(shape: Shape) -> float:
    """Seconds until the last site has the last bucket. BenchFailed if something did not hold."""
    way = codecs.parse(shape.codec)
    rate = shape.gbit_per_s * 1e9 / shape.scale
    slice_bytes = max(_core.wire_size(c, shape.slice_elements) for c in (way.up, way.down))
    in_flight = int(rate / 8 * shape.rtt_ms / 1e3)
    bucket = {
        "algorithm": schedule(shape),
        "codec": (way.up, way.down),
        "elements": shape.simulated_elements,
        "slice_elements": shape.slice_elements,
    }
    report = _core.simulate(
        SEED,
        faults=False,
        sites=shape.sites,
        bits_per_s=round(rate),
        latency=shape.rtt_ms / 2e3,
        # Of a stream: what its pair can have on its way, twice, so that no window is the limit.
        window_bytes=2 * in_flight + 8 * slice_bytes,
        max_segment_bytes=slice_bytes,
        # On lines so thin, one slice is a second; nobody is to be taken for dead.
        heartbeat_timeout=5 + floor_s(shape),
        timeout=20 + 10 * floor_s(shape),
        close_after=0.0,
        operations=[bucket] * BUCKETS,
    )
    if report["broken"]:
        raise BenchFailed(f"the simulated {shape} broke: {report['broken'][0]}")
    ended = [work["ended"] for site in report["sites"] for work in site["works"]]
    return float(max(ended))


def row(shape: Shape) -> Scaling:
    return Scaling(
        codec=shape.codec,
        sites=shape.sites,
        gbit_per_s=shape.gbit_per_s,
        rtt_ms=shape.rtt_ms,
        parameters=shape.elements,
        scale=shape.scale,
        floor_s=floor_s(shape),
        isthmus_s=simulate(shape),
    )


def check_shapes(rtt_ms: float) -> list[Shape]:
    """One small step, unscaled and at the scales between: all should take the same time."""
    elements = 16.0 * BUCKETS * MOST_SITES * SLICES_OF_AN_OWNER * LEAST_SLICE
    return [
        Shape(codec="int4", sites=4, gbit_per_s=1, rtt_ms=rtt_ms, elements=elements, scale=scale)
        for scale in (1.0, 4.0, 16.0)
    ]


def shapes(settings: argparse.Namespace) -> list[Shape]:
    every = [
        Shape(
            codec=codec,
            sites=sites,
            gbit_per_s=gbit,
            rtt_ms=settings.rtt_ms,
            elements=billions * 1e9,
            scale=least_scale(billions * 1e9),
        )
        for codec in settings.codecs
        for billions in settings.parameters
        for gbit in settings.gbit
        for sites in settings.sites
    ]
    return every + (check_shapes(settings.rtt_ms) if settings.check else [])


def markdown(rows: Sequence[Scaling]) -> str:
    """A table for docs/scaling.md: seconds, and in brackets over the floor, by number of sites."""
    sites = sorted({row.sites for row in rows})
    lines = [
        f"| parameters | Gbit/s | {' | '.join(f'{n} sites' for n in sites)} |",
        "|---" * (2 + len(sites)) + "|",
    ]
    for kind in sorted({(row.parameters, row.gbit_per_s) for row in rows}):
        cells = [
            f"{row.isthmus_s:.3g} s ({ratio(row.isthmus_s, row.floor_s)})"
            for row in sorted(rows, key=lambda row: row.sites)
            if (row.parameters, row.gbit_per_s) == kind
        ]
        lines.append(f"| {kind[0] / 1e9:g} B | {kind[1]:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_page(rows: Sequence[Scaling], page: Path, plot: Path) -> None:
    """The page's generated part, between its marks, and the plot beside it."""
    from isthmus.bench.report import scaling_chart

    text = page.read_text(encoding="utf-8")
    for codec in dict.fromkeys(row.codec for row in rows):
        begin, end = f"<!-- {codec} -->\n", f"<!-- /{codec} -->"
        if begin not in text or end not in text:
            continue
        mine = markdown([row for row in rows if row.codec == codec])
        text = text[: text.index(begin) + len(begin)] + mine + "\n" + text[text.index(end) :]
    page.write_text(text, encoding="utf-8")
    chosen = [row for row in rows if row.codec == "int4"]
    plot.write_text(standalone(scaling_chart(chosen)), encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    parser = options.parser("scaling", __doc__)
    add = parser.add_argument
    add("--codecs", nargs="+", default=["int4", "f32"])
    add("--sites", type=int, nargs="+", default=[2, 4, 8, 16])
    add("--gbit", type=float, nargs="+", default=[1.0, 3.0, 10.0], help="of a site, each way")
    add("--parameters", type=float, nargs="+", default=[0.1, 1.0, 8.0], help="in billions")
    add("--rtt-ms", type=float, default=80.0, help="round trip between any two sites")
    add("--check", action="store_true", help="and one small step at three scales")
    settings = parser.parse_args(argv)
    if max(settings.sites) > MOST_SITES or min(settings.sites) < 2:
        raise Refused(f"--sites {settings.sites}: from 2 to {MOST_SITES} each")
    ledger = options.ledger("scaling", settings, argv)
    for shape in shapes(settings):
        if not ledger.has(*shape.key):
            ledger.add(row(shape))
    show(ledger)
    if settings.save:
        rows = [row for row in ledger.rows if isinstance(row, Scaling)]
        steps = [r for r in rows if r.parameters in [b * 1e9 for b in settings.parameters]]
        write_page(steps, Path("docs/scaling.md"), Path("docs/scaling.svg"))
    return 0
