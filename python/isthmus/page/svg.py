"""Small charts as inline SVG: lines over time, stacked bars, and dots on a scale of ratios. Pure
functions from numbers to text.

Colours and letters come from the page's style sheet (classes c0, c1, …), so that light and dark
are decided there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named run of points; `style` is its colour class. joined: by a line; dotted: with a dot at
    each point, which tells its values when pointed at."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    joined: bool = True
    dotted: bool = True


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A named row of parts: (colour class, length, what it is)."""

    name: str
    parts: Sequence[tuple[str, float, str]]
    label: str


@dataclass(frozen=True, kw_only=True)
class Dots:
    """A named row of dots: (colour class, value, what it is). Values are above 0."""

    name: str
    dots: Sequence[tuple[str, float, str]]
    label: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of dots under a title."""

    title: str
    rows: Sequence[Dots]


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round numbers inside [low, high], about so many."""
    span = max(high - low, 1e-9)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Without needless digits."""
    return f"{value:.6g}"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From numbers to places between two ends. logarithmic: twice as much is always as far away."""

    low: float
    high: float
    begin: float
    end: float
    ticks: Sequence[float]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)


def axes(
    points: Sequence[tuple[float, float]], *, box: tuple[int, int, int, int], logarithmic: bool
) -> tuple[Axis, Axis]:
    """For all points, in a box of left, right, top and bottom edges."""
    left, right, top, bottom = box
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if logarithmic:
        low, high = min(ys) / 1.25, max(ys) * 1.25
        sites = sorted(set(xs))
        steps = ratio_ticks(low, high)
        decades = [step for step in steps if abs(math.log10(step) % 1) < 1e-9]
        across = Axis(
            low=sites[0] / 1.1,
            high=sites[-1] * 1.1,
            begin=left,
            end=right,
            ticks=sites,
            logarithmic=True,
        )
        chosen = decades if len(decades) > 1 else steps
        return across, Axis(
            low=low, high=high, begin=bottom, end=top, ticks=chosen, logarithmic=True
        )
    margin = (max(ys) - min(ys)) * 0.06 or 0.5
    low, high, far = min(ys) - margin, max(ys) + margin, max(xs) or 1.0
    across = Axis(low=0.0, high=far, begin=left, end=right, ticks=ticks(0, far))
    return across, Axis(low=low, high=high, begin=bottom, end=top, ticks=ticks(low, high))


def line_chart(
    lines: Sequence[Line],
    *,
    x_name: str,
    y_name: str,
    height: int = 320,
    legend: bool = False,
    logarithmic: bool = False,
) -> str:
    """Lines over a common scale. legend: what the joined lines are called stands above them.
    logarithmic: both ways; all values are above 0."""
    names = legend_of([line for line in lines if line.joined], y=46) if legend else []
    height += 20 * len(names) + 8 * legend
    left, right, bottom = 58, WIDTH - 16, height - 54
    top = 24 + 20 * len(names) + 8 * legend
    points = [p for line in lines for p in line.points]
    x_axis, y_axis = axes(points, box=(left, right, top, bottom), logarithmic=logarithmic)
    out = [text for row in names for text in row]
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        out.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        out.append(
            f'<text x="{x:.1f}" y="{bottom + 22}" text-anchor="middle">{number(tick)}</text>'
        )
    out.append(f'<text x="{right}" y="{height - 6}" text-anchor="end">{escape(x_name)}</text>')
    out.append(f'<text x="0" y="14">{escape(y_name)}</text>')
    for line in lines:
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
        if line.joined:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            out.append(f'<polyline class="line {line.style}" points="{path}"/>')
        for (x, y), (px, py) in zip(line.points, places, strict=True) if line.dotted else ():
            tip = f"{line.name}: {number(x)} {x_name}, {y_name} {y:.4f}"
            out.append(
                f'<circle class="fill {line.style}" cx="{px:.1f}" cy="{py:.1f}" r="3">'
                f"<title>{escape(tip)}</title></circle>"
            )
    return frame(out, height, "lines of " + ", ".join(line.name for line in lines))


