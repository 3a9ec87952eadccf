"""The fixture of the tests that run the emulator."""

from pathlib import Path

import pytest
from emulated import Wan


@pytest.fixture
def wan(tmp_path: Path) -> Wan:
    return Wan(folder=tmp_path)
