"""SimNet in bad weather: what a fault does to the bytes and their readers, and to nobody else."""

import pytest
from isthmus._core import SimActor, SimNet, frame_header, parse_frame_header
from isthmus.errors import Refused, WireError
from site_programs import ADDRESS, MS, NEVER, SECOND, Pair, Receiver, Sender, pattern

MEGABYTE = pattern(1_000_000)
SEEDS = range(20)


def slow_pair(**options: object) -> Pair:
    """1 MB at 8 Mbit/s: it flows from 20 ms to 1030 ms."""
    return Pair(MEGABYTE, up_bits_per_s=8_000_000, **options)


def prefix(pair: Pair) -> bool:
    return MEGABYTE.startswith(pair.heard)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_site_is_heard_in_part_and_then_reset(seed: int) -> None:
    pair = slow_pair(seed=seed, ends=False)
    pair.net.at(500 * MS, lambda: pair.net.kill(0))
    assert pair.run() == "reached"
    assert "PeerLost" in pair.error and "reset" in pair.error
    assert prefix(pair)
    assert len(pair.heard) < 1_000_000
    assert max(pair.sender.steps) <= 500 * MS


def test_killed_sites_lose_tails_of_different_lengths() -> None:
    lengths = set()
    for seed in SEEDS:
        pair = slow_pair(seed=seed, ends=False)
        pair.net.at(500 * MS, lambda pair=pair: pair.net.kill(0))
        pair.run()
        lengths.add(len(pair.heard))
    assert len(lengths) > len(SEEDS) // 2


def test_killed_receiver_breaks_its_writers_after_the_delay() -> None:
    pair = slow_pair(window_bytes=1 << 16)
    pair.net.at(500 * MS, lambda: pair.net.kill(1))
    assert pair.run(until=lambda: bool(pair.sender.write_error)) == "reached"
    assert pair.net.now_ns == 510 * MS
    assert "reset" in pair.sender.write_error


def test_killed_site_refuses_until_it_is_revived() -> None:
    pair = Pair(b"")
    pair.net.kill(1)
    assert pair.run(until=lambda: bool(pair.sender.read_error)) == "reached"
    assert "refused" in pair.sender.read_error
    pair.net.revive(1)
    successor = Receiver(pair.net, 1, ADDRESS)
    pair.net.add(1, successor)
    caller = Sender(pair.net, 0, ADDRESS, b"again")
    pair.net.add(0, caller)
    dead_steps = len(pair.receiver.steps)
    assert pair.net.run_until(successor.all_ended, 9 * SECOND) == "reached"
    assert successor.heard == [b"again"]
    assert len(pair.receiver.steps) == dead_steps


def test_frozen_site_stands_still_while_its_kernel_takes_bytes() -> None:
    pair = slow_pair()
    pair.net.at(100 * MS, lambda: pair.net.freeze(1, 2 * SECOND))
    assert pair.run() == "reached"
    assert not [t for t in pair.receiver.steps if 100 * MS <= t < 2100 * MS]
    assert pair.receiver.ended_ns[0] < 2101 * MS
    assert pair.heard == MEGABYTE


class Ticker(SimActor):
    def __init__(self, every_ns: int) -> None:
        super().__init__()
        self.every_ns = every_ns
        self.times: list[int] = []

    def step(self, now_ns: int) -> int:
        self.times.append(now_ns)
        return now_ns + self.every_ns


def test_frozen_deadlines_are_late_and_not_lost() -> None:
    net, ticker = SimNet(), Ticker(10 * MS)
    net.add(0, ticker)
    net.at(15 * MS, lambda: net.freeze(0, 100 * MS))
    net.run_until(lambda: False, 130 * MS)
    assert ticker.times == [0, 10 * MS, 115 * MS, 125 * MS]


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_holds_bytes_back_and_loses_none(seed: int) -> None:
    pair = slow_pair(seed=seed, jitter_ns=MS)
    pair.net.at(500 * MS, lambda: pair.net.cut(0, 1, 3 * SECOND))
    assert pair.run() == "reached"
    assert not [t for t in pair.receiver.steps if 502 * MS < t < 3500 * MS]
    assert pair.heard == MEGABYTE


