"""What all tests share: tests that need the WAN emulator are skipped aloud where it cannot run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wan = [item for item in items if item.get_closest_marker("wan")]
    if not wan:
        return
    from isthmus.wan import why_not

    reason = why_not()
    if reason:
        for item in wan:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def run_interpreted() -> Callable[..., None]:
    """Runs a program with Triton's interpreter as its device: it counts when triton is imported,
    and the tests' own process compiles kernels.
    """
    pytest.importorskip("triton")

    def run(program: Path, *arguments: str | Path) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths}
        subprocess.run([sys.executable, program, *arguments], env=environment, check=True)

    return run


# A suite started in the background inherits an ignored SIGINT, and would hand it to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