def legend_of(lines: Sequence[Line], *, y: int) -> list[list[str]]:
    """Rows of three names each, behind short pieces of their lines."""
    rows: list[list[str]] = []
    for first in range(0, len(lines), 3):
        row = []
        for i, line in enumerate(lines[first : first + 3]):
            x, middle = 66 + i * 190, y + 20 * len(rows) - 5
            row.append(
                f'<line class="line {line.style}" x1="{x}" x2="{x + 22}" y1="{middle}"'
                f' y2="{middle}"/><text x="{x + 28}" y="{middle + 5}">{escape(line.name)}</text>'
            )
        rows.append(row)
    return rows


def bar_chart(bars: Sequence[Bar]) -> str:
    """Horizontal bars from a common zero, each with its name above and its label at the end of the
    name's line."""
    row, thick = 58, 22
    longest = max((sum(length for _, length, _ in b.parts) for b in bars), default=0) or 1.0
    out = []
    for i, b in enumerate(bars):
        y, x = i * row, 0.0
        out.append(f'<text class="name" x="0" y="{y + 20}">{escape(b.name)}</text>')
        out.append(f'<text x="{WIDTH}" y="{y + 20}" text-anchor="end">{escape(b.label)}</text>')
        for style, length, what in b.parts:
            width = length / longest * WIDTH
            out.append(
                f'<rect class="fill {style}" x="{x:.1f}" y="{y + 28}"'
                f' width="{max(width - 1, 0):.1f}" height="{thick}" rx="2">'
                f"<title>{escape(what)}</title></rect>"
            )
            x += width
    return frame(out, row * len(bars), "bars of " + ", ".join(b.name for b in bars))


def ratio_chart(groups: Sequence[Group], *, x_name: str) -> str:
    """Dots on a scale of ratios, as a slide rule has it: twice as much is always as far away."""
    row, top, left, right = 22, 34, 70, 120
    values = [v for group in groups for line in group.rows for _, v, _ in line.dots]
    low, high = min([1.0, *values]), max([2.0, *values])
    height = top + row * sum(2 + len(group.rows) for group in groups) - row

    def at(value: float) -> float:
        share = math.log(value / low) / math.log(high / low)
        return left + share * (WIDTH - left - right)

    out = [f'<text x="{WIDTH}" y="14" text-anchor="end">{escape(x_name)}</text>']
    for tick in ratio_ticks(low, high):
        out.append(f'<text x="{at(tick):.1f}" y="14" text-anchor="middle">{number(tick)}</text>')
    y = top
    for group in groups:
        out.append(f'<text class="name" x="0" y="{y + 8}">{escape(group.title)}</text>')
        begin, y = y + 14, y + row
        for tick in ratio_ticks(low, high):
            x, end = at(tick), begin + row * len(group.rows)
            out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{begin}" y2="{end}"/>')
        for line in group.rows:
            out += dots_of(line, [at(value) for _, value, _ in line.dots], y)
            y += row
        y += row
    says = "ratios of " + ", ".join(group.title for group in groups)
    return frame(out, height, says)


def dots_of(line: Dots, places: Sequence[float], y: float) -> list[str]:
    """One row: its name, its dots at these places, and its label."""
    out = [
        f'<text x="8" y="{y + 8}">{escape(line.name)}</text>',
        f'<text x="{WIDTH}" y="{y + 8}" text-anchor="end">{escape(line.label)}</text>',
    ]
    for (style, _, what), x in zip(line.dots, places, strict=True):
        out.append(
            f'<circle class="fill {style}" cx="{x:.1f}" cy="{y + 3}" r="5">'
            f"<title>{escape(what)}</title></circle>"
        )
    return out


def ratio_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 … and their like below 1, inside [low, high]."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [m * 10.0**p for p in range(first, last + 1) for m in (1, 2, 5)]
    return [step for step in steps if low * 0.999 <= step <= high]


def frame(parts: Sequence[str], height: int, says: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(says, quote=True)}">'
        + "".join(parts)
        + "</svg>"
    )
