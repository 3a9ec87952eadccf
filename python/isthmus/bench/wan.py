"""All-reduce of float32 across an emulated WAN: isthmus against gloo in the same run.

A case is SITES:ROUND_TRIP_MS, or "thin" (4 sites, 100 ms, one of 200 Mbit/s), or "far" (3 sites,
pairs of 20, 80 and 150 ms and of 500, 1000 and 200 Mbit/s), or "blocked" (4 sites, 100 ms, two of
which cannot connect to each other: gloo has no way there and is left out). A site sends and
receives at most --site-mbit; isthmus measures that and the links when it joins, unless
--no-measure, and with --tell-uplink is told it (uplink_mbit). What it planned is by what it
measured. Each size has an emulator of its own run, its first operations warm the connections up,
and the floor is computed: bytes over rate plus one-way delays, of the better schedule and the best
split among owners. A codec's time includes encoding and decoding; its floor does not. gloo always
moves float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from isthmus.bench import floors, job, links, options
from isthmus.bench.job import Case, Job
from isthmus.bench.links import Links
from isthmus.bench.rows import Ledger, Row, Timing
from isthmus.bench.table import amount, show

# The emulator gives site i the address 198.18.0.(i + 1).
ADDRESS = "198.18.0."


def congestion_control() -> str | None:
    """BBR where the kernel has it."""
    known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    return "bbr" if known.exists() and "bbr" in known.read_text().split() else None


def name(elements: int, network: Links, settings: argparse.Namespace) -> str:
    """The case in words: whatever is not as usual is said."""
    words = [f"{amount(elements * 4)}", network.title]
    if settings.cc not in (None, "bbr"):
        words.append(settings.cc)
    if settings.idle:
        words.append(f"after {settings.idle:g} s of idleness")
    if settings.tcp_buffer_kib:
        words.append(f"TCP buffers of {settings.tcp_buffer_kib} KiB")
    if settings.streams:
        words.append(f"{settings.streams} streams a link")
    if settings.tell_uplink:
        words.append("uplink told")
    if settings.no_measure:
        words.append("links not measured")
    return ", ".join(words)


def libraries(network: Links, settings: argparse.Namespace) -> list[str]:
    ours = [] if settings.gloo_only else [f"isthmus {codec}" for codec in settings.codecs]
    return ours if settings.no_gloo or network.cut else ["gloo", *ours]


def results_of(network: Links, elements: int, settings: argparse.Namespace) -> list[job.Result]:
    """One size on one network, by rank. BenchFailed if a site fails."""
    taking_part = libraries(network, settings)
    repeats = dict.fromkeys(taking_part, settings.repeats)
    if elements * 4 > 50e6 and "gloo" in repeats:
        repeats["gloo"] = min(3, settings.repeats)
    sites = len(network.sites)
    up = [site.up_mbit if settings.tell_uplink else 0.0 for site in network.sites]
    task = Job(
        addresses=[f"{ADDRESS}{i + 1}" for i in range(sites)],
        ports=[29500, 29600],
        interface="tun0",
        cases=[Case(elements=elements, repeats=repeats)],
        libraries=taking_part,
        lead_s=0.3 + 2 * network.longest_delay_s,
        idle_s=settings.idle,
        measured=not settings.no_measure,
        uplink_mbit=up,
        congestion=settings.cc,
        streams=settings.streams,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "links.json")
        file.write_text(network.file())
        line = ["--sites", str(sites), "--links", str(file), "--timeout", f"{job.PATIENCE_S:g}"]
        line += ["--cc", settings.cc] if settings.cc else []
        for a, b in network.cut:
            line += ["--cut", f"0:{a}-{b}"]
        if settings.tcp_buffer_kib:
            line += ["--tcp-buffer-kib", str(settings.tcp_buffer_kib)]
        return [rank[0] for rank in job.run_on_wan(task, line)]


def run(network: Links, elements: int, settings: argparse.Namespace) -> Iterator[Row]:
    """One size on one network, a row a codec."""
    results = results_of(network, elements, settings)
    samples = [result.samples for result in results]
    gloo = job.seconds(samples, "gloo")
    for codec in ["f32"] if settings.gloo_only else settings.codecs:
        ours = f"isthmus {codec}"
        yield Timing(
            bench="wan",
            case=name(elements, network, settings),
            codec=codec,
            bytes=elements * 4,
            ranks=len(network.sites),
            floor_s=floors.floor_s(network, elements, codec),
            isthmus_s=job.seconds(samples, ours),
            planned_s=results[0].planned_s.get(ours),
            peers={} if gloo is None else {"gloo": gloo},
            cpu_s_per_gb=job.cpu_s_per_gb(
                samples, {"isthmus": ours, "gloo": "gloo"}, bytes=elements * 4
            ),
            samples=settings.repeats,
        )


def measure(settings: argparse.Namespace, ledger: Ledger) -> None:
    for case in settings.cases:
        network = links.parse(case, settings.site_mbit).with_loss(settings.loss)
        for mb in settings.mb:
            elements = int(mb * 1e6 / 4)
            title = name(elements, network, settings)
            if all(ledger.has(title, codec) for codec in settings.codecs):
                continue
            for row in run(network, elements, settings):
                ledger.add(row)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = options.parser("wan", __doc__)
    add = parser.add_argument
    add("--cases", nargs="+", default=["2:50", "4:100"], metavar="CASE")
    add("--mb", type=float, nargs="+", default=[100, 25, 1, 0.004])
    add("--codecs", nargs="+", default=["f32", "int8", "int4"])
    add("--site-mbit", type=float, default=1000.0, help="of SITES:ROUND_TRIP_MS")
    add("--repeats", type=int, default=5)
    add("--cc", default=congestion_control(), help="default: bbr where there is one")
    add("--loss", type=float, default=0.0, help="share of packets that are lost")
    add("--tcp-buffer-kib", type=int, help="the most that a TCP connection's ends keep")
    add("--streams", type=int, help="of each link; default: isthmus finds out")
    add("--idle", type=float, default=0.0, help="seconds of idleness before each operation")
    add("--tell-uplink", action="store_true", help="tell isthmus what its uplink carries")
    add("--no-measure", action="store_true", help="let isthmus not measure the links")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--gloo-only", action="store_true", help="leave isthmus out")
    who.add_argument("--no-gloo", action="store_true", help="leave gloo out")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    settings = parse(argv)
    options.require("wan", "torch")
    if not options.can_emulate("wan"):
        return options.UNAVAILABLE
    ledger = options.ledger("wan", settings, argv)
    measure(settings, ledger)
    show(ledger)
    return 0
