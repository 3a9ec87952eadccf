"""Rows as tables for a terminal: floor, measured and peers side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from isthmus.bench.codec_peers import LIBRARIES
from isthmus.bench.rows import (
    Coding,
    Ledger,
    Railed,
    Recovery,
    Rejoining,
    Row,
    Scaling,
    Soak,
    Timing,
    Training,
)
from isthmus.demo.progress import size


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as texts; the first `words` columns are words, the others figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    note: str = ""

    def text(self) -> str:
        """In columns as wide as they must be."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        text = "\n".join(
            "  ".join(
                cell.ljust(width) if i < self.words else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return f"{text}\n{self.note}" if self.note else text


def amount(bytes: int) -> str:
    """In powers of ten, without needless digits: "4 KB", "100 MB"."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if bytes >= power:
            return f"{bytes / power:g} {unit}"
    return f"{bytes} B"


def duration(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms"


def few(value: float) -> str:
    """As many digits as one reads."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ratio(above: float | None, below: float | None) -> str:
    if above is None or not below:
        return "-"
    return f"{above / below:.2f}"


def timings(rows: Sequence[Timing]) -> Table:
    planned = any(row.planned_s is not None for row in rows)
    peers = sorted({peer for row in rows for peer in row.peers})
    whose = ["isthmus", *peers]

    def heavy(row: Timing) -> bool:
        """Else it is the calls that cost, not the bytes."""
        return row.bytes >= 1e6

    def cells(row: Timing) -> list[str]:
        cpu = row.cpu_s_per_gb
        return [
            row.case,
            row.codec,
            duration(row.floor_s),
            *([duration(row.planned_s)] if planned else []),
            duration(row.isthmus_s),
            ratio(row.isthmus_s, row.floor_s),
            *(duration(row.peers.get(peer)) for peer in peers),
            *(ratio(row.peers.get(peer), row.isthmus_s) for peer in peers),
            " / ".join(few(cpu[who]) for who in whose if who in cpu and heavy(row)) or "-",
        ]

    head = ["case", "codec", "floor", *(["planned"] if planned else []), "isthmus", "of floor"]
    head += [*peers, *(f"{peer}/isthmus" for peer in peers), "CPU-s/GB"]
    note = f"CPU-s/GB: of one rank, {' / '.join(whose)}"
    return Table(head=head, rows=[cells(row) for row in rows], words=2, note=note)


def codings(rows: Sequence[Coding]) -> Table:
    """`to best`: our speed over the fastest of what a user has without isthmus."""
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.implementation in LIBRARIES:
            key = row.codec, row.operation
            best[key] = max(best.get(key, 0.0), row.of_memcpy)

    def cells(row: Coding) -> list[str]:
        theirs = best.get((row.codec, row.operation))
        return [
            row.codec,
            row.implementation,
            row.operation,
            f"{row.gb_per_s:.2f}",
            f"{row.of_memcpy:.3f}",
            f"{row.of_memcpy / theirs:.1f}" if theirs else "",
            "" if row.bits is None else f"{row.bits:g}",
            "" if row.error is None else f"{row.error:g}",
        ]

    head = ["codec", "code", "operation", "GB/s", "of memcpy", "to best", "bits", "error"]
    return Table(head=head, rows=[cells(row) for row in rows], words=3)


def trainings(rows: Sequence[Training]) -> Table:
    peers = sorted({peer for row in rows for peer in row.peers})

    def cells(row: Training) -> list[str]:
        return [
            row.case,
            row.way,
            f"{row.tokens_per_s:.0f}",
            *(ratio(row.tokens_per_s, row.peers.get(peer)) for peer in peers),
            duration(row.floor_s),
            duration(row.step_s),
            duration(row.waiting_s),
            "-" if row.cpu_s is None else duration(row.cpu_s),
            "-" if row.hidden_share is None else f"{row.hidden_share:.0%}",
            size(row.wan_bytes),
            f"{row.loss:.4f}",
        ]

    head = ["case", "way", "tokens/s", *(f"of {peer}" for peer in peers), "floor", "step"]
    head += ["waiting", "CPU", "hidden", "WAN/step", "loss"]
    return Table(head=head, rows=[cells(row) for row in rows], words=2)


def scalings(rows: Sequence[Scaling]) -> Table:
    head = ["codec", "sites", "Gbit/s", "round trip", "parameters", "floor", "isthmus", "of floor"]
    cells = [
        [
            row.codec,
            str(row.sites),
            f"{row.gbit_per_s:g}",
            f"{row.rtt_ms:g} ms",
            f"{row.parameters / 1e9:.3g} B",
            duration(row.floor_s),
            duration(row.isthmus_s),
            ratio(row.isthmus_s, row.floor_s),
        ]
        for row in rows
    ]
    return Table(head=head, rows=cells, words=1)


def railings(rows: Sequence[Railed]) -> Table:
    head = ["case", "codec", "rails", "step", "of one rail", "CPU of all", "samples"]
    cells = [
        [
            row.case,
            row.codec,
            str(row.rails),
            duration(row.step_s),
            ratio(row.step_s, row.one_rail_s),
            duration(row.cpu_s),
            str(row.samples),
        ]
        for row in rows
    ]
    return Table(head=head, rows=cells, words=2)


def recoveries(rows: Sequence[Recovery]) -> Table:
    """Of all runs of a case and fault together."""
    series: dict[tuple[str, str, float], list[Recovery]] = {}
    for row in rows:
        series.setdefault((row.case, row.fault, row.heartbeat_s), []).append(row)
    head = ["case", "fault", "heartbeat", "step", "runs", "recovery", "at most", "same bits"]
    cells = [
        [
            case,
            fault,
            f"{heartbeat:g} s",
            duration(median(row.step_s for row in runs)),
            str(len(runs)),
            duration(median(row.recovery_s for row in runs)),
            duration(max(row.recovery_s for row in runs)),
            f"{sum(row.identical for row in runs)} of {len(runs)}",
        ]
        for (case, fault, heartbeat), runs in series.items()
    ]
    note = (
        "recovery: median, from the fault to the last survivor's first step without the lost site"
    )
    return Table(head=head, rows=cells, words=2, note=note)


def rejoinings(rows: Sequence[Rejoining]) -> Table:
    """Medians of all runs of a case."""
    series: dict[str, list[Rejoining]] = {}
    for row in rows:
        series.setdefault(row.case, []).append(row)
    parts = ("imports_s", "model_s", "join_s", "take_s", "step_s", "training_s")
    others = ("transfer_s", "pause_s")
    head = ["case", "runs", "imports", "model", "join", "take", "step", "training", "at most"]
    cells = []
    for case, runs in series.items():
        medians = [duration(median(getattr(row, part) for row in runs)) for part in parts]
        most = duration(max(row.training_s for row in runs))
        theirs = [duration(median(getattr(row, part) for row in runs)) for part in others]
        same = f"{sum(row.identical for row in runs)} of {len(runs)}"
        pause = duration(max(row.pause_s for row in runs))
        cells.append([case, str(len(runs)), *medians, most, *theirs, pause, same])
    head += ["transfer", "others pause", "at most", "same bits"]
    note = "training: from the end of its imports to the end of its first step"
    return Table(head=head, rows=cells, words=1, note=note)


def soaks(rows: Sequence[Soak]) -> Table:
    head = ["case", "minutes", "seed", "faults", "lives", "epochs", "steps", "tokens", "loss"]
    head += ["without faults", "memory", "broken"]
    cells = [
        [
            row.case,
            f"{row.minutes:g}",
            str(row.seed),
            str(sum(row.faults.values())),
            str(row.lives),
            str(row.epochs),
            str(row.steps),
            f"{row.tokens_share:.1%}",
            f"{row.loss:.4f}",
            " ".join(f"{loss:.4f}" for loss in row.fault_free_losses) or "-",
            f"{row.rss_growth_bytes / 1e6:+.1f} MB",
            ", ".join(row.broken) or "nothing",
        ]
        for row in rows
    ]
    note = "tokens: of as long without faults; memory: growth of a process, at most"
    return Table(head=head, rows=cells, words=1, note=note)


def tables(rows: Sequence[Row]) -> list[Table]:
    """One for each kind of row that is there."""
    makers: list[tuple[type, Callable[..., Table]]] = [
        (Timing, timings),
        (Coding, codings),
        (Training, trainings),
        (Scaling, scalings),
        (Railed, railings),
        (Recovery, recoveries),
        (Rejoining, rejoinings),
        (Soak, soaks),
    ]
    found = [(maker, [row for row in rows if isinstance(row, kind)]) for kind, maker in makers]
    return [maker(those) for maker, those in found if those]


def show(ledger: Ledger) -> None:
    """What a run measured, and where it is kept."""
    for table in tables(ledger.rows):
        print(table.text())
    print(f"kept in {ledger.path}")
