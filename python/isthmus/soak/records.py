"""records: what the processes of a soak have noted, and how they ended. Reads files, no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isthmus.chaos import Fault
from isthmus.soak.settings import KEEPER, SITES
from isthmus.soak.worlds import ENDS

Step = Mapping[str, Any]
STORY = "story.json"


@dataclass
class Life:
    """A site's taking part, from its beginning to its end; a process that was given up and joins
    again begins another one. begun … joined: when it was so far. error: the typed one that ended
    it, failed: when. watched: the process whose end is noted, where it is another."""

    site: str
    pid: int
    begun: float
    watched: int = 0
    imported: float | None = None
    built: float | None = None
    joined: float | None = None
    steps: list[Step] = field(default_factory=list)
    pauses: list[Mapping[str, Any]] = field(default_factory=list)
    error: str | None = None
    failed: float = 0.0
    text: str = ""
    final: float | None = None

    @property
    def process(self) -> int:
        """By which its end is found."""
        return self.watched or self.pid

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


def write(story: Story, folder: Path) -> None:
    """What the processes themselves have not noted."""
    said = {
        "faults": [[when, asdict(fault)] for when, fault in story.faults],
        "calm": story.calm,
        "chaos": story.chaos,
        "tokens": story.tokens,
        "hung": story.hung,
    }
    (folder / STORY).write_text(json.dumps(said))


def read(folder: Path) -> Story:
    said = json.loads((folder / STORY).read_text())
    said["faults"] = [(when, Fault(**fault)) for when, fault in said["faults"]]
    return Story(lives=lives(folder), ends=ends(folder), **said)


def life(lines: Sequence[Mapping[str, Any]]) -> Life | None:
    """None: it has said nothing yet."""
    if not lines:
        return None
    first = lines[0]
    made = Life(first["site"], first["pid"], first["begun"], first.get("watched", 0))
    for line in lines[1:]:
        if "step" in line:
            made.steps.append(line)
        elif "error" in line:
            made.error, made.text, made.failed = line["error"], line["text"], line["at"]
        elif "pause" in line:
            made.pauses.append(line["pause"] | {"at": line["at"]})
        elif "imported" in line:
            made.imported = line["imported"]
        elif "built" in line:
            made.built = line["built"]
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
