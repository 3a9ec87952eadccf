"""The processes of a run: found by where they live or whose they are, and ended.

Process groups would not do: launchers such as torchrun give their workers sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

RUN_VARIABLE = "WAN_RUN"  # in every command's environment: whose it is
PATIENCE_S = 3.0
POLL_S = 0.02


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def inside(namespaces: Collection[int]) -> list[int]:
    """Processes that live in one of these network namespaces, given by inode."""
    wanted = {f"net:[{inode}]" for inode in namespaces}
    return [pid for pid in pids() if read_link(f"/proc/{pid}/ns/net") in wanted]


def read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it ended, or is none of ours
        return ""


def start_ticks(pid: int) -> str:
    """When a process started; with its id that names it for good. Empty if it does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def run_name() -> str:
    """This process, as a name that none before and none after it has."""
    return f"{read_link('/proc/self/ns/pid')}/{os.getpid()}/{start_ticks(os.getpid())}"


def of_dead_runs() -> list[int]:
    """Processes whose run's own process was killed before it could end them."""
    found = []
    for pid in pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mark = f"{RUN_VARIABLE}=".encode()
        names = [entry[len(mark) :] for entry in environment if entry.startswith(mark)]
        if names and is_dead(os.fsdecode(names[0])):
            found.append(pid)
    return found


def is_dead(name: str) -> bool:
    """Whether a run is over; never for one in another container, whose process we cannot see."""
    parts = name.split("/")
    if len(parts) != 3 or not parts[1].isdigit() or parts[0] != read_link("/proc/self/ns/pid"):
        return False
    return start_ticks(int(parts[1])) != parts[2]


def end(find: Callable[[], list[int]], *, reap: Callable[[], None] = lambda: None) -> None:
    """End all that `find` finds: ask first, then insist. `reap` collects children of ours."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE_S
        asked: set[int] = set()
        while time.monotonic() < deadline:
            reap()
            left = set(find()) - {os.getpid()}
            if not left:
                return
            # Parents first, as a rule: a shell whose child ended would go on to its next command.
            for pid in sorted(left - asked):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signum)
            asked |= left
            time.sleep(POLL_S)