def test_cut_for_ever_says_nothing_to_anybody() -> None:
    pair = slow_pair()
    pair.net.at(500 * MS, lambda: pair.net.cut(0, 1, NEVER))
    assert pair.run() == "stuck"
    assert pair.error == pair.sender.write_error == pair.sender.read_error == ""
    assert 0 < len(pair.heard) < 1_000_000


def test_healed_cut_goes_on_where_it_was() -> None:
    pair = slow_pair()
    pair.net.at(500 * MS, lambda: pair.net.cut(0, 1, NEVER))
    pair.net.at(60 * SECOND, lambda: pair.net.heal(0, 1))
    assert pair.run() == "reached"
    assert pair.heard == MEGABYTE
    assert pair.receiver.ended_ns[0] >= 60 * SECOND


def test_connecting_through_a_cut_waits_for_its_end() -> None:
    pair = Pair(b"hello")
    pair.net.cut(0, 1, NEVER)
    pair.net.at(5 * SECOND, lambda: pair.net.heal(0, 1))
    assert pair.run() == "reached"
    assert 5 * SECOND < pair.sender.connected_ns < 6 * SECOND
    assert pair.heard == b"hello"


def test_connecting_through_an_endless_cut_times_out() -> None:
    pair = Pair(b"hello", connect_timeout_ns=30 * SECOND)
    pair.net.cut(0, 1, NEVER)
    assert pair.run(until=lambda: bool(pair.sender.write_error)) == "reached"
    assert pair.sender.error_ns == 30 * SECOND
    assert "timed out" in pair.sender.write_error


def two_pairs(**options: object) -> tuple[SimNet, list[Receiver]]:
    """Sites 0 and 2 send to site 1, 2 also to 0."""
    net = SimNet(sites=3, up_bits_per_s=8_000_000, **options)
    receivers = [Receiver(net, 1, ADDRESS), Receiver(net, 0, "site0:7000")]
    net.add(1, receivers[0])
    net.add(0, receivers[1])
    for site, address in ((0, ADDRESS), (2, ADDRESS), (2, "site0:7000")):
        sender = Sender(net, site, address, MEGABYTE[:100_000])
        net.add(site, sender)
    return net, receivers


def test_cut_pair_leaves_others_alone() -> None:
    net, (at_one, at_zero) = two_pairs()
    net.at(25 * MS, lambda: net.cut(0, 1, NEVER))
    assert net.run_until(lambda: at_zero.all_ended() and any(at_one.errors), SECOND) == "reached"
    assert net.run_until(lambda: at_one.all_ended(2), 100 * SECOND) != "reached"


def test_cut_site_is_cut_from_all() -> None:
    net, (at_one, at_zero) = two_pairs()
    net.at(40 * MS, lambda: net.cut_off(2, NEVER))
    net.run_until(lambda: False, 10 * SECOND)
    assert sorted(bool(error) for error in at_one.errors) == [False, True]
    assert at_zero.errors == [""]


def test_clog_stalls_one_stream_of_two() -> None:
    pair = slow_pair()
    second = Sender(pair.net, 0, ADDRESS, MEGABYTE[:1000])
    pair.net.add(0, second)
    pair.net.at(35 * MS, lambda: pair.net.clog(0, 1, 5 * SECOND))
    assert pair.run(until=lambda: pair.receiver.all_ended(2)) == "reached"
    early, late = sorted(pair.receiver.ended_ns)
    assert early <= 1200 * MS
    assert late >= 5035 * MS
    assert sorted(map(len, pair.receiver.heard)) == [1000, 1_000_000]


def test_clog_leaves_the_other_direction_alone() -> None:
    pair = Pair(b"question", torn=False)
    pair.receiver.greeting = b"answer"
    pair.net.at(31 * MS, lambda: pair.net.clog(0, 1, NEVER))
    assert pair.run(until=lambda: pair.sender.heard == b"answer") == "reached"


def test_fault_on_a_stream_needs_one() -> None:
    net = SimNet()
    assert not net.clog(0, 1, SECOND)
    assert not net.truncate(0, 1)
    assert not net.corrupt(0, 1, True)


def test_slow_site_takes_as_many_times_as_long() -> None:
    pair = slow_pair(torn=False)
    pair.net.slow(0, 3, NEVER)
    assert pair.run() == "reached"
    # The first packet of the connection had left already.
    assert pair.receiver.last_ns == [(10 + 30 + 3 * 1000 + 30) * MS]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("when_ns", [35 * MS, 500 * MS])
