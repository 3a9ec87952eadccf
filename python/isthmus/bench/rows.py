"""What a bench measured: one row a case, kept as one JSON line as soon as it is there.

A line is a row's fields after its origin's: when, on what machine and by which command.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Timing:
    """An all-reduce: medians in seconds; CPU seconds of a rank for each GB of its float32 data.

    floor_s: what bytes, rate and delay allow (on loopback, what bare sockets took). planned_s: what
    isthmus itself expected of its links, with encoding's time, measured beside. isthmus_s is None
    where isthmus was left out.
    """

    bench: str  # "exchange" or "wan"
    case: str
    codec: str
    bytes: int
    ranks: int
    floor_s: float
    isthmus_s: float | None = None
    planned_s: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    cpu_s_per_gb: Mapping[str, float] = field(default_factory=dict)
    samples: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, self.codec


@dataclass(frozen=True, kw_only=True)
class Coding:
    """One operation of one codec: GB of float32 a second, and memcpy's in the same moments."""

    bench: str = "codecs"
    codec: str
    implementation: str
    operation: str
    elements: int
    gb_per_s: float
    memcpy_gb_per_s: float
    of_memcpy: float
    bits: float | None = None
    error: float | None = None
    contraction: float | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return self.codec, self.implementation, self.operation


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training a model in one way: "isthmus int4", "gloo" (plain DDP) or "alone" (no exchange).

    step_s: of all ranks together; compute_s and waiting_s: of a step, means over ranks; cpu_s:
    the same, of a rank's process with all its threads, whatever else the machine did. floor_s: the
    longer of what "alone" takes and of the exchange's floor. peers: tokens a second of the ways
    that took turns with this one.
    """

    bench: str = "ddp"
    case: str
    way: str
    tokens_per_s: float
    floor_s: float
    step_s: float
    compute_s: float
    waiting_s: float
    cpu_s: float | None = None  # None: the row is older than the figure
    hidden_share: float | None = None
    wan_bytes: float | None = None
    loss: float
    peers: Mapping[str, float] = field(default_factory=dict)
    samples: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, self.way


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A step's exchange in the simulator, of a model of so many parameters."""

    bench: str = "scaling"
    codec: str
    sites: int
    gbit_per_s: float
    rtt_ms: float
    parameters: float
    scale: float
    floor_s: float
    isthmus_s: float

    @property
    def key(self) -> tuple[str, ...]:
        return scaling_key(
            self.codec, self.sites, self.gbit_per_s, self.rtt_ms, self.parameters, self.scale
        )


def scaling_key(codec: str, *numbers: float) -> tuple[str, ...]:
    """Of sites, Gbit/s, round trip, parameters and scale."""
    return codec, *(f"{value:g}" for value in numbers)


@dataclass(frozen=True, kw_only=True)
class Railed:
    """A step that is all exchange, with so many rails: medians, in seconds; cpu_s: of all ranks.

    one_rail_s: a step with one rail, which took turns with this one.
    """

    bench: str = "rails"
    case: str
    codec: str
    rails: int
    step_s: float
    one_rail_s: float
    cpu_s: float
    samples: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, self.codec, str(self.rails)


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """One run in which a site was lost. fault: "kill", "cut" or "freeze"; step_s: a step before it.

    recovery_s: from the fault until the last of the others has done its first step without the lost
    site. identical: whether all of their steps had the same bits and contributors.
    """

    bench: str = "kills"
    case: str
    fault: str
    seed: int
    heartbeat_s: float
    step_s: float
    recovery_s: float
    identical: bool

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, self.fault, str(self.seed)


@dataclass(frozen=True, kw_only=True)
class Rejoining:
    """One run in which a site was killed and its replacement came in.

    Seconds of the replacement, one after another: imports_s (the process is up, and what it uses
    loaded), model_s (built, and the site's group), join_s (until it is called and connected),
    take_s (change over and hand-over), step_s (the first). transfer_s: the state's bytes alone;
    pause_s: the longest of the other sites' times between two steps more than its usual one.
    """

    bench: str = "rejoin"
    case: str
    seed: int
    state_bytes: int
    imports_s: float
    model_s: float
    join_s: float
    take_s: float
    step_s: float
    transfer_s: float
    pause_s: float
    identical: bool

    @property
    def training_s(self) -> float:
        """From when its imports are done until its first step is."""
        return self.model_s + self.join_s + self.take_s + self.step_s

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, str(self.seed)


