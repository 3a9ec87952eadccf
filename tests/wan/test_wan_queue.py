"""The emulator's queues and losses, without a network."""

from isthmus import _core

MS = 1_000_000


def departures(rate_bps: float, depth_ns: int, *packets: tuple[int, int]) -> list[int | None]:
    times, sizes = [time for time, _ in packets], [size for _, size in packets]
    return _core.wan_departures(rate_bps=rate_bps, depth_ns=depth_ns, times_ns=times, sizes=sizes)


def test_packet_takes_its_bits_over_the_rate() -> None:
    assert departures(8e6, 10 * MS, (5, 1000)) == [5 + 1 * MS]


def test_packets_leave_one_after_the_other() -> None:
    assert departures(8e6, 10 * MS, (0, 1000), (0, 2000), (1, 1000)) == [1 * MS, 3 * MS, 4 * MS]


def test_idle_line_starts_at_once() -> None:
    assert departures(8e6, 10 * MS, (0, 1000), (50 * MS, 1000)) == [1 * MS, 51 * MS]


def test_packet_that_would_wait_longer_than_the_depth_is_dropped() -> None:
    # Three waits fit: of 0, 1 and 2 ms. The dropped one takes no room from the last.
    packets = ((0, 1000), (0, 1000), (0, 1000), (0, 1000), (1 * MS, 1000))
    assert departures(8e6, 2 * MS, *packets) == [1 * MS, 2 * MS, 3 * MS, None, 4 * MS]


def test_no_rate_is_no_limit() -> None:
    assert departures(0.0, 0, *[(7, 65535)] * 100) == [7] * 100


def test_rate_holds_over_many_small_packets() -> None:
    last = departures(1e9, 10_000 * MS, *[(0, 52)] * 10_000)[-1]
    assert last is not None
    assert abs(last - 52 * 8 * 10_000) <= 10_000  # a nanosecond each, by rounding


def lost(loss: float, *, packets: int, segments: int, seed: int = 1) -> list[int]:
    return _core.wan_lost(loss=loss, seed=seed, packets=packets, segments=segments)


def test_loss_strikes_as_often_as_asked() -> None:
    hits = len(lost(0.02, packets=10_000, segments=10))
    assert abs(hits - 2000) < 6 * (100_000 * 0.02 * 0.98) ** 0.5  # six standard deviations


def test_loss_does_not_depend_on_how_segments_are_packed() -> None:
    whole = lost(0.01, packets=1, segments=45_000)
    assert whole
    assert whole == lost(0.01, packets=1000, segments=45)
    assert whole == lost(0.01, packets=45_000, segments=1)


def test_no_loss_and_all_loss_are_exact() -> None:
    assert lost(0.0, packets=1000, segments=50) == []
    assert lost(1.0, packets=3, segments=2) == [0, 1, 2, 3, 4, 5]


def test_another_seed_strikes_elsewhere() -> None:
    strikes = [lost(0.01, packets=1, segments=100_000, seed=seed) for seed in (1, 1, 2)]
    assert strikes[0] == strikes[1] != strikes[2]
