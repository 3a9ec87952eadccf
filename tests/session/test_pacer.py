"""The token bucket that holds a site's data back, on a clock of its own."""

import pytest
from isthmus import _core

SECOND = 10**9
FRAME = 256 << 10


def run(pacer: _core.Pacer, begin_ns: int, seconds: float, frame: int = FRAME) -> int:
    """Send whenever it lets, coming back only when it says; returns the bytes."""
    now, sent = begin_ns, 0
    while now < begin_ns + seconds * SECOND:
        if pacer.may_send(now):
            pacer.spend(frame)
            sent += frame
        else:
            assert pacer.ready_ns() > now
            now = pacer.ready_ns()
            assert pacer.may_send(now), "it said so"
    return sent


@pytest.mark.parametrize("mbit", [10, 200, 1000, 10_000, 100_000])
def test_no_more_leaves_than_the_uplink_carries_and_hardly_less(mbit: float) -> None:
    carried = mbit * 1e6 / 8
    burst = max(FRAME, 0.01 * carried)
    sent = run(_core.Pacer(carried), 7 * SECOND, 2.0)
    assert 0.99 * 2 * carried - FRAME <= sent <= 1.01 * 2 * carried + burst + FRAME


def test_a_pause_earns_one_burst_and_no_more() -> None:
    pacer = _core.Pacer(125e6)
    run(pacer, 0, 1.0)
    after_a_pause = run(pacer, 3600 * SECOND, 0.1)
    assert after_a_pause <= 0.1 * 125e6 + 0.01 * 125e6 + FRAME


def test_where_the_uplink_is_not_known_nothing_is_held_back() -> None:
    pacer = _core.Pacer(0)
    for _ in range(1000):
        assert pacer.may_send(5)
        pacer.spend(1 << 30)
