"""Real processes and kernel TCP, whose buffers are too small for the path."""

from pathlib import Path

import pytest
from emulated import Wan

pytestmark = pytest.mark.wan

PROGRAM = Path(__file__).with_name("streams_program.py")


def test_links_get_more_streams_where_buffers_are_small(wan: Wan) -> None:
    # Two streams of 256 KiB carry a quarter of it.
    path = ("--rtt-ms", "50", "--site-mbit", "200", "--tcp-buffer-kib", "256")
    outcome = wan.run(*path, run=[wan.python, str(PROGRAM)])
    assert outcome.status == 0 and len(outcome.told) == 2, outcome.errors
    assert outcome.told[0]["streams"] == outcome.told[1]["streams"]
    assert outcome.told[0]["streams"][0] > 2
    assert all(told["right"] for told in outcome.told.values())
