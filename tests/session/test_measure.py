"""Links measured between real sites on the loopback, and what measuring is made of."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import isthmus
import numpy as np
import pytest
from isthmus import _core, measure, testing
from isthmus.company import Company
from isthmus.links import Links, Paces, even_links, paces
from isthmus.measure import (
    Box,
    Rates,
    Transfers,
    groups,
    partner,
    rounds,
    widths,
    without_overload,
)
from isthmus.session import Session
from isthmus.streams import Streams
from numpy.typing import NDArray


def test_a_rate_is_of_the_middle_of_a_transfer_and_bursts_do_not_raise_it() -> None:
    steady = np.arange(11) * 1000.0
    assert Box.of(steady, 1.0).rate == pytest.approx(10_000)
    held_up = np.array([0, 1000, 2000, 3000, 3000, 3000, 6000, 7000, 8000, 9000, 10_000.0])
    assert Box.of(held_up, 1.0).rate == pytest.approx(10_000, rel=0.05)
    late_start_and_tail = np.concatenate([np.zeros(10), steady, np.full(10, 10_000.0)])
    assert Box.of(late_start_and_tail, 3.0).rate == pytest.approx(10_000)
    assert Box.of(np.zeros(11), 1.0).rate == 0


def test_an_uplink_is_what_its_links_carry_at_one_moment() -> None:
    """Site 0 sends to 1, and twice as long to 2; site 2 sends to 1 when 0 no longer does."""
    arrived = np.zeros((41, 3, 3))
    arrived[:, 1, 0] = np.minimum(np.arange(41), 20) * 1000
    arrived[:, 2, 0] = np.arange(41) * 500
    arrived[:, 1, 2] = np.maximum(np.arange(41) - 20, 0) * 300
    seen = Rates.of(arrived, seconds=4.0)
    assert seen.pair[0].tolist() == pytest.approx([0, 10_000, 5000])
    assert seen.uplink.tolist() == pytest.approx([15_000, 0, 3000])
    assert seen.downlink.tolist() == pytest.approx([0, 10_000, 5000])


def transfers(rates: np.ndarray, again: np.ndarray) -> Transfers:
    """Of two seconds, at even rates as [from][to]."""
    so_far = np.linspace(0, 2, 61)[:, None, None] * rates.T
    return Transfers(2.0, so_far, so_far.copy(), again)


def test_ends_carry_what_was_acknowledged_while_all_their_links_were_in_use() -> None:
    rates = np.array([[0, 10.0, 20.0], [1, 0, 2], [3, 4, 0]])
    even = transfers(rates, np.zeros((3, 3)))
    assert even.uplinks().tolist() == pytest.approx([30, 3, 7])
    assert even.downlinks().tolist() == pytest.approx([4, 14, 22])
    in_a_third = transfers(rates, np.zeros((3, 3)))
    in_a_third.delivered[:, 1, 0] = np.minimum(in_a_third.delivered[:, 1, 0] * 3, 20)
    assert in_a_third.uplinks()[0] == pytest.approx(50, rel=0.02)


def test_an_end_that_loses_packets_on_all_links_carries_the_mean_of_what_came() -> None:
    seen = Rates(np.full((3, 3), 9.0), np.array([50.0, 50, 50]), np.array([60.0, 60, 60]))
    from_two = np.array([[0, 0, 0], [0.001, 0, 0], [0.02, 0.02, 0]])
    others = 1 - np.eye(3)
    runs = [transfers(rate * others, from_two) for rate in (18.0, 22.0)]
    runs.append(transfers(99 * others, np.zeros((3, 3))))
    known = without_overload(seen, runs)
    assert known.uplink.tolist() == pytest.approx([50, 50, 0.98 * 40])
    assert known.downlink.tolist() == [60, 60, 60]
    assert known.pair is seen.pair
    calm = runs[2:] * 2 + runs[:2]
    assert without_overload(seen, calm).uplink.tolist() == [50, 50, 50]


def test_what_a_third_site_passes_on_shows_at_its_uplink_and_its_downlink() -> None:
    arrived = np.zeros((41, 3, 3))
    steps = np.arange(41) * 100.0
    for origin, target, rate in ((0, 1, 3), (0, 2, 3), (1, 2, 2), (2, 1, 1)):
        arrived[:, target, origin] = rate * steps
    seen = Rates.of(arrived, 4.0, [(1, 2, 0)])
    assert seen.uplink.tolist() == pytest.approx([9000, 2000, 1000])
    assert seen.downlink.tolist() == pytest.approx([3000, 4000, 5000])
    assert seen.pair[1, 2] == pytest.approx(2000)


def test_links_of_a_third_site_are_not_narrow_because_it_carries_others() -> None:
    world = 4  # two rounds of swaps go together, and in one of them 1 and 2 by way of 0
    seen = Rates(np.full((world, world), 25.0), np.full(world, 100.0), np.full(world, 100.0))
    assert (widths(seen)[0, 1:] == 25).all()
    round = next(r for r in range(rounds(world)) if partner(1, world, r) == 2)
    group = next(group for group in groups(world) if round in group)
    beside = {partner(0, world, r) for r in group} - {0}
    found = widths(seen, [(1, 2, 0)])
    assert {j for j in range(1, world) if found[0, j] == 100} == beside


def test_a_pair_is_narrow_only_if_it_had_less_than_its_part_of_its_ends() -> None:
    world = 8  # links go in groups of three and four
    even = Rates(np.full((world, world), 40.0), np.full(world, 100.0), np.full(world, 90.0))
    assert (widths(even)[~np.eye(world, dtype=bool)] == 90).all()
    even.pair[2, 5] = 10
    assert widths(even)[2, 5] == 10 and widths(even)[5, 2] == 90
    assert (widths(even).diagonal() == 0).all()


@pytest.mark.parametrize("world", range(2, 20))
def test_partners_are_those_of_the_native_swap(world: int) -> None:
    for round in range(rounds(world)):
        for rank in range(world):
            schedule = _core.schedule(
                "swap", rank=rank, world=world, elements=1, block=1, root=round
            )
            peers = [send["peer"] for send in schedule["sends"]]
            assert peers == ([] if partner(rank, world, round) == rank else [peers[0]])
            assert not peers or partner(rank, world, round) == peers[0]


@pytest.mark.parametrize("world", range(2, 65))
def test_every_round_is_in_one_group_and_groups_are_few(world: int) -> None:
    found = groups(world)
    assert [r for group in found for r in group] == list(range(rounds(world)))
    assert len(found) <= 2 and all(len(group) > 0 for group in found)


class Growing:
    """A session of two sites whose link needs no time to carry what it is given for half a second
    and more: the runs' rates, in bytes a second, as a congestion window grows."""

    relayed: tuple[tuple[int, int, int], ...] = ()

    def __init__(self, *rates: float) -> None:
        self.rates, self.swaps, self.is_alone = list(rates), list[int](), False

    def stats(self) -> dict[str, Any]:
        return {"links": {"b": {"min_rtt_ms": 50.0, "streams": 2}}}

    def all_gather(self, data: bytes) -> "Growing":
        self.row = data
        return self

    def wait(self) -> None:
        pass

    @property
    def contributors(self) -> list[int]:
        return [0] if self.is_alone else [0, 1]

    def gathered(self) -> list[bytes]:
        return [self.row, b"" if self.is_alone else self.row]

    def swap(self, data: NDArray[np.uint8], *, round: int, among: Sequence[int]) -> "Growing":
        self.swaps.append(len(data))
        return self

    def set_paces(self, all: float, peers: Sequence[float] = ()) -> None:
        assert all == 0 and not peers

    def watch(self, works: Sequence[object]) -> Transfers:
        rate = self.rates.pop(0)
        both = transfers(np.array([[0, rate], [rate, 0]]), np.zeros((2, 2)))
        return replace(both, seconds=2.0)


