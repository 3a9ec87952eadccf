"""A short soak with real processes, from its command to its verdicts."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from isthmus.bench.rows import Soak, read

LINE = [sys.executable, "-m", "isthmus.cli", "bench", "chaos", "--loopback", "--references", "0"]


@pytest.mark.slow
def test_sites_that_are_killed_on_loopback_come_back_and_break_nothing(
    tmp_path: Path,
) -> None:
    line = [*LINE, "--minutes", ".4", "--every", "8", "--calm", "2", "--compute", ".1"]
    line += ["--faults", "kill", "--seed", "0", "--keep", "--out", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (entry,) = read(tmp_path / "chaos.jsonl")
    row = entry.row
    assert isinstance(row, Soak)
    assert row.broken in ((), [], ["tokens"])
    assert row.faults == {"kill": 3} and row.lives > 4 and row.epochs > 0

    folder = Path(done.stdout.splitlines()[0].rpartition(": ")[2])
    try:
        line = [*LINE, "--records", str(folder), "--seed", "7", "--out", str(tmp_path / "again")]
        again = subprocess.run(line, capture_output=True, text=True, timeout=60)
        assert again.returncode == 0, again.stdout + again.stderr
        (judged,) = read(tmp_path / "again" / "chaos.jsonl")
        assert judged.row == row
        assert judged.origin.command == entry.origin.command
    finally:
        shutil.rmtree(folder)


def processes_of(folder: str) -> int:
    """That have it in their command line."""
    count = 0
    for said in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            count += folder.encode() in said.read_bytes()
    return count


def test_a_soak_that_is_ended_leaves_no_process(tmp_path: Path) -> None:
    line = [*LINE, "--minutes", "1", "--out", str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = process.stdout.readline().rpartition(": ")[2].strip()
        try:
            end = time.monotonic() + 60
            while processes_of(folder) < 5 and time.monotonic() < end:
                time.sleep(0.1)
            begun = processes_of(folder)
        finally:
            process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    end = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.1)
    left = processes_of(folder)
    shutil.rmtree(folder, ignore_errors=True)
    assert begun >= 5
    assert left == 0


def test_a_folder_without_a_whole_soak_is_refused(tmp_path: Path) -> None:
    line = [*LINE, "--records", str(tmp_path), "--out", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "no records of a whole soak" in done.stderr
    assert "Traceback" not in done.stderr
