"""SimNet in good weather: time, rates, delays, windows, order, and that a seed is a run."""

from collections.abc import Callable

import pytest
from isthmus._core import SimActor, SimNet
from isthmus.errors import PeerLost, Refused
from site_programs import ADDRESS, MS, NEVER, SECOND, Pair, Receiver, Sender, pattern

MEGABYTE = pattern(1_000_000)


def trace(seed: int, **options: object) -> tuple[int, int]:
    pair = Pair(MEGABYTE, seed=seed, jitter_ns=5 * MS, loss=0.05, up_bits_per_s=10**8, **options)
    assert pair.run() == "reached"
    return pair.net.trace_hash(), pair.net.now_ns


def test_same_seed_same_run() -> None:
    assert trace(7) == trace(7)


def test_other_seeds_are_other_runs() -> None:
    assert len({trace(seed) for seed in range(10)}) == 10


def test_other_bytes_are_another_trace() -> None:
    hashes = set()
    for data in (b"a" * 1000, b"a" * 999 + b"b"):
        pair = Pair(data, torn=False)
        pair.run()
        hashes.add(pair.net.trace_hash())
    assert len(hashes) == 2


# A connection stands for its dialler after one round trip: 20 ms. 1 MB at 8 Mbit/s takes one
# second, and the last byte 10 ms more.
@pytest.mark.parametrize(
    ("up", "down", "last_ns"),
    [
        (0, 0, 30 * MS),
        (8_000_000, 0, 1030 * MS),
        (0, 4_000_000, 2030 * MS),
        (8_000_000, 8_000_000, 1030 * MS),
        (8_000_000, 4_000_000, 2030 * MS),
        (4_000_000, 8_000_000, 2030 * MS),
    ],
)
def test_transfer_takes_bytes_by_the_slower_rate_and_the_delays(
    up: int, down: int, last_ns: int
) -> None:
    pair = Pair(MEGABYTE, torn=False, up_bits_per_s=up, down_bits_per_s=down)
    assert pair.run() == "reached"
    assert pair.receiver.last_ns == [last_ns]
    assert pair.heard == MEGABYTE


def share(sites: int, senders: list[int], receivers: list[int], **options: object) -> list[int]:
    """When the last byte of each came; every sender sends 500 kB to the receiver beside it."""
    net = SimNet(sites=sites, torn=False, **options)
    listening = {r: Receiver(net, r, f"site{r}:7000") for r in set(receivers)}
    programs = list(listening.values())
    for r, receiver in listening.items():
        net.add(r, receiver)
    for s, r in zip(senders, receivers, strict=True):
        sender = Sender(net, s, f"site{r}:7000", MEGABYTE[:500_000])
        programs.append(sender)
        net.add(s, sender)
    ended: Callable[[], bool] = lambda: all(  # noqa: E731
        p.all_ended(receivers.count(r)) for r, p in listening.items()
    )
    assert net.run_until(ended, 100 * SECOND) == "reached"
    return [t for p in listening.values() for t in p.last_ns]


# The first may take two turns before the second comes: two segments at 8 Mbit/s.
TWO_SEGMENTS_NS = 2 * 65_536 * 1000


def test_streams_share_their_sites_uplink_in_turns() -> None:
    first, last = sorted(share(3, [0, 0], [1, 2], up_bits_per_s=8_000_000))
    assert last == 1030 * MS
    assert last - first <= TWO_SEGMENTS_NS


def test_streams_share_their_sites_downlink_in_turns() -> None:
    first, last = sorted(share(3, [0, 1], [2, 2], down_bits_per_s=8_000_000))
    assert last == 1030 * MS
    assert last - first <= TWO_SEGMENTS_NS


def test_other_sites_links_are_their_own() -> None:
    assert share(4, [0, 1], [2, 3], up_bits_per_s=8_000_000) == [530 * MS, 530 * MS]


def test_paths_and_rates_can_differ() -> None:
    pair = Pair(MEGABYTE, torn=False, up_bits_per_s=10**9)
    pair.net.set_path(0, 1, 50 * MS, 0, 0.0)
    pair.net.set_rates(0, 16_000_000, 0)
    assert pair.run() == "reached"
    # The first packet of the connection had left already, and took 10 ms.
    assert pair.receiver.last_ns == [(10 + 50 + 500 + 50) * MS]