def two(link: Growing) -> Company:
    return Company(cast(_core.Session, link), ("a", "b"), (0, 1), 0)


@pytest.mark.parametrize(
    ("rates", "found"),
    [
        ([40e6, 80e6, 110e6, 118e6], 118e6),  # until it is no faster
        ([120e6, 119e6], 120e6),
        ([1e6, 2e6, 4e6, 8e6, 16e6], 16e6),  # not for ever
    ],
)
def test_two_sites_swap_as_much_again_while_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, rates: list[float], found: float
) -> None:
    link = Growing(*rates)
    monkeypatch.setattr(measure._Measurement, "_watch", lambda _, works: link.watch(works))
    links = measure.measure(two(link))
    assert links.uplink == pytest.approx([found, found])
    assert not link.rates and len(set(link.swaps)) == 1


def test_a_site_that_is_lost_while_links_are_measured_is_named() -> None:
    link = Growing()
    link.is_alone = True
    with pytest.raises(isthmus.PeerLost, match='"b" was lost while links were measured') as found:
        measure.measure(two(link))
    assert found.value.peer == "b"


def test_a_session_whose_links_cannot_be_measured_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Streams) -> Links:
        raise isthmus.PeerLost("somebody is gone", "b")

    monkeypatch.setattr(Streams, "measure", fail)
    closed: list[Session] = []
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda self: (closed.append(self), close(self)))
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(Session, replace(testing.settings(name, 2, keeper.address), measure=True))
            for name in testing.site_names(2)
        ]
        errors = [session.exception(30) for session in made]
    assert [type(error) for error in errors] == [isthmus.PeerLost] * 2
    assert len(closed) == 2 and all(session._closed for session in closed)
    keeper.close()


