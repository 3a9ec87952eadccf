"""Runs of `isthmus wan` for the tests, and what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENT = Path(__file__).with_name("agent.py")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. `told`: what each site's agent printed; `links`: the statistics."""

    status: int
    told: dict[int, dict[str, Any]]
    links: dict[str, dict[str, dict[str, int]]]
    errors: str


@dataclass(frozen=True, kw_only=True)
class Wan:
    folder: Path
    python: str = sys.executable

    def command(self, *options: str, run: list[str]) -> list[str]:
        stats = str(self.folder / "stats.json")
        start = [self.python, "-m", "isthmus.wan", "--timeout", "60", "--stats", stats]
        return [*start, *options, "--", *run]

    def run(self, *options: str, run: list[str], wrap: tuple[str, ...] = ()) -> Outcome:
        command = [*wrap, *self.command(*options, run=run)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        lines = list(objects(ended.stdout))
        stats = self.folder / "stats.json"
        return Outcome(
            status=ended.returncode,
            told={line["site"]: line for line in lines},
            links=json.loads(stats.read_text())["links"] if stats.exists() else {},
            errors=ended.stderr,
        )

    def agent(self, *options: str, do: str, wrap: tuple[str, ...] = ()) -> Outcome:
        """Run agent.py's part `do` in every site; all must do well."""
        outcome = self.run(*options, run=[self.python, str(AGENT), do], wrap=wrap)
        assert outcome.status == 0, outcome.errors
        return outcome


def objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects in what several sites printed: one's newline may come after another's text."""
    begin = text.find("{")
    while begin >= 0:
        found, end = json.JSONDecoder().raw_decode(text, begin)
        yield found
        begin = text.find("{", end)


def processes_with(text: str) -> list[int]:
    """Living processes, other than this one, with the text in their command lines."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in line:
            found.append(int(name))
    return found
