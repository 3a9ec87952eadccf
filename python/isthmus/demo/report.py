"""The demo's report: one HTML file with its plots inside, which needs no server and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isthmus.demo import record
from isthmus.demo.progress import size
from isthmus.page import document
from isthmus.page.svg import Bar, Line, bar_chart, line_chart


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: "isthmus" or "gloo", its steps, and the bytes on each link ({} where they are not
    known)."""

    name: str
    steps: Sequence[record.Step]
    links: Mapping[str, int]


def key(runs: Sequence[Run]) -> str:
    """The colours' meaning."""
    return document.key([(f"c{i}", r.name) for i, r in enumerate(runs)])


def losses(runs: Sequence[Run]) -> str:
    lines = [
        Line(name=r.name, style=f"c{i}", points=[(s.end_s, s.loss) for s in r.steps])
        for i, r in enumerate(runs)
    ]
    chart = line_chart(lines, x_name="seconds of training", y_name="loss")
    return f"<h2>Loss over time</h2>{key(runs)}{chart}"


def step_times(runs: Sequence[Run]) -> str:
    bars, legend = [], []
    for i, r in enumerate(runs):
        warm = record.warm(r.steps)
        compute = record.mean([s.compute_s + s.optimizer_s for s in warm])
        waiting = record.mean([s.communication_s for s in warm])
        parts = [
            (f"c{i}", compute, f"{r.name}: compute {compute:.2f} s"),
            (f"s{i}", waiting, f"{r.name}: communication {waiting:.2f} s"),
        ]
        label = f"{compute:.2f} s + {waiting:.2f} s = {compute + waiting:.2f} s"
        bars.append(Bar(name=r.name, parts=parts, label=label))
        legend += [(f"c{i}", f"{r.name}: compute"), (f"s{i}", "communication")]
    return (
        "<h2>Time of a step</h2><p>Means over all ranks and all steps after the first two."
        " Communication is the time in which a rank had nothing left to do but to wait for the sum"
        " of the gradients; what overlaps with the backward pass counts as compute.</p>"
        f"{document.key(legend)}{bar_chart(bars)}"
    )


def links(runs: Sequence[Run]) -> str:
    names = sorted({name for r in runs for name in r.links})
    if not names:
        return (
            "<h2>Bytes on each link</h2><p>Not known on loopback: the sites share one device.</p>"
        )
    bars = []
    for name in names:
        for i, r in enumerate(runs):
            count = r.links.get(name, 0) / len(r.steps)
            parts = [(f"c{i}", count, f"{r.name}: {size(count)}")]
            bars.append(Bar(name=f"{name}, {r.name}", parts=parts, label=f"{size(count)} a step"))
    return (
        "<h2>Bytes on each link</h2><p>Both directions, headers included, the whole run divided"
        f" by its steps.</p>{key(runs)}{bar_chart(bars)}"
    )


def figures(runs: Sequence[Run]) -> str:
    rows = []
    for r in runs:
        warm = record.warm(r.steps)
        sent = [s.wan_bytes for s in warm if s.wan_bytes is not None]
        hidden = record.hidden_share(warm)
        rows.append(
            (
                r.name,
                f"{record.tokens_per_s(r.steps):.0f}",
                f"{record.mean([s.step_s for s in warm]):.2f} s",
                "-" if hidden is None else f"{hidden:.0%}",
                size(record.mean(sent) if sent else None),
                str(len(r.steps)),
                f"{r.steps[-1].loss:.4f}",
            )
        )
    head = ("", "tokens/s", "step", "hidden", "WAN/step", "steps", "last loss")
    return document.figures(head, rows)


def lead(runs: Sequence[Run]) -> str:
    if len(runs) < 2:
        return f"{len(runs[0].steps)} steps with {runs[0].name}; there was nothing to compare with."
    ours, theirs = (record.tokens_per_s(r.steps) for r in runs)
    shared = min(len(r.steps) for r in runs) - 1
    a, b = (r.steps[shared].loss for r in runs)
    return (
        f"{runs[0].name} trained {ours / theirs:.2f} times as many tokens per second as plain"
        f" {runs[1].name} DDP over the same network."
        f" At step {shared + 1} the losses are {a:.4f} and {b:.4f}."
    )


def render(runs: Sequence[Run], facts: Mapping[str, str]) -> str:
    """The whole page. REQUIRES: at least one run, each with at least one step."""
    return document.document(
        "isthmus demo",
        f'<h1>One model, three clouds</h1><p class="lead">{lead(runs)}</p>{figures(runs)}'
        "<p>Hidden: the share of the exchange that passed while the backward pass still ran.</p>"
        f"{losses(runs)}{step_times(runs)}{links(runs)}"
        f"<h2>What was run</h2>{document.facts(facts)}",
    )
