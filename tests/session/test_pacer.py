"""The token buckets that hold a site's data back, on a clock of their own."""

import pytest
from isthmus import _core

SECOND = 10**9
FRAME = 256 << 10


def run(pacer: _core.Pacer, begin_ns: int, seconds: float, peers: list[int]) -> dict[int, int]:
    """Send whenever it lets, beginning behind who sent last, and come back only when it says;
    returns bytes by peer."""
    now, sent, turn = begin_ns, dict.fromkeys(peers, 0), list(peers)
    while now < begin_ns + seconds * SECOND:
        ready = [pacer.ready_ns(peer, now) for peer in turn]
        if now in ready:
            peer = turn[ready.index(now)]
            pacer.spend(peer, FRAME)
            sent[peer] += FRAME
            turn = [*turn[turn.index(peer) + 1 :], *turn[: turn.index(peer) + 1]]
        else:
            now = min(ready)
            assert now in [pacer.ready_ns(peer, now) for peer in peers], "it said so"
    return sent


@pytest.mark.parametrize("mbit", [10, 200, 1000, 10_000, 100_000])
def test_no_more_leaves_than_the_uplink_carries_and_hardly_less(mbit: float) -> None:
    carried = mbit * 1e6 / 8
    burst = max(FRAME, 0.01 * carried)
    sent = sum(run(_core.Pacer(carried, []), 7 * SECOND, 2.0, [0, 1]).values())
    assert 0.99 * 2 * carried - FRAME <= sent <= 1.01 * 2 * carried + burst + FRAME


def test_a_pause_earns_one_burst_and_no_more() -> None:
    pacer = _core.Pacer(125e6, [])
    run(pacer, 0, 1.0, [0])
    after_a_pause = run(pacer, 3600 * SECOND, 0.1, [0])[0]
    assert after_a_pause <= 0.1 * 125e6 + 0.01 * 125e6 + FRAME


def test_where_the_uplink_is_not_known_nothing_is_held_back() -> None:
    pacer = _core.Pacer(0, [])
    for _ in range(1000):
        assert pacer.ready_ns(0, 5) == 5
        pacer.spend(0, 1 << 30)


def test_a_narrow_pair_gets_its_own_pace_and_the_others_what_the_uplink_leaves() -> None:
    sent = run(_core.Pacer(100e6, [0, 10e6, 0]), 0, 4.0, [0, 1, 2])
    assert sent[1] == pytest.approx(40e6, rel=0.05)
    assert sum(sent.values()) == pytest.approx(400e6, rel=0.02)
    assert sent[0] == pytest.approx(sent[2], rel=0.05)


def test_a_peer_may_be_paced_where_the_whole_is_not() -> None:
    pacer = _core.Pacer(0, [0, 10e6])
    assert run(pacer, 0, 1.0, [1])[1] == pytest.approx(10e6, rel=0.1)
    pacer.spend(0, 1 << 30)
    assert pacer.ready_ns(0, SECOND) == SECOND


def test_what_only_the_pace_of_all_counts_for_waits_for_no_peer() -> None:
    """Broadcasts, say: a peer's downlink is not shared then."""
    nobody = -1
    pacer = _core.Pacer(100e6, [1e6, 1e6])
    assert run(pacer, 0, 1.0, [nobody])[nobody] == pytest.approx(100e6, rel=0.02)
