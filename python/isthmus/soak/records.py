"""records: what the processes of a soak have noted, and how they ended. Reads files, no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.chaos import Fault
from isthmus.soak.settings import KEEPER, SITES
from isthmus.soak.worlds import ENDS

Step = Mapping[str, Any]


@dataclass
class Life:
    """One process of a site, from its beginning to its end. error: the typed one that ended it."""

    site: str
    pid: int
    begun: float
    joined: float | None = None
    steps: list[Step] = field(default_factory=list)
    error: str | None = None
    text: str = ""
    final: float | None = None

    @property
    def samples(self) -> list[Step]:
        return [step for step in self.steps if "rss_bytes" in step]


@dataclass(frozen=True)
class End:
    """Of a process. status: as a shell says it."""

    site: str
    pid: int
    status: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that happened. faults: when each was injected. calm, chaos: stretches of time, without
    faults and with; tokens: of a site in a step. hung: who made no progress; empty: nobody."""

    lives: Sequence[Life]
    ends: Sequence[End]
    faults: Sequence[tuple[float, Fault]]
    calm: Sequence[tuple[float, float]]
    chaos: tuple[float, float]
    tokens: int
    hung: Sequence[str] = ()


def life(lines: Sequence[Mapping[str, Any]]) -> Life | None:
    """None: it has said nothing yet."""
    if not lines:
        return None
    first = lines[0]
    made = Life(site=first["site"], pid=first["pid"], begun=first["begun"])
    for line in lines[1:]:
        if "step" in line:
            made.steps.append(line)
        elif "error" in line:
            made.error, made.text = line["error"], line["text"]
        elif "joined" in line:
            made.joined = line["joined"]
        elif "final" in line:
            made.final = line["final"]
    return made


def lives(folder: Path) -> list[Life]:
    """In the order of their beginnings."""
    found = [life(whole_lines(path)) for path in folder.glob("site*.*.jsonl")]
    return sorted((each for each in found if each is not None), key=lambda each: each.begun)


def ends(folder: Path) -> list[End]:
    names = (*SITES, KEEPER)
    return [
        End(names[line["site"]], line["pid"], line["status"], line["at"])
        for line in whole_lines(folder / ENDS)
    ]


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """A process that is killed may leave half a line."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Watch:
    """Follows the files while they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.step = -1
        """The latest that any site has done."""
        self.last: dict[str, float] = {}
        """By site: when it did its latest step."""
        self.sites: tuple[str, ...] = ()
        """Who contributed to the latest step."""
        self.finished: set[str] = set()
        self.pids: dict[str, int] = {}

    def look(self) -> None:
        for path in sorted(self._folder.glob("site*.*.jsonl")):
            with path.open() as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            whole = text[: text.rfind("\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole.encode())
            for line in map(json.loads, whole.splitlines()):
                self._take(path.name.partition(".")[0], line)

    def _take(self, site: str, line: Mapping[str, Any]) -> None:
        if "pid" in line:
            self.pids[site] = line["pid"]
        if "final" in line:
            self.finished.add(site)
        if "step" in line:
            self.last[site] = line["at"]
            if line["step"] > self.step:
                self.step = line["step"]
                self.sites = tuple(line["shares"])
