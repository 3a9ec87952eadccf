"""Copies of a process that is ready: who asks for one ends as it ends, and takes it along."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from isthmus.soak import ask

PROGRAM = """
import os, sys, time
from isthmus.soak import standby

def run(asked):
    print("copy", os.getpid(), asked.asker, *asked.arguments, file=sys.stderr, flush=True)
    time.sleep(float(asked.arguments[1]))
    return int(asked.arguments[0])

standby.hold(sys.argv[1], run)
"""
STAYS = "600"


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "standby"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)])
    yield path
    process.kill()
    process.wait()


def asking(standby: Path, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-I", "-S", ask.__file__, str(standby), *arguments]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True)


def words(asker: subprocess.Popen[str]) -> list[str]:
    assert asker.stderr is not None
    return asker.stderr.readline().split()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_copy_does_what_was_asked_and_its_asker_ends_with_its_status(standby: Path) -> None:
    askers = [asking(standby, status, "0") for status in ("0", "70", "1")]
    for asker, status in zip(askers, (0, 70, 1), strict=True):
        assert words(asker)[2:4] == [str(asker.pid), str(status)]
        assert asker.wait(60) == status


def test_who_asked_is_killed_with_its_copy(standby: Path) -> None:
    asker = asking(standby, "0", STAYS)
    copy = int(words(asker)[1])
    assert lives(copy)
    asker.kill()
    end = time.monotonic() + 60
    while lives(copy) and time.monotonic() < end:
        time.sleep(0.01)
    assert not lives(copy)


def test_a_copy_that_is_killed_ends_its_asker_as_a_shell_says_it(standby: Path) -> None:
    asker = asking(standby, "0", STAYS)
    os.kill(int(words(asker)[1]), signal.SIGKILL)
    assert asker.wait(60) == 128 + signal.SIGKILL


def test_who_asks_for_nothing_keeps_nobody_from_a_copy(standby: Path) -> None:
    first = asking(standby, "0", "0")
    assert first.wait(60) == 0
    for said in (b"", b"no descriptors"):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(standby))
            if said:
                caller.sendall(said)
    assert asking(standby, "3", "0").wait(60) == 3