@pytest.mark.parametrize(("world", "on_loss"), [(2, None), (3, None), (5, None), (3, "continue")])
def test_sites_measure_together_and_come_to_the_same_links(world: int, on_loss: str | None) -> None:
    with testing.sites(world, on_loss=on_loss) as sessions, ThreadPoolExecutor(world) as pool:
        links = list(pool.map(lambda session: session.measure(), sessions))
        assert all(other == links[0] for other in links)
        assert links[0].sites == sessions[0].sites
        assert min(links[0].uplink) > 0 and min(links[0].downlink) > 0
        arrays = [np.full(300_000, i + 1.0, np.float32) for i in range(world)]
        works = [s.all_reduce(x, op="sum") for s, x in zip(sessions, arrays, strict=True)]
        for work in works:
            work.wait()
        for array in arrays:
            assert (array == world * (world + 1) / 2).all()


def test_uneven_shares_give_the_bits_of_even_ones() -> None:
    """Owners add in the order of the ranks, so who owns what does not show in a lossless sum."""
    world, n = 3, 400_000
    rng = np.random.default_rng(7)
    inputs = [rng.standard_normal(n).astype(np.float32) for _ in range(world)]
    with testing.sites(world) as sessions:

        def reduce() -> list[np.ndarray]:
            arrays = [x.copy() for x in inputs]
            works = [
                s.all_reduce(x, schedule="direct") for s, x in zip(sessions, arrays, strict=True)
            ]
            for work in works:
                work.wait()
            return arrays

        even = reduce()
        thin = even_links(sessions[0].sites, mbit=0, rtt_s=0.1, world_mbit=[1000, 1000, 100])
        assert thin.plan(n, schedule="direct").shares[2] < 0.1
        for session in sessions:
            session.set_links(thin)
            session._native.set_paces(0.0)
        uneven = reduce()
    for x in [*even, *uneven]:
        assert x.tobytes() == even[0].tobytes()


def test_sites_that_go_by_different_links_are_told_so() -> None:
    with testing.sites(2) as sessions:
        names = sessions[0].sites
        sessions[0].set_links(even_links(names, mbit=0, rtt_s=0.1, world_mbit=[1000, 1000]))
        sessions[1].set_links(even_links(names, mbit=0, rtt_s=0.1, world_mbit=[10, 1000]))
        arrays = [np.ones(3_000_000, np.float32) for _ in sessions]
        works = [s.all_reduce(x, schedule="direct") for s, x in zip(sessions, arrays, strict=True)]
        with pytest.raises(isthmus.Refused, match="the cut is slices of"):
            works[0].wait()
        with pytest.raises(isthmus.Refused):
            works[1].wait()


