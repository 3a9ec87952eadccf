"""What a wheel must do where there is only NumPy; run away from the tree, with that Python.

Not collected by pytest; .ci/run runs it. Two sites in two threads sum an array over loopback.
"""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import isthmus
import numpy as np


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sum_at(site: str, rendezvous: str, sums: dict[str, np.ndarray]) -> None:
    """Join as `site`; site "a" holds the coordinator."""
    session = isthmus.join(
        rendezvous=rendezvous,
        site=site,
        sites=2,
        serve=site == "a",
        listen="127.0.0.1:0",
        timeout=30.0,
    )
    with contextlib.closing(session):
        x = np.arange(100_003, dtype=np.float32) * (session.rank + 1)
        session.all_reduce(x, op="sum").wait(timeout=30.0)
        sums[site] = x


def check_sum() -> None:
    rendezvous = f"127.0.0.1:{free_port()}"
    sums: dict[str, np.ndarray] = {}
    threads = [
        threading.Thread(target=sum_at, args=(site, rendezvous, sums), daemon=True)
        for site in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    expected = np.arange(100_003, dtype=np.float32) * 3
    for site in ("a", "b"):
        assert site in sums, f"site {site} did not finish"
        np.testing.assert_array_equal(sums[site], expected)


def check_bench(command: Path) -> None:
    """The benches are in the wheel: what needs NumPy alone runs, what needs torch says so."""
    said = {"capture_output": True, "text": True}
    listed = subprocess.run([command, "bench", "--help"], check=True, **said)
    assert "exchange" in listed.stdout, listed.stdout
    with tempfile.TemporaryDirectory() as folder:
        small = ["codecs", "--codecs", "f32", "--elements", "4096", "--repeats", "1"]
        for arguments in (small, ["report"]):
            subprocess.run([command, "bench", *arguments, "--out", folder], check=True)
        assert (Path(folder) / "report.html").stat().st_size > 0
    refused = subprocess.run([command, "bench", "exchange"], check=False, **said)
    assert refused.returncode == 1 and "isthmus[bench]" in refused.stderr, refused


def main() -> None:
    home = str(isthmus.__file__)
    assert "site-packages" in home, f"{home} is not the wheel's: run this away from the tree"
    for absent in ("torch", "triton", "transformers"):
        assert importlib.util.find_spec(absent) is None, f"{absent} is here; use a bare environment"
    command = Path(sys.executable).with_name("isthmus")
    said = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    assert isthmus.__version__ in said.stdout, said.stdout
    check_bench(command)
    check_sum()
    print(f"wheel: isthmus {isthmus.__version__} imports, runs and sums with NumPy alone")


if __name__ == "__main__":
    main()