def test_window_bounds_the_rate_to_itself_per_round_trip() -> None:
    pair = Pair(MEGABYTE, torn=False, window_bytes=100_000)
    assert pair.run() == "reached"
    # Ten windows: the first lands at 30 ms, and each next one a round trip later.
    assert pair.receiver.last_ns == [30 * MS + 9 * 20 * MS]


def test_writer_stands_still_when_nobody_reads() -> None:
    pair = Pair(MEGABYTE, reads=False, window_bytes=300_000)
    assert pair.run(until=lambda: False) == "stuck"
    assert len(pair.sender.left) == 700_000
    assert not pair.sender.stream.can_write()


def test_writer_goes_on_when_the_reader_does() -> None:
    pair = Pair(MEGABYTE, reads=False, window_bytes=300_000)
    pair.run(until=lambda: False)
    pair.receiver.reads = True
    pair.receiver.step(pair.net.now_ns)
    assert pair.run() == "reached"
    assert pair.heard == MEGABYTE


@pytest.mark.parametrize("seed", range(30))
def test_bytes_arrive_in_order_through_jitter_and_loss(seed: int) -> None:
    data = pattern(300_000, seed)
    pair = Pair(data, seed=seed, jitter_ns=30 * MS, loss=0.2, window_bytes=1 << 17)
    assert pair.run() == "reached"
    assert pair.heard == data
    assert "was closed" in pair.error


def test_loss_costs_a_round_trip_and_is_counted() -> None:
    clean = Pair(b"x" * 1000, torn=False)
    lossy = Pair(b"x" * 1000, torn=False, loss=1.0)
    assert clean.run() == lossy.run() == "reached"
    assert clean.sender.stream.retransmits() == 0
    lost = lossy.sender.stream.retransmits()
    assert lost > 0
    assert lossy.receiver.last_ns[0] >= clean.receiver.last_ns[0] + lost * 20 * MS


def test_reads_and_writes_are_torn_unless_asked_not_to() -> None:
    whole, torn = Pair(MEGABYTE, torn=False), Pair(MEGABYTE)
    assert whole.run() == torn.run() == "reached"
    assert len(whole.receiver.steps) < 10 < len(torn.receiver.steps)


def test_connecting_takes_a_round_trip() -> None:
    pair = Pair(b"", ends=False)
    assert pair.run(until=lambda: pair.sender.connected_ns >= 0) == "reached"
    assert pair.sender.connected_ns == 20 * MS


def test_nobody_listening_refuses_after_a_round_trip() -> None:
    net = SimNet()
    sender = Sender(net, 0, ADDRESS, b"hello")
    net.add(0, sender)
    assert net.run_until(lambda: bool(sender.write_error), SECOND) == "reached"
    assert sender.error_ns == 20 * MS
    assert sender.write_error == sender.read_error or sender.read_error == ""
    assert sender.write_error == "PeerLost: cannot connect to site1:7000: connection refused"


@pytest.mark.parametrize(("refuse", "error_ns"), [(True, 20 * MS), (False, 127 * SECOND)])
def test_site_behind_nat_cannot_be_dialled(refuse: bool, error_ns: int) -> None:
    pair = Pair(b"hello")
    pair.net.set_not_dialable(1, refuse)
    assert pair.run(until=lambda: bool(pair.sender.write_error)) == "reached"
    assert pair.sender.error_ns == error_ns
    assert "cannot connect to site1:7000" in pair.sender.write_error


def test_site_behind_nat_can_dial() -> None:
    pair = Pair(b"hello")
    pair.net.set_not_dialable(0, True)
    assert pair.run() == "reached"
    assert pair.heard == b"hello"


def test_ports_are_given_and_taken_once() -> None:
    net = SimNet()
    first, second = net.listen(1, "0.0.0.0:0"), net.listen(1, "site1:0")
    assert first.address().startswith("site1:")
    assert first.address() != second.address()
    with pytest.raises(Refused, match="in use"):
        net.listen(1, first.address())
    address = first.address()
    del first
    assert net.listen(1, address).address() == address


