"""The frame of every report: its style, light and dark, and tables.

Colour classes: c0 isthmus, c1 gloo, c2 and c3 whatever else is compared; s0, s1, s2, s3 are their
softer sisters. `…b` colours the background of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

COLOURS = """
:root { color-scheme: light dark; --page: #fbfaf7; --ink: #1d2327; --soft: #667079; --rule: #dcdad3;
  --c0: #0b7a75; --s0: #8cc7c2; --c1: #c4621a; --s1: #ecb98f;
  --c2: #5b5fa8; --s2: #bcbee2; --c3: #8a8f94; --s3: #cfd2d4; }
@media (prefers-color-scheme: dark) { :root { --page: #14181a; --ink: #e6e8e6; --soft: #98a2a8;
  --rule: #30373b; --c0: #3fbfb5; --s0: #1e5f5c; --c1: #f0944d; --s1: #7a4a26;
  --c2: #a3a7f0; --s2: #43467c; --c3: #9aa1a6; --s3: #4a5054; } }
"""
CHARTS = """
svg { display: block; width: 100%; height: auto; overflow: visible; margin: .5rem 0; }
svg text { fill: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums;
  font-family: system-ui, -apple-system, "Segoe UI", sans-serif; }
svg text.name { fill: var(--ink); }
.grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 2; }
.thin { stroke-width: 1; opacity: .5; }
""" + "".join(
    f".line.c{i} {{ stroke: var(--c{i}); }} .fill.c{i} {{ fill: var(--c{i}); }}"
    f" .fill.s{i} {{ fill: var(--s{i}); }}\n"
    for i in range(4)
)
PAGE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; font-weight: 500; margin: 1.5rem 0 0; }
p, svg { max-width: 44rem; }
p { margin: .25rem 0 .75rem; color: var(--soft); }
p.lead { color: var(--ink); font-size: 1.1rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
.key span { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .35em 0 1em; }
.key span:first-child { margin-left: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 500; color: var(--soft); }
td { overflow-wrap: anywhere; }
.figures th, .figures td { text-align: right; } .figures th:first-child
  { text-align: left; min-width: 10rem; }
.figures td { white-space: nowrap; } .figures th:last-child, .figures td:last-child
  { padding-right: 0; }
@media (max-width: 34rem) { svg text { font-size: 20px; } .figures { font-size: .85rem; } }
""" + "".join(
    f".c{i}b {{ background: var(--c{i}); }} .s{i}b {{ background: var(--s{i}); }}\n"
    for i in range(4)
)


def document(title: str, body: str) -> str:
    """A whole page around `body`, which is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{COLOURS}{CHARTS}{PAGE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def standalone(chart: str) -> str:
    """A chart as a file of its own; `chart` as of svg.py, with nothing before it."""
    style = f"<style>{COLOURS}{CHARTS}</style>"
    head = chart.index(">") + 1
    opened = chart[:head].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return f"{opened}{style}{chart[head:]}\n"


def figures(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of figures: the first cell of each row says what it is about, once for all rows in a
    row that are about the same."""
    titles = "".join(f"<th>{escape(h)}</th>" for h in head)
    lines = ""
    for title, alike in groupby(rows, key=lambda row: row[0]):
        texts = ["".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) for row in alike]
        lines += f'<tr><th rowspan="{len(texts)}">{escape(title)}</th>'
        lines += "</tr><tr>".join(texts) + "</tr>"
    return f'<div class="wide"><table class="figures"><tr>{titles}</tr>{lines}</table></div>'


def facts(values: Mapping[str, str]) -> str:
    """A table of names and what they stand for."""
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in values.items())
    return f"<table>{rows}</table>"


def key(entries: Sequence[tuple[str, str]]) -> str:
    """What the colours mean: (colour class, name) of each."""
    spans = "".join(f'<span class="{style}b"></span>{escape(name)}' for style, name in entries)
    return f'<p class="key">{spans}</p>'
