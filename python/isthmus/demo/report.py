"""The demo's report: one HTML file with its plots inside, which needs no server and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from isthmus.demo import record
from isthmus.demo.progress import size
from isthmus.demo.svg import Bar, Line, bar_chart, line_chart

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf7; --ink: #1d2327; --soft: #667079; --rule: #dcdad3;
  --isthmus: #0b7a75; --isthmus-soft: #8cc7c2; --gloo: #c4621a; --gloo-soft: #ecb98f; }
@media (prefers-color-scheme: dark) { :root { --page: #14181a; --ink: #e6e8e6; --soft: #98a2a8;
  --rule: #30373b;
  --isthmus: #3fbfb5; --isthmus-soft: #1e5f5c; --gloo: #f0944d; --gloo-soft: #7a4a26; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; color: var(--soft); }
p.lead { color: var(--ink); font-size: 1.1rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; margin: .5rem 0; }
svg text { fill: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums; }
svg text.name { fill: var(--ink); }
.grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 2; }
.line.c0 { stroke: var(--isthmus); } .line.c1 { stroke: var(--gloo); }
.fill.c0 { fill: var(--isthmus); } .fill.c1 { fill: var(--gloo); }
.fill.s0 { fill: var(--isthmus-soft); } .fill.s1 { fill: var(--gloo-soft); }
.key span { display: inline-block; width: .8em; height: .8em; border-radius: 2px; 
  margin: 0 .35em 0 1em; }
.key span:first-child { margin-left: 0; }
.c0b { background: var(--isthmus); } .c1b { background: var(--gloo); }
.s0b { background: var(--isthmus-soft); } .s1b { background: var(--gloo-soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 500; color: var(--soft); }
td { overflow-wrap: anywhere; }
.figures th, .figures td { text-align: right; } .figures th:first-child { text-align: left; }
@media (max-width: 34rem) { svg text { font-size: 20px; } .figures { font-size: .85rem; } }
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: "isthmus" or "gloo", its steps, and the bytes on each link ({} where they are not
    known)."""

    name: str
    steps: Sequence[record.Step]
    links: Mapping[str, int]


def key(runs: Sequence[Run]) -> str:
    """The colours' meaning."""
    return "".join(f'<span class="c{i}b"></span>{escape(r.name)}' for i, r in enumerate(runs))


def losses(runs: Sequence[Run]) -> str:
    lines = [
        Line(name=r.name, style=f"c{i}", points=[(s.end_s, s.loss) for s in r.steps])
        for i, r in enumerate(runs)
    ]
    chart = line_chart(lines, x_name="seconds of training", y_name="loss")
    return f'<h2>Loss over time</h2><p class="key">{key(runs)}</p>{chart}'


def step_times(runs: Sequence[Run]) -> str:
    bars, legend = [], ""
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
        legend += f'<span class="c{i}b"></span>compute<span class="s{i}b"></span>communication '
    return (
        "<h2>Time of a step</h2><p>Means over all ranks and all steps after the first two."
        " Communication is the time in which a rank had nothing left to do but to wait for the sum"
        " of the gradients; what overlaps with the backward pass counts as compute.</p>"
        f'<p class="key">{legend}</p>{bar_chart(bars)}'
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
        f' by its steps.</p><p class="key">{key(runs)}</p>{bar_chart(bars)}'
    )


def figures(runs: Sequence[Run]) -> str:
    rows = []
    for r in runs:
        warm = record.warm(r.steps)
        sent = [s.wan_bytes for s in warm if s.wan_bytes is not None]
        cells = (
            f"{record.tokens_per_s(r.steps):.0f}",
            f"{record.mean([s.step_s for s in warm]):.2f} s",
            size(record.mean(sent) if sent else None),
            str(len(r.steps)),
            f"{r.steps[-1].loss:.4f}",
        )
        rows.append(
            f"<tr><th>{escape(r.name)}</th>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
        )
    head = ("", "tokens/s", "step", "WAN/step", "steps", "last loss")
    titles = "".join(f"<th>{h}</th>" for h in head)
    return (
        f'<div class="wide"><table class="figures"><tr>{titles}</tr>{"".join(rows)}</table></div>'
    )


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
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>isthmus demo</title><style>{STYLE}</style></head><body><main>"
        f'<h1>One model, three clouds</h1><p class="lead">{lead(runs)}</p>{figures(runs)}'
        f"{losses(runs)}{step_times(runs)}{links(runs)}"
        f"<h2>What was run</h2><table>{rows}</table></main></body></html>\n"
    )