@pytest.mark.parametrize("address", ["", "site1", "site1:", "site1:x", "site1:70000", "site9:1"])
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(Refused):
        SimNet().connect(0, address)


def test_peers_see_each_others_addresses() -> None:
    pair = Pair(b"x")
    pair.run()
    assert pair.sender.stream.peer_address() == "site1:7000"
    assert pair.receiver.streams[0].peer_address().startswith("site0:")


def test_each_side_ends_on_its_own() -> None:
    pair = Pair(b"question", torn=False)
    pair.receiver.greeting = pattern(100_000)
    assert pair.run(until=lambda: len(pair.sender.heard) == 100_000) == "reached"
    assert pair.sender.heard == pair.receiver.greeting
    assert pair.sender.read_error == ""
    pair.receiver.streams.clear()
    assert pair.run(until=lambda: bool(pair.sender.read_error)) == "reached"
    assert "was closed" in pair.sender.read_error


def test_writes_arrive_whole_though_the_stream_is_dropped_after_them() -> None:
    pair = Pair(MEGABYTE, ends=False, up_bits_per_s=8_000_000)
    assert pair.run(until=lambda: not pair.sender.left) == "reached"
    pair.sender.stream = None
    assert pair.run() == "reached"
    assert pair.heard == MEGABYTE
    assert pair.net.now_ns > SECOND


def test_writing_to_a_closed_stream_fails() -> None:
    pair = Pair(b"x", ends=False)
    assert pair.run(until=lambda: len(pair.receiver.streams) == 1) == "reached"
    pair.receiver.streams.clear()
    pair.sender.left = b"y"
    assert pair.run(until=lambda: bool(pair.sender.read_error)) == "reached"
    assert pair.run(until=lambda: False) == "stuck"
    with pytest.raises(PeerLost, match="reset"):
        pair.sender.stream.write(b"z")


class Clockwork(SimActor):
    """Comes back after each of `waits`."""

    def __init__(self, waits: list[int]) -> None:
        super().__init__()
        self.waits = waits
        self.times: list[int] = []

    def step(self, now_ns: int) -> int:
        self.times.append(now_ns)
        count = len(self.times)
        return now_ns + self.waits[count - 1] if count <= len(self.waits) else NEVER


def test_deadlines_are_kept_to_the_nanosecond() -> None:
    net, clockwork = SimNet(), Clockwork([5, 17, 3 * SECOND])
    net.add(0, clockwork)
    assert net.run_until(lambda: False, NEVER) == "stuck"
    assert clockwork.times == [0, 5, 22, 3 * SECOND + 22]


def test_limit_of_time_is_kept_and_the_run_goes_on_after_it() -> None:
    net, clockwork = SimNet(), Clockwork([2 * SECOND])
    net.add(0, clockwork)
    assert net.run_until(lambda: False, SECOND) == "out_of_time"
    assert net.now_ns == SECOND
    assert net.run_until(lambda: len(clockwork.times) == 2, 9 * SECOND) == "reached"
    assert net.now_ns == 2 * SECOND


def test_actors_that_never_let_time_pass_are_a_livelock() -> None:
    net, clockwork = SimNet(steps_at_one_instant=1000), Clockwork([0] * 2000)
    net.add(0, clockwork)
    assert net.run_until(lambda: False, SECOND) == "livelock"
    assert net.now_ns == 0


def test_empty_world_is_stuck() -> None:
    assert SimNet().run_until(lambda: False, SECOND) == "stuck"


def test_calls_happen_at_their_time() -> None:
    net = SimNet()
    times: list[int] = []
    net.at(2 * SECOND, lambda: times.append(net.now_ns))
    net.at(SECOND, lambda: times.append(net.now_ns))
    net.run_until(lambda: False, NEVER)
    assert times == [SECOND, 2 * SECOND]


def test_log_keeps_the_last_events() -> None:
    pair = Pair(b"x" * 1000, log_events=5)
    pair.run()
    log = pair.net.log()
    assert len(log) == 5
    assert any("deliver" in line or "end" in line for line in log)