def test_a_ring_in_another_order_leaves_the_same_bits_everywhere() -> None:
    world, n = 4, 400_000
    rng = np.random.default_rng(8)
    inputs = [rng.standard_normal(n).astype(np.float32) for _ in range(world)]
    with testing.sites(world) as sessions:
        even = even_links(sessions[0].sites, mbit=1000, rtt_s=0.1)
        pair = [list(row) for row in even.pair]
        pair[1][2] = pair[2][1] = 1e5
        links = replace(even, pair=tuple(map(tuple, pair)))
        assert links.plan(n, schedule="ring").order not in (tuple(range(world)), ())
        results = []
        for _ in range(2):
            for session in sessions:
                session.set_links(links)
                session._native.set_paces(0.0)
            arrays = [x.copy() for x in inputs]
            works = [
                s.all_reduce(x, schedule="ring") for s, x in zip(sessions, arrays, strict=True)
            ]
            for work in works:
                work.wait()
            results += arrays
    for x in results:
        assert x.tobytes() == results[0].tobytes()
    assert np.allclose(results[0], np.mean(inputs, axis=0), atol=1e-6)


def test_sites_that_go_round_in_different_orders_are_told_so() -> None:
    with testing.sites(4) as sessions:
        even = even_links(sessions[0].sites, mbit=1000, rtt_s=0.1)
        pair = [list(row) for row in even.pair]
        pair[1][2] = pair[2][1] = 1e5
        odd = replace(even, pair=tuple(map(tuple, pair)))
        for session in sessions:
            session.set_links(odd if session.rank == 3 else even)
        arrays = [np.ones(300_000, np.float32) for _ in sessions]
        works = [s.all_reduce(x, schedule="ring") for s, x in zip(sessions, arrays, strict=True)]
        for work in works:
            with pytest.raises(isthmus.Refused, match="in the order 0 "):
                work.wait()


def test_links_of_other_sites_are_refused() -> None:
    with testing.sites(1) as [session], pytest.raises(isthmus.Refused, match="session has"):
        session.set_links(even_links(["x", "y"], mbit=100, rtt_s=0.1))


def test_near_and_very_fast_links_are_not_paced() -> None:
    assert paces(even_links(["a", "b"], mbit=1000, rtt_s=0.05), 0) == Paces(0.95 * 125e6)
    assert paces(even_links(["a", "b"], mbit=1000, rtt_s=0.0001), 0) == Paces(0)
    assert paces(even_links(["a", "b"], mbit=40_000, rtt_s=0.05), 0) == Paces(0)


def network(
    uplink: list[float], downlink: list[float], narrow: dict[tuple[int, int], float]
) -> Links:
    """50 ms between all; pairs as narrow as their ends, but for these."""
    world = range(len(uplink))
    pair = [[narrow.get((a, b), min(uplink[a], downlink[b])) for b in world] for a in world]
    return Links(
        sites=tuple(f"s{i}" for i in world),
        uplink=tuple(uplink),
        downlink=tuple(downlink),
        pair=tuple(map(tuple, pair)),
        delay=((0.05,) * len(uplink),) * len(uplink),
    )


def test_a_pair_that_carries_less_than_its_ends_is_paced_by_itself() -> None:
    links = network([100e6] * 3, [100e6] * 3, {(0, 2): 20e6})
    assert paces(links, 0) == Paces(100e6, (0, 0, 20e6))
    assert paces(links, 2) == Paces(100e6)


def test_a_downlink_that_is_too_narrow_for_all_is_shared_in_proportion_to_what_would_come() -> None:
    links = network([100e6, 100e6, 30e6, 20e6], [100e6, 100e6, 80e6, 20e6], {})
    to_thin = [paces(links, rank).peers[3] for rank in range(3)]
    assert sum(to_thin) == pytest.approx(20e6)
    assert to_thin[0] == to_thin[1] == pytest.approx(2 * to_thin[2])
    assert paces(links, 0).peers[:3] == (0, 0, 0)


def test_equal_sites_need_no_paces_of_peers_though_measured_rates_differ_a_little() -> None:
    links = network([100e6, 96e6, 104e6], [95e6, 101e6, 99e6], {})
    assert all(paces(links, rank).peers == () for rank in range(3))
