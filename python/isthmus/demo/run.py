"""`isthmus demo`: set up, train with isthmus, train the same steps with plain gloo, compare,
report."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.demo import data, record, report, topology
from isthmus.demo.progress import Progress, size
from isthmus.demo.world import RunFailed, Wan, World, link_bytes


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run's steps, links and final parameters."""

    name: str
    steps: list[record.Step]
    links: dict[str, int]
    digests: dict[str, list[str]]
    wall_s: float


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    ap = argparse.ArgumentParser(prog="isthmus demo", description=__doc__)
    ap.add_argument(
        "--out", type=Path, default=Path("demo-out"), help="folder for logs and the report"
    )
    ap.add_argument("--steps", type=int, default=30)
    ap.add_argument(
        "--plain-steps", type=int, help="steps of plain gloo (default: the same; 0: none)"
    )
    ap.add_argument("--codec", default="f32")
    ap.add_argument("--rtt-ms", type=float, default=80.0, help="round trip between any two sites")
    ap.add_argument(
        "--site-mbit", type=float, default=200.0, help="each site's uplink and downlink"
    )
    ap.add_argument(
        "--loopback", action="store_true", help="no emulated WAN, also where one can be made"
    )
    ap.add_argument("--rows", type=int, default=4, help="texts in each rank's batch")
    ap.add_argument("--size", choices=("demo", "tiny"), default="demo", help="of the model")
    ap.add_argument("--shard-bytes", type=int, default=data.SHARD_BYTES, help="text of each rank")
    ap.add_argument("--timeout", type=float, default=600.0, help="seconds for each of the two runs")
    options = ap.parse_args(argv)
    if options.plain_steps is None:
        options.plain_steps = options.steps
    if options.steps < 1 or not 0 <= options.plain_steps <= options.steps:
        ap.error("--steps must be at least 1, and --plain-steps from 0 to --steps")
    return options


def network(options: argparse.Namespace) -> tuple[Wan | None, str]:
    """The emulated WAN, or None, and the sentence that says which."""
    if options.loopback:
        return None, "plain loopback, as asked: no delay and no limit between the sites"
    import isthmus.wan

    reason = isthmus.wan.why_not()
    if reason is not None:
        return None, f"PLAIN LOOPBACK, no delay and no limit: no WAN can be emulated here: {reason}"
    wan = Wan(rtt_ms=options.rtt_ms, site_mbit=options.site_mbit)
    return wan, (
        f"an emulated WAN: {wan.rtt_ms:g} ms round trip,"
        f" {wan.site_mbit:g} Mbit/s up and down at each site"
    )


def one_run(name: str, options: argparse.Namespace, wan: Wan | None) -> Outcome:
    """Train at all sites, showing progress. Raises RunFailed."""
    plain = name == "gloo"
    folder = (options.out / name).resolve()
    total = options.plain_steps if plain else options.steps
    arguments = [
        f"--data={(options.out / 'data').resolve()}",
        f"--out={folder}",
        f"--steps={total}",
    ]
    arguments += [f"--rows={options.rows}", f"--size={options.size}", f"--codec={options.codec}"]
    arguments += ["--plain"] if plain else []
    files = [
        topology.records_file(folder, i, r)
        for i, s in enumerate(topology.SITES)
        for r in range(s.ranks)
    ]
    progress = Progress(name, total)
    begin = time.monotonic()
    with World(
        folder,
        "isthmus.demo.train",
        arguments,
        together=plain,
        wan=wan,
        timeout_s=options.timeout,
    ) as world:
        try:
            while world.running():
                progress.update(record.merge([record.read(f) for f in files]))
                time.sleep(0.2)
        finally:
            steps = record.merge([record.read(f) for f in files])
            progress.update(steps)
            progress.done()
    if len(steps) != total:
        raise RunFailed(f"{name}: {len(steps)} of {total} steps were noted\n{world.last_words()}")
    return Outcome(
        name=name,
        steps=steps,
        links=link_bytes(folder),
        digests=json.loads(topology.digests_file(folder).read_text()),
        wall_s=time.monotonic() - begin,
    )


def identical(outcome: Outcome) -> bool:
    """Print what each site holds; true when all ranks of all sites hold the same bits."""
    held = {d for ranks in outcome.digests.values() for d in ranks}
    expected = {s.name: s.ranks for s in topology.SITES}
    complete = {k: len(v) for k, v in outcome.digests.items()} == expected
    print(f"\nparameters after {outcome.name}:")
    for site, ranks in outcome.digests.items():
        print(f"  {site:<6} {'  '.join(d[:16] for d in ranks)}")
    same = len(held) == 1 and complete
    print("  all sites hold identical parameters" if same else "  THE SITES DIFFER")
    return same