def test_truncated_stream_breaks_in_the_middle_at_both_ends(seed: int, when_ns: int) -> None:
    pair = slow_pair(seed=seed)
    pair.net.at(when_ns, lambda: pair.net.truncate(0, 1))
    assert pair.run() == "reached"
    assert pair.run(until=lambda: bool(pair.sender.read_error)) == "reached"
    assert "reset" in pair.error and "reset" in pair.sender.read_error
    assert prefix(pair)
    assert len(pair.heard) < 1_000_000


def test_idle_stream_is_truncated_in_its_next_bytes() -> None:
    pair = Pair(b"first", ends=False)
    assert pair.run(until=lambda: pair.receiver.heard == [b"first"]) == "reached"
    assert pair.net.truncate(0, 1)
    assert pair.run(until=lambda: False) == "stuck"
    pair.sender.left = MEGABYTE[:1000]
    pair.sender.step(pair.net.now_ns)
    assert pair.run() == "reached"
    assert len(pair.heard) < 1005
    assert (b"first" + MEGABYTE).startswith(pair.heard)


@pytest.mark.parametrize("seed", SEEDS)
def test_corrupted_stream_has_one_other_byte(seed: int) -> None:
    pair = slow_pair(seed=seed)
    pair.net.at(500 * MS, lambda: pair.net.corrupt(0, 1, False))
    assert pair.run() == "reached"
    assert len(pair.heard) == 1_000_000
    assert sum(a != b for a, b in zip(pair.heard, MEGABYTE, strict=True)) == 1


def test_tampering_site_lies_in_every_segment() -> None:
    pair = Pair(b"truth" * 1000)
    pair.net.tamper(0, lambda segment: bytes(len(segment)))
    assert pair.run() == "reached"
    assert pair.heard == bytes(5000)


def test_tampering_may_change_lengths() -> None:
    pair = Pair(b"truth" * 1000, torn=False)
    pair.net.tamper(0, lambda segment: b"lie")
    assert pair.run() == "reached"
    assert pair.heard == b"lie"


ALL_FAULTS = ["kill", "freeze", "cut", "clog", "slow", "truncate", "corrupt"]
PASSING_FAULTS = ["freeze", "cut", "clog", "slow"]


def stormy(seed: int, faults: list[str]) -> tuple[Pair, list[str]]:
    pair = slow_pair(seed=seed, jitter_ns=MS, loss=0.01)
    said = pair.net.storm(
        faults=faults, count=4, from_ns=50 * MS, until_ns=SECOND, longest_ns=2 * SECOND
    )
    return pair, said


@pytest.mark.parametrize("seed", range(40))
def test_storm_that_passes_loses_nothing(seed: int) -> None:
    pair, _ = stormy(seed, PASSING_FAULTS)
    assert pair.run() == "reached"
    assert pair.heard == MEGABYTE


@pytest.mark.parametrize("seed", SEEDS)
def test_storm_is_its_seed(seed: int) -> None:
    runs = []
    for _ in range(2):
        pair, said = stormy(seed, ALL_FAULTS)
        runs.append((pair.run(), said, pair.net.trace_hash(), pair.net.now_ns))
    assert runs[0] == runs[1]
    assert len(runs[0][1]) == 4


def test_storms_say_all_their_faults() -> None:
    said = " ".join(sentence for seed in range(40) for sentence in stormy(seed, ALL_FAULTS)[1])
    assert all(fault in said for fault in ALL_FAULTS)


def test_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault is named rain"):
        SimNet().storm(faults=["rain"], count=1, from_ns=0, until_ns=1, longest_ns=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_corrupted_header_is_never_taken_for_one(seed: int) -> None:
    pair = Pair(b"", seed=seed, torn=False, ends=False)
    assert pair.run(until=lambda: len(pair.receiver.streams) == 1) == "reached"
    assert pair.net.corrupt(0, 1, True)
    pair.sender.left = b"before" + frame_header(kind=5) + b"after"
    pair.sender.step(pair.net.now_ns)
    assert pair.run(until=lambda: len(pair.heard) == 6 + 64 + 5) == "reached"
    assert pair.heard.startswith(b"before") and pair.heard.endswith(b"after")
    with pytest.raises((WireError, Refused)):
        parse_frame_header(pair.heard[6:70])
