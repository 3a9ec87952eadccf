"""The whole demo with a tiny model on loopback, and how it ends when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from isthmus.demo import topology

TINY = ["--loopback", "--size=tiny", "--rows=2", "--shard-bytes=30000"]
DEMO = [sys.executable, "-m", "isthmus.cli", "demo", *TINY]


def ours(marker: Path) -> list[int]:
    """Processes that name the folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(marker) in line:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_all_sites_end_with_identical_parameters_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [*DEMO, f"--out={out}", "--steps=4"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("isthmus", "gloo"):
        held = json.loads((out / name / "parameters.json").read_text())
        assert {k: len(v) for k, v in held.items()} == {s.name: s.ranks for s in topology.SITES}
        assert len({digest for ranks in held.values() for digest in ranks}) == 1
    assert done.stdout.count("all sites hold identical parameters") == 2
    assert "as many tokens/s as plain gloo DDP" in done.stdout
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    last = [
        [json.loads(line)["loss"] for line in (out / name / "aws-0.jsonl").read_text().splitlines()]
        for name in ("isthmus", "gloo")
    ]
    assert last[0] == pytest.approx(last[1], rel=1e-4)


@pytest.mark.slow
def test_a_sites_error_is_shown_and_ends_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [*DEMO, f"--out={out}", "--steps=2", "--codec=nonsense"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert ours(out) == []


@pytest.mark.slow
def test_after_ctrl_c_no_process_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    demo = subprocess.Popen(
        [*DEMO, f"--out={out}", "--steps=100000", "--plain-steps=0"], stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 200
        while time.monotonic() < end and not list(out.glob("isthmus/aws-0.jsonl")):
            assert demo.poll() is None
            time.sleep(0.2)
        demo.send_signal(signal.SIGINT)
        _, error = demo.communicate(timeout=60)
        assert demo.returncode == 130
        assert b"stopped" in error
        assert ours(out) == []
    finally:
        demo.kill()
        demo.wait()
        for process in ours(out):
            os.kill(process, signal.SIGKILL)
