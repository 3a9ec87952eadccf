"""Real processes and kernel TCP, whose buffers or congestion windows are too small for the path."""

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


def test_a_congestion_window_is_known_unless_it_follows_a_model(wan: Wan) -> None:
    def window(congestion: str) -> int:
        path = ("--rtt-ms", "10", "--site-mbit", "200", "--loss", ".03")
        outcome = wan.run(*path, run=[wan.python, str(PROGRAM), congestion])
        assert outcome.status == 0 and len(outcome.told) == 2, outcome.errors
        return max(outcome.told[0]["windows"])

    known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    if not {"reno", "bbr"} <= set(known):
        pytest.skip("this kernel lacks reno or BBR")
    assert 0 < window("reno") < 100 * 2 * 1448  # of 2.5 MB/s over 10 ms, less by the loss
    assert window("bbr") == 0
