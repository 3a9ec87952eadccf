"""worlds: the processes of a soak, started again when they end: in an emulated network by
`isthmus wan --restart`, on loopback by a thread."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus import chaos
from isthmus.soak.settings import KEEPER, SITES

NAMES = (*SITES, KEEPER)
PORT = 29400
ENDS = "ends.jsonl"  # in the folder: of each process its site's number, status, and when
_program = "isthmus.soak.site"
_standby = "isthmus.soak.standby"


@contextmanager
def emulated(
    folder: Path, *, rtt_ms: float, site_mbit: float, standby: bool = False
) -> Iterator[chaos.World]:
    """The sites, and the coordinator at one of its own. standby: sites are copies of a process that
    has imported everything, outside of what is killed."""
    with contextlib.ExitStack() as running:
        asking = running.enter_context(prepared(folder)) if standby else []
        yield running.enter_context(_emulated(folder, rtt_ms, site_mbit, asking))


@contextmanager
def prepared(folder: Path) -> Iterator[list[str]]:
    """How to ask for a copy: a command that its arguments follow."""
    path = str(folder / "standby")
    with (folder / "stderr").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", _standby, path], stderr=log)
    try:
        yield [sys.executable, "-I", "-S", str(Path(__file__).parent / "ask.py"), path]
    finally:
        process.kill()
        process.wait()


@contextmanager
def _emulated(
    folder: Path, rtt_ms: float, site_mbit: float, asking: list[str]
) -> Iterator[chaos.World]:
    control = folder / "control"
    line = [sys.executable, "-m", "isthmus.wan", "--sites", str(len(NAMES))]
    line += ["--rtt-ms", f"{rtt_ms:g}", "--site-mbit", f"{site_mbit:g}", "--timeout", "1e5"]
    line += ["--control", str(control), "--restart", str(folder / ENDS), "--"]
    site = 'folder=$1 port=$2; shift 2; exec "$@" "$folder" "$WAN_SITE" "$WAN_ADDRS" "$port"'
    line += ["sh", "-c", site, "sh", str(folder), str(PORT)]
    line += asking or [sys.executable, "-m", _program]
    with (folder / "stderr").open("ab") as log:
        network = subprocess.Popen(line, stderr=log)
        try:
            world = chaos.Emulated(control, NAMES)
            yield world
            world.close()
        finally:
            network.terminate()
            network.wait()


@contextmanager
def on_loopback(folder: Path) -> Iterator[chaos.World]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "stderr").open("wb") as log:
        keeper = Restarter(folder, port, log.fileno())
        try:
            yield chaos.Loopback(keeper.pids)
        finally:
            keeper.close()


class Restarter:
    """pids: of those that run, by site."""

    def __init__(self, folder: Path, port: int, log: int) -> None:
        self._folder = folder
        self._port = port
        self._log = log
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self.pids: dict[str, list[int]] = {}
        for number in reversed(range(len(NAMES))):
            self._start(number)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self, number: int) -> None:
        line = [sys.executable, "-m", _program, str(self._folder), str(number)]
        line += [",".join(["127.0.0.1"] * len(NAMES)), str(self._port)]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=self._log)
        self._processes[number] = process
        self.pids[NAMES[number]] = [process.pid]

    def _watch(self) -> None:
        with (self._folder / ENDS).open("w", buffering=1) as ends:
            while not self._closing.wait(0.02):
                for number, process in list(self._processes.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del self._processes[number]
                    status = code if code >= 0 else 128 - code
                    end = {"site": number, "pid": process.pid, "status": status}
                    print(json.dumps(end | {"at": time.monotonic()}), file=ends)
                    self.pids[NAMES[number]] = []
                    if status != 0:
                        self._start(number)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
