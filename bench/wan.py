"""All-reduce of float32 across the emulated WAN: isthmus against gloo in the same run.

    python bench/wan.py [--cases 2:50 4:100] [--mb 100 25 1 .004] [--codecs f32 int8 int4]
                        [--loss .0002] [--cc cubic] [--no-uplink] [--repeats 5] [--save]

A case is SITES:ROUND_TRIP_MS. Every site sends and receives at most --site-mbit, and isthmus is
told so (uplink_mbit), unless --no-uplink. Each size has an
emulator of its own run, its first operations warm the connections up, and the floor is computed:
bytes over rate plus one-way delays, of the better schedule. A codec's time includes encoding and
decoding; its floor does not. gloo always moves float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from isthmus import _core, codecs, wan
from results import Row, cpu_per_gb, read_ranks, save, seconds, show

# The emulator gives site i the address 198.18.0.(i + 1).
ADDRESS = "198.18.0."
SLICE_BYTES = 1 << 20


def floor_s(elements: int, codec: str, sites: int, *, rtt_s: float, rate: float) -> float:
    """The least time of an all-reduce, by `gather` or by `direct`; rate in bytes a second, a site's
    uplink and downlink each; the delay is half the round trip."""
    up, down = codecs.parse(codec).up, codecs.parse(codec).down
    up_bytes, down_bytes = (_core.wire_size(name, elements) for name in (up, down))
    delay = rtt_s / 2
    gather = (sites - 1) * up_bytes / rate + delay
    sent = (sites - 1) / sites * (up_bytes + down_bytes)
    direct = max(sent / rate + delay, 2 * delay + min(SLICE_BYTES, up_bytes) / rate)
    return min(gather, direct)


def congestion_control() -> str | None:
    """BBR where the kernel has it."""
    known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    return "bbr" if "bbr" in known else None


def run(sites: int, rtt_ms: float, elements: int, options: argparse.Namespace) -> list[Row]:
    """One size between so many sites, a row a codec. CalledProcessError if a site fails."""
    ours = [] if options.gloo_only else [f"isthmus {codec}" for codec in options.codecs]
    libraries = ["gloo", *ours]
    large = elements * 4 > 50e6
    repeats = dict.fromkeys(libraries, options.repeats)
    repeats["gloo"] = min(3, options.repeats) if large else options.repeats
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "addresses": [f"{ADDRESS}{i + 1}" for i in range(sites)],
            "ports": [29500, 29600],
            "interface": "tun0",
            "cases": [{"elements": elements, "repeats": repeats, "inner": 1}],
            "libraries": libraries,
            "lead_s": 0.3 + rtt_ms / 1e3,
            "uplink_mbit": None if options.no_uplink else options.site_mbit,
            "congestion": options.cc,
            "out": folder,
        }
        line = [sys.executable, "-m", "isthmus.wan", "--sites", str(sites)]
        line += ["--rtt-ms", f"{rtt_ms:g}", "--site-mbit", f"{options.site_mbit:g}"]
        line += ["--cc", options.cc] if options.cc else []
        line += ["--loss", f"{options.loss:g}"] if options.loss else []
        line += ["--", sys.executable, str(Path(__file__).with_name("rank.py")), json.dumps(job)]
        # The sites have no name service, of which torch warns at every connection.
        subprocess.run(line, check=True, env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"})
        case = [rank[0] for rank in read_ranks(Path(folder), sites)]
    gloo, gloo_cpu = seconds(case, "gloo", inner=1), cpu_per_gb(case, "gloo", bytes=elements * 4)
    assert gloo is not None and gloo_cpu is not None
    rate = options.site_mbit * 1e6 / 8
    return [
        Row(
            case=f"{elements * 4 / 1e6:g} MB, {sites} sites, {rtt_ms:g} ms"
            + (f", loss {options.loss:g}" if options.loss else ""),
            codec=codec,
            bytes=elements * 4,
            ranks=sites,
            floor_s=floor_s(elements, codec, sites, rtt_s=rtt_ms / 1e3, rate=rate),
            isthmus_s=seconds(case, f"isthmus {codec}", inner=1),
            gloo_s=gloo,
            isthmus_cpu_s_per_gb=cpu_per_gb(case, f"isthmus {codec}", bytes=elements * 4),
            gloo_cpu_s_per_gb=gloo_cpu,
            samples=options.repeats,
        )
        for codec in (["f32"] if options.gloo_only else options.codecs)
    ]


def main() -> int:
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--cases", nargs="+", default=["2:50", "4:100"], metavar="SITES:RTT_MS")
    ap.add_argument("--mb", type=float, nargs="+", default=[100, 25, 1, 0.004])
    ap.add_argument("--codecs", nargs="+", default=["f32", "int8", "int4"])
    ap.add_argument("--site-mbit", type=float, default=1000.0)
    ap.add_argument("--repeats", type=int, default=5)
    ap.add_argument("--cc", default=congestion_control(), help="default: bbr where there is one")
    ap.add_argument("--loss", type=float, default=0.0, help="share of packets that are lost")
    ap.add_argument("--no-uplink", action="store_true", help="do not tell isthmus --site-mbit")
    ap.add_argument("--gloo-only", action="store_true", help="leave isthmus out")
    ap.add_argument("--save", action="store_true", help="write bench/results/wan.json")
    options = ap.parse_args()
    reason = wan.why_not()
    if reason is not None:
        print(f"bench/wan.py: no WAN can be emulated here: {reason}", file=sys.stderr)
        return 69
    rows = []
    for case in options.cases:
        sites, _, rtt = case.partition(":")
        for mb in options.mb:
            rows += run(int(sites), float(rtt), int(mb * 1e6 / 4), options)
    told = "not told" if options.no_uplink else "told"
    print(
        f"{options.site_mbit:g} Mbit/s a site ({told}), "
        f"{options.cc or 'the default congestion control'}"
    )
    show(rows)
    if options.save:
        save("wan", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
