"""One HTML page of what was measured: floors, figures and peers, in tables and plots.

It shows the newest row of every case (of codecs, on every machine), and what is not there it leaves
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TypeVar

from isthmus.bench import options
from isthmus.bench.codec_peers import LIBRARIES
from isthmus.bench.rows import (
    BENCHES,
    Coding,
    Entry,
    Origin,
    Railed,
    Recovery,
    Rejoining,
    Scaling,
    Soak,
    Timing,
    Training,
    read,
)
from isthmus.bench.table import (
    Table,
    codings,
    duration,
    railings,
    ratio,
    recoveries,
    rejoinings,
    scalings,
    soaks,
    timings,
    trainings,
)
from isthmus.errors import Refused
from isthmus.page import document
from isthmus.page.svg import Bar, Dots, Group, Line, bar_chart, line_chart, ratio_chart

KEY = [("c0", "isthmus"), ("c1", "gloo")]
Kind = TypeVar("Kind", Timing, Coding, Training, Scaling, Railed, Recovery, Rejoining, Soak)


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """Of each case the last, whatever the machine; but codecs are compared between machines."""
    kept: dict[tuple[str, str, tuple[str, ...]], Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.origin.when):
        row = entry.row
        machine = entry.origin.processor if isinstance(row, Coding) else ""
        kept[row.bench, machine, row.key] = entry
    return list(kept.values())


def rows_of(kind: type[Kind], bench: str, entries: Iterable[Entry]) -> list[Kind]:
    rows = [entry.row for entry in entries if entry.row.bench == bench]
    return [row for row in rows if isinstance(row, kind)]


def table(made: Table) -> str:
    note = f"<p>{escape(made.note)}</p>" if made.note else ""
    return document.figures(made.head, made.rows) + note


def to_floor(rows: Sequence[Timing]) -> str:
    """How many times the floor each took."""

    def dots(row: Timing) -> Dots:
        took = [("c1", peer, seconds) for peer, seconds in row.peers.items()]
        took += [] if row.isthmus_s is None else [("c0", "isthmus", row.isthmus_s)]
        return Dots(
            name=row.codec,
            dots=[(c, s / row.floor_s, f"{who}: {duration(s)}") for c, who, s in took],
            label=" · ".join(f"{ratio(s, row.floor_s)}" for _, _, s in reversed(took)),
        )

    groups = [
        Group(title=case, rows=[dots(row) for row in rows if row.case == case])
        for case in dict.fromkeys(row.case for row in rows)
    ]
    return document.key(KEY) + ratio_chart(groups, x_name="times the floor")


def exchange(entries: Sequence[Entry]) -> str:
    rows = rows_of(Timing, "exchange", entries)
    return (
        "<p>All-reduce of float32 between processes of this machine, taking turns. The floor moves"
        " the same float32 bytes round a ring of bare sockets and adds nothing; a codec that sends"
        f" fewer can be below it.</p>{to_floor(rows)}{table(timings(rows))}"
    )


def wan(entries: Sequence[Entry]) -> str:
    rows = rows_of(Timing, "wan", entries)
    return (
        "<p>All-reduce of float32 between sites, over real kernel TCP and emulated links, taking"
        " turns. The floor is what bytes, rates and one-way delays allow the better schedule with"
        f" the best split among owners.</p>{to_floor(rows)}{table(timings(rows))}"
    )


def ddp(entries: Sequence[Entry]) -> str:
    rows = rows_of(Training, "ddp", entries)
    text = (
        "<p>Training across an emulated WAN, all ways taking turns: isthmus, plain gloo DDP, and"
        " the same job with no exchange between sites (alone). Darker: computing; lighter: nothing"
        " left to do but to wait for gradients. Hidden: the share of the exchange that passed"
        " while backward still ran.</p>"
    )
    styles = {"isthmus": "0", "gloo": "1"}
    for case in dict.fromkeys(row.case for row in rows):
        bars = []
        for row in (row for row in rows if row.case == case):
            style = styles.get(row.way.split()[0], "3")
            parts = [
                (f"c{style}", row.compute_s, f"{row.way}: computing {duration(row.compute_s)}"),
                (f"s{style}", row.waiting_s, f"{row.way}: waiting {duration(row.waiting_s)}"),
            ]
            label = f"{duration(row.step_s)} a step, {row.tokens_per_s:.0f} tokens/s"
            bars.append(Bar(name=row.way, parts=parts, label=label))
        text += f"<h3>{escape(case)}</h3>{bar_chart(bars)}"
    return text + table(trainings(rows))


def codecs(entries: Sequence[Entry]) -> str:
    text = (
        "<p>GB of float32 a second on one core, as a share of what memcpy moved in the same"
        " moments.</p>"
    )
    for processor in dict.fromkeys(entry.origin.processor for entry in entries):
        mine = [entry for entry in entries if entry.origin.processor == processor]
        rows = rows_of(Coding, "codecs", mine)
        best = [row.implementation for row in rows if row.implementation not in LIBRARIES][-1]
        bars = [
            Bar(
                name=f"{row.codec}: {row.operation}",
                parts=[(style(row), row.of_memcpy, f"{row.gb_per_s:g} GB/s")],
                label=f"{row.implementation}, {row.of_memcpy:.2f} of memcpy",
            )
            for row in rows
            if row.implementation in (best, *LIBRARIES)
            and row.operation in ("encode", "encode, residual", "decode")
        ]
        text += f"<h3>{escape(processor)}</h3>{bar_chart(bars)}{table(codings(rows))}"
    return text


def style(row: Coding) -> str:
    return "c1" if row.implementation in LIBRARIES else "c0"


def scaling(entries: Sequence[Entry]) -> str:
    rows = rows_of(Scaling, "scaling", entries)
    text = "<p>The exchange of one step of large models, in the simulator (docs/scaling.md).</p>"
    for codec in dict.fromkeys(row.codec for row in rows):
        text += f"<h3>{escape(codec)}</h3>"
        text += scaling_chart([row for row in rows if row.codec == codec])
    return text + table(scalings(rows))


def scaling_chart(rows: Sequence[Scaling]) -> str:
    """Floors as lines, simulated times as dots: each model at the slowest and fastest rate."""
    rates = sorted({row.gbit_per_s for row in rows})
    lines = []
    for i, size in enumerate(sorted({row.parameters for row in rows})):
        for rate in sorted({rates[0], rates[-1]}):
            mine = [r for r in rows if (r.parameters, r.gbit_per_s) == (size, rate)]
            mine.sort(key=lambda row: row.sites)
            name = f"{size / 1e9:.3g} B, {rate:g} Gbit/s"
            style = f"c{i % 4}" + ("" if rate == rates[-1] else " thin")
            floor = [(float(row.sites), row.floor_s) for row in mine]
            took = [(float(row.sites), row.isthmus_s) for row in mine]
            lines.append(Line(name=name, style=style, points=floor, dotted=False))
            lines.append(Line(name=name, style=style, points=took, joined=False))
    y_name = "seconds a step: floor (line), simulated (dots)"
    return line_chart(lines, x_name="sites", y_name=y_name, legend=True, logarithmic=True)


def rails(entries: Sequence[Entry]) -> str:
    return (
        "<p>A step that is all exchange, with several gateways a site, on loopback; numbers of"
        " rails take turns. All ranks share this machine's cores (docs/rails.md).</p>"
        f"{table(railings(rows_of(Railed, 'rails', entries)))}"
    )


def kills(entries: Sequence[Entry]) -> str:
    return (
        "<p>A site is killed, silently cut off or frozen at a random moment; the others go on"
        " without it (docs/losses.md).</p>"
        f"{table(recoveries(rows_of(Recovery, 'kills', entries)))}"
    )


def rejoin(entries: Sequence[Entry]) -> str:
    return (
        "<p>A site is killed and started again: its job joins, is handed the others' state and"
        " trains (docs/rejoin.md).</p>"
        f"{table(rejoinings(rows_of(Rejoining, 'rejoin', entries)))}"
    )


def chaos(entries: Sequence[Entry]) -> str:
    return (
        "<p>Four sites train while one fault follows another, and are started again when they end"
        " (docs/chaos.md).</p>"
        f"{table(soaks(rows_of(Soak, 'chaos', entries)))}"
    )


_sections: Mapping[str, tuple[str, Callable[[Sequence[Entry]], str]]] = {
    "ddp": ("Training across a WAN", ddp),
    "wan": ("Exchange across a WAN", wan),
    "exchange": ("Exchange on loopback", exchange),
    "scaling": ("Scaling, simulated", scaling),
    "rails": ("Rails on loopback", rails),
    "kills": ("After a site is lost", kills),
    "rejoin": ("A site comes back", rejoin),
    "chaos": ("Under random faults", chaos),
    "codecs": ("Codecs", codecs),
}


def origins(entries: Iterable[Entry]) -> str:
    """Machines, commits and commands, each once."""

    def what(origin: Origin) -> tuple[str, str]:
        machine = f"{origin.processor}, {origin.cores} cores, Linux {origin.kernel}"
        return origin.command, f"{machine}, commit {origin.commit}, {origin.when[:10]}"

    newest = {what(entry.origin)[0]: what(entry.origin)[1] for entry in entries}
    return document.facts(newest)


def render(entries: Sequence[Entry]) -> str:
    """The whole page. REQUIRES: at least one entry."""
    body = '<h1>isthmus, measured</h1><p class="lead">Every figure beside what physics asks for, '
    body += "and beside what others need for the same, in the same run.</p>"
    for bench, (title, section) in _sections.items():
        mine = [entry for entry in entries if entry.row.bench == bench]
        if mine:
            body += f"<h2>{title}</h2>{section(mine)}"
    body += "<h2>What was run</h2><p>Read ratios rather than seconds: machines of a cloud are"
    body += f" shared.</p>{origins(entries)}"
    return document.document("isthmus, measured", body)


def main(argv: Sequence[str]) -> int:
    parser = options.parser("report", __doc__)
    settings = parser.parse_args(argv)
    folder = options.folder(settings)
    entries = newest(entry for bench in BENCHES for entry in read(folder / f"{bench}.jsonl"))
    if not entries:
        raise Refused(f"nothing to report: {folder} has no results; run `isthmus bench all`")
    page = (options.DEFAULT_OUT if settings.save else folder) / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(entries), encoding="utf-8")
    print(f"report: {page}")
    return 0