def compare(ours: Outcome, gloo: Outcome) -> None:
    """Print speeds, their ratio, and the losses at the last step that both took."""
    mine, theirs = record.tokens_per_s(ours.steps), record.tokens_per_s(gloo.steps)
    print(
        f"\n{'':<9}{'tokens/s':>10}{'step':>9}{'compute':>9}{'waiting':>9}{'hidden':>8}"
        f"{'WAN/step':>11}"
    )
    for o in (ours, gloo):
        warm = record.warm(o.steps)
        sent = [s.wan_bytes for s in warm if s.wan_bytes is not None]
        hidden = record.hidden_share(warm)
        print(
            f"{o.name:<9}{record.tokens_per_s(o.steps):>10.0f}"
            f"{record.mean([s.step_s for s in warm]):>7.2f} s"
            f"{record.mean([s.compute_s for s in warm]):>7.2f} s"
            f"{record.mean([s.communication_s for s in warm]):>7.2f} s"
            f"{'-' if hidden is None else f'{hidden:.0%}':>8}"
            f"{size(record.mean(sent) if sent else None):>11}"
        )
    print(f"isthmus trains {mine / theirs:.2f} times as many tokens/s as plain gloo DDP")
    last = len(gloo.steps) - 1
    if len(gloo.steps) < len(ours.steps):
        print(
            f"gloo ran {len(gloo.steps)} of the {len(ours.steps)} steps; losses are compared there"
        )
    print(
        f"loss at step {last + 1}: isthmus {ours.steps[last].loss:.4f},"
        f" gloo {gloo.steps[last].loss:.4f}"
    )


def facts(options: argparse.Namespace, sentence: str, corpus: data.Corpus) -> dict[str, str]:
    """What was run, for the report's table."""
    sites = ", ".join(f"{s.name} ({s.ranks} rank{'s' * (s.ranks > 1)})" for s in topology.SITES)
    return {
        "Network": sentence,
        "Sites": sites,
        "Codec": options.codec,
        "Batch": f"{options.rows} texts at each of {topology.WORLD} ranks",
        "Text": f"{corpus.files} files of the standard library, {size(corpus.text_bytes)},"
        f" {corpus.tokens:,} tokens; no file is in two shards",
        "Machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()},"
        f" Python {platform.python_version()}",
    }


def demo(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    wan, sentence = network(options)
    print(f"isthmus demo: {len(topology.SITES)} sites, {topology.WORLD} ranks, over {sentence}")
    corpus = data.prepare(options.out / "data", shard_bytes=options.shard_bytes)
    print(
        f"text: {corpus.files} files, {size(corpus.text_bytes)}, {corpus.tokens:,} tokens"
        f" ({time.monotonic() - begin:.1f} s); logs and report go to {options.out}/\n"
    )
    outcomes = [one_run("isthmus", options, wan)]
    if options.plain_steps:
        outcomes.append(one_run("gloo", options, wan))
        compare(*outcomes)
    same = [identical(o) for o in outcomes]
    table = facts(options, sentence, corpus)
    table["Identical parameters"] = ", ".join(
        f"{o.name}: {'yes' if ok else 'NO'} ({next(iter(o.digests.values()))[0][:16]})"
        for o, ok in zip(outcomes, same, strict=True)
    )
    runs = [report.Run(name=o.name, steps=o.steps, links=o.links) for o in outcomes]
    page = options.out / "report.html"
    page.write_text(report.render(runs, table), encoding="utf-8")
    print(f"\nreport: {page}   ({time.monotonic() - begin:.0f} s in all)")
    return 0 if all(same) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 when a run failed or the sites differ, 2 for bad usage, 130 after
    Ctrl-C."""
    options = parse(argv)
    missing = [
        m for m in ("torch", "transformers", "tokenizers") if importlib.util.find_spec(m) is None
    ]
    if missing:
        print(
            f"isthmus demo needs {', '.join(missing)}: pip install 'isthmus[demo]'", file=sys.stderr
        )
        return 2
    try:
        return demo(options)
    except RunFailed as error:
        print(
            f"\nisthmus demo: a site failed; its last words (more in {options.out}/):\n{error}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nstopped; all sites' processes have ended", file=sys.stderr)
        return 130
