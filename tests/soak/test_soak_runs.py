"""A short soak with real processes, from its command to its verdicts."""

import subprocess
import sys
from pathlib import Path

import pytest
from isthmus.bench.rows import Soak, read

LINE = [sys.executable, "-m", "isthmus.cli", "bench", "chaos", "--loopback", "--references", "0"]


@pytest.mark.slow
def test_sites_that_are_killed_on_loopback_come_back_and_break_nothing(
    tmp_path: Path,
) -> None:
    line = [*LINE, "--minutes", ".4", "--every", "8", "--calm", "2", "--compute", ".1"]
    line += ["--faults", "kill", "--seed", "0", "--out", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [entry.row for entry in read(tmp_path / "chaos.jsonl")]
    assert isinstance(row, Soak)
    assert row.broken in ((), [], ["tokens"])
    assert row.faults == {"kill": 3} and row.lives > 4 and row.epochs > 0
