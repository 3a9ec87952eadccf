"""The processes of one run: three sites over the emulated WAN, or on loopback where none can be
made.

A World owns every process that it starts; leaving the `with` block ends them all, whatever
happened inside.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from isthmus.demo import topology
from isthmus.demo.site import Launch

LOOPBACK = "127.0.0.1"


class RunFailed(Exception):
    """A site's process ended badly; the text holds the last lines that it wrote."""


@dataclass(frozen=True, kw_only=True)
class Wan:
    """The emulated network: round trip between any two sites, and what a site sends and receives
    in all."""

    rtt_ms: float
    site_mbit: float


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, all different."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wan_line(wan: Wan, *, stats: Path, timeout_s: float) -> list[str]:
    """The emulator's command line, up to the command that each site runs."""
    return [
        *(sys.executable, "-m", "isthmus.wan"),
        *("--sites", str(len(topology.SITES))),
        *("--rtt-ms", f"{wan.rtt_ms:g}"),
        *("--site-mbit", f"{wan.site_mbit:g}"),
        *("--stats", str(stats)),
        *("--timeout", f"{timeout_s:g}"),
        "--",
    ]


class World:
    """One run of a program at every rank of every site. `together`: all ranks are one torch world;
    else each site is one of its own."""

    def __init__(
        self,
        folder: Path,
        program: str,
        arguments: Sequence[str],
        *,
        together: bool,
        wan: Wan | None,
        timeout_s: float,
    ) -> None:
        self.folder_ = folder
        self.end_ = time.monotonic() + timeout_s
        self.timeout_s_ = timeout_s
        self.processes_: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        torch_port, isthmus_port = free_ports(2)
        launch = Launch(
            program=program,
            arguments=arguments,
            together=together,
            torch_port=torch_port,
            isthmus_port=isthmus_port,
        )
        self.site_line_ = launch.line(folder)
        self.wan_ = wan

    def __enter__(self) -> World:
        if self.wan_ is not None:
            line = wan_line(self.wan_, stats=self.folder_ / "links.json", timeout_s=self.timeout_s_)
            self.start_([*line, *self.site_line_], {}, "emulator.log")
            return self
        count = len(topology.SITES)
        for i in range(count):
            place = {
                "WAN_SITE": str(i),
                "WAN_SITES": str(count),
                "WAN_ADDRS": ",".join([LOOPBACK] * count),
            }
            self.start_(self.site_line_, place, f"{topology.SITES[i].name}.log")
        return self

    def start_(self, line: list[str], environment: dict[str, str], log: str) -> None:
        # Sessions of their own: Ctrl-C comes to us alone, and we end them in order.
        with (self.folder_ / log).open("wb") as out:
            process = subprocess.Popen(
                line,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes_.append(process)

    def running(self) -> bool:
        """False once all have ended well. Raises RunFailed as soon as one has not, or when time is
        up."""
        if any(p.poll() for p in self.processes_):
            time.sleep(1.0)  # the others' last words
            raise RunFailed(self.last_words())
        if time.monotonic() > self.end_:
            raise RunFailed(f"not done after {self.timeout_s_:g} s\n{self.last_words()}")
        return any(p.poll() is None for p in self.processes_)

    def last_words(self, lines: int = 12) -> str:
        """The ends of the logs, those with an error first, for a person who wants to know what
        went wrong."""
        ends = []
        for log in sorted(self.folder_.glob("*.log")):
            text = log.read_text(errors="replace").rstrip()
            if text:
                # torchrun's own account begins where it notices; what matters stands before.
                own = re.split(r"\n.*(failed \(exitcode|Received \d+ death signal)", text)[0]
                kept = [row for row in own.splitlines() if "[c10d]" not in row] or [text]
                ends.append(("Error" not in own, f"{log.name}:\n  " + "\n  ".join(kept[-lines:])))
        return "\n".join(end for _, end in sorted(ends)) or "no process wrote anything"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, patience_s in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 2.0)):
            alive = [p for p in self.processes_ if p.poll() is None]
            for p in alive:
                # Each process leads the group that it started in; nobody else can be in it.
                os.killpg(p.pid, number)
            end = time.monotonic() + patience_s
            while time.monotonic() < end and any(p.poll() is None for p in alive):
                time.sleep(0.05)


def link_bytes(folder: Path) -> dict[str, int]:
    """Bytes on each link, both ways, by "aws-gcp"; empty where there was no emulator."""
    path = folder / "links.json"
    if not path.exists():
        return {}
    total: dict[str, int] = {}
    for pair, counts in json.loads(path.read_text())["links"].items():
        a, b = sorted(int(end) for end in pair.split("->"))
        name = f"{topology.SITES[a].name}-{topology.SITES[b].name}"
        total[name] = total.get(name, 0) + int(counts["sent"]["bytes"])
    return total