@dataclass(frozen=True, kw_only=True)
class Soak:
    """Training under random faults: faults, by kind, one every so many seconds. lives: processes of
    sites, those started again among them; epochs: changes over. tokens_share: of those without
    faults. fault_free_losses: of other runs of as many tokens. rss_growth_bytes: from the first
    third of a process's life to its last, the most. broken: invariants that do not hold."""

    bench: str = "chaos"
    case: str
    seed: int
    minutes: float
    every_s: float
    faults: Mapping[str, int] = field(default_factory=dict)
    lives: int
    epochs: int
    steps: int
    tokens_share: float
    loss: float
    fault_free_losses: Sequence[float] = ()
    rss_growth_bytes: int
    broken: Sequence[str] = ()

    @property
    def key(self) -> tuple[str, ...]:
        return self.case, f"{self.minutes:g}", str(self.seed)


Row: TypeAlias = Timing | Coding | Training | Scaling | Railed | Recovery | Rejoining | Soak
_kinds: Mapping[str, type[Row]] = {
    "exchange": Timing,
    "wan": Timing,
    "codecs": Coding,
    "ddp": Training,
    "scaling": Scaling,
    "rails": Railed,
    "kills": Recovery,
    "rejoin": Rejoining,
    "chaos": Soak,
}
BENCHES = tuple(_kinds)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a row's figures belong to. when: UTC, as in "2026-11-25T09:00:00Z"."""

    when: str
    processor: str
    cores: int
    kernel: str
    commit: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a file of results."""

    origin: Origin
    row: Row

    def line(self) -> str:
        row = {k: v for k, v in asdict(self.row).items() if v is not None and v != {}}
        return json.dumps({"bench": self.row.bench, **asdict(self.origin), **row}) + "\n"


def parse(line: str) -> Entry:
    """ValueError if the line is no row of ours."""
    values = json.loads(line)
    kind = _kinds.get(str(values.get("bench"))) if isinstance(values, dict) else None
    if kind is None:
        raise ValueError(f"no row of a bench: {line[:80]!r}")
    about = {f.name for f in fields(Origin)}
    try:
        return Entry(
            origin=Origin(**{k: v for k, v in values.items() if k in about}),
            row=kind(**{k: v for k, v in values.items() if k not in about}),
        )
    except TypeError as error:
        raise ValueError(f"no row of {values['bench']}: {error}") from None


def read(path: Path) -> list[Entry]:
    """The file's rows; none where there is no file."""
    if not path.exists():
        return []
    return [parse(line) for line in path.read_text().splitlines()]


def here(command: str) -> Origin:
    """This machine, this tree, now."""
    return Origin(
        when=now(),
        processor=processor(),
        cores=os.cpu_count() or 0,
        kernel=platform.release(),
        commit=commit(),
        command=command,
    )


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def processor() -> str:
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    models = [line for line in about.splitlines() if line.startswith("model name")]
    return models[0].partition(":")[2].strip() if models else platform.machine()


def commit() -> str:
    """Of the tree that this file is in; "wheel" for an installed package."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "wheel"
    return asked.stdout.strip()


class Ledger:
    """The results of one bench in one file: a row takes the place of that which has its key and is
    of the same processor; nothing else is ever lost, whenever the bench is interrupted."""

    def __init__(self, folder: Path, bench: str, *, command: str, resume: bool = False) -> None:
        self.path = folder / f"{bench}.jsonl"
        self.rows: list[Row] = []  # of this run, those kept by --resume among them
        self.origin = here(command)
        self.resume_ = resume
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, *key: str) -> bool:
        """Whether this case may be left out: the run resumes one of the same command, processor and
        day, which measured it."""
        if not self.resume_:
            return False
        for entry in read(self.path):
            if entry.row.key == key and self.same_run(entry.origin):
                if entry.row.key not in [row.key for row in self.rows]:
                    self.rows.append(entry.row)
                return True
        return False

    def same_run(self, other: Origin) -> bool:
        mine = self.origin
        return (
            other.command == mine.command
            and other.processor == mine.processor
            and other.when[:10] == mine.when[:10]
        )

    def add(self, row: Row) -> None:
        """Keep the row, on disk too."""
        new = Entry(origin=replace(self.origin, when=now()), row=row)
        kept = [
            entry
            for entry in read(self.path)
            if (entry.row.key, entry.origin.processor) != (row.key, new.origin.processor)
        ]
        # A file of its own first: who is interrupted between the two has the old one.
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(entry.line() for entry in [*kept, new]))
        fresh.replace(self.path)
        self.rows.append(row)
