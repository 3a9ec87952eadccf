"""Plans where some pairs go by way of a third site, and the order in which a ring goes round."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from climbing import assert_no_better
from isthmus import _core
from isthmus.links import Links, even_links

N = 25_000_000  # 100 MB of float32


def even(world: int, *relayed: tuple[int, int, int], rtt_s: float = 0.1) -> Links:
    names = [f"site{i}" for i in range(world)]
    return replace(even_links(names, mbit=1000, rtt_s=rtt_s), relayed=relayed)


def drawn(seed: int, world: int) -> Links:
    """Some pairs go by way of a third site, some are thin, all are unequally far."""
    draw = random.Random(seed)

    def table(low: float, high: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(draw.uniform(low, high) for _ in range(world)) for _ in range(world))

    relayed = []
    for a, b in itertools.combinations(range(world), 2):
        if draw.random() < 0.3:
            relayed.append((a, b, draw.choice([c for c in range(world) if c not in (a, b)])))
    return Links(
        sites=tuple(f"site{i}" for i in range(world)),
        uplink=tuple(draw.uniform(2e7, 2e8) for _ in range(world)),
        downlink=tuple(draw.uniform(2e7, 2e8) for _ in range(world)),
        pair=table(1e7, 3e8),
        delay=table(0.001, 0.1),
        relayed=tuple(relayed),
    )


def hops(net: Links, a: int, b: int) -> list[tuple[int, int]]:
    """The links that carry what one site has for another."""
    for x, y, by in net.relayed:
        if {x, y} == {a, b}:
            return [(a, by), (by, b)]
    return [(a, b)]


def busiest(net: Links, bytes_of: dict[tuple[int, int], float]) -> float:
    """Seconds of the site or link that is busy longest, written anew."""
    seconds: defaultdict[tuple[object, ...], float] = defaultdict(float)
    for (a, b), amount in bytes_of.items():
        for x, y in hops(net, a, b):
            seconds["up", x] += amount / net.uplink[x]
            seconds["down", y] += amount / net.downlink[y]
            seconds["link", x, y] += amount / net.pair[x][y]
    return max(seconds.values())


def ring_seconds(net: Links, order: Sequence[int], slice_bytes: float) -> float:
    world = len(order)
    steps = [*itertools.pairwise(order), (order[-1], order[0])]
    around = 0.0
    for x, y in (hop for step in steps for hop in hops(net, *step)):
        rate = min(net.uplink[x], net.downlink[y], net.pair[x][y])
        around += net.delay[x][y] + slice_bytes / rate
    chunk = 4 * N / world
    busy, rounds = busiest(net, dict.fromkeys(steps, chunk)), 2 * world - 2
    return max(rounds * busy + around / world, busy + rounds * around / world)


def meets_relay(net: Links, order: Sequence[int]) -> bool:
    return any(
        len(hops(net, *ends)) > 1 for ends in zip(order, [*order[1:], order[0]], strict=True)
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_few_sites_is_faster_than_the_ring_that_is_planned(seed: int) -> None:
    world = 3 + seed % 5
    net = drawn(seed, world)
    plan = net.plan(N, schedule="ring")
    assert sorted(plan.order) == list(range(world))
    size = plan.slice_elements * 4.0
    assert plan.seconds == pytest.approx(ring_seconds(net, plan.order, size))
    others = itertools.permutations(range(1, world))
    best = min(ring_seconds(net, (0, *rest), size) for rest in others)
    is_by_rank = plan.order == tuple(range(world))
    assert plan.seconds <= best * (1.0 / 0.95 if is_by_rank else 1.0) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_ring_of_many_sites_goes_round_pairs_that_cannot_connect(seed: int) -> None:
    draw = random.Random(seed)
    world = draw.randint(9, 24)
    names = draw.sample(range(world), world)
    # In the order of the ranks several steps would be carried by site 0.
    pairs = [(a, a + 1, 0) for a in range(1, world - 1, 3)]
    some = zip(names[::2], names[1::2], strict=False)
    pairs += [(min(a, b), max(a, b), 0) for a, b in some if 0 not in (a, b)]
    net = even(world, *{pair[:2]: pair for pair in pairs}.values())
    assert meets_relay(net, range(world))
    order = net.plan(N, schedule="ring").order
    assert sorted(order) == list(range(world))
    assert not meets_relay(net, order)


def test_sites_that_are_all_alike_go_round_by_rank() -> None:
    for world in (1, 2, 3, 8, 9, 20):
        assert even(world).plan(N, schedule="ring").order == tuple(range(world))


def test_a_ring_goes_round_a_thin_pair() -> None:
    pair = [[1e9] * 4 for _ in range(4)]
    pair[1][2] = pair[2][1] = 1e6
    net = replace(even(4), pair=tuple(map(tuple, pair)))
    order = net.plan(N, schedule="ring").order
    assert {1, 2} not in [set(ends) for ends in zip(order, [*order[1:], order[0]], strict=True)]


def test_the_least_that_direct_takes_counts_what_a_third_site_carries() -> None:
    """Four sites, 100 MB, 1 and 2 by way of 0: 0 and 3 own all, and each sends 200 MB."""
    net = even(4, (1, 2, 0))
    plan = net.plan(N, schedule="direct")
    assert plan.seconds == pytest.approx(200e6 / net.uplink[0] + 0.05, rel=0.03)
    assert plan.shares[1] + plan.shares[2] < 0.05


def test_gather_counts_what_a_third_site_carries() -> None:
    net = even(3, (1, 2, 0))
    seconds = net.plan(N, schedule="gather").seconds
    assert seconds == pytest.approx(400e6 / net.uplink[0] + 0.05, rel=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_no_other_shares_are_much_better_where_pairs_are_relayed(seed: int) -> None:
    draw = random.Random(seed)
    world = draw.randint(3, 6)
    net = drawn(seed, world)
    up, down = (float(_core.wire_size(name, N)) for name in ("int4", "int8"))

    def seconds(shares: Sequence[float]) -> float:
        return busiest(
            net,
            {
                (i, j): shares[j] * up + shares[i] * down
                for i, j in itertools.permutations(range(world), 2)
            },
        )

    ours = net.plan_segments([("int4", "int8", N)], schedule="direct").shares
    assert_no_better(ours, seconds, draw, tries=2000)


def test_a_pair_by_way_of_a_third_site_is_as_far_as_both_hops() -> None:
    small = [("f32", "f32", 1000)]
    direct = even(3).plan_segments(small, schedule="gather").seconds
    relayed = even(3, (1, 2, 0)).plan_segments(small, schedule="gather").seconds
    assert relayed == pytest.approx(direct + 0.05, rel=0.01)


def test_a_lossless_codec_goes_round_the_pair_of_four_sites_that_cannot_connect() -> None:
    net = even(4, (1, 2, 0))
    plan = net.plan(N)
    assert plan.schedule == "ring" and not meets_relay(net, plan.order)
    assert plan.seconds < 0.95 * net.plan(N, schedule="direct").seconds
    assert even(4).plan(N).schedule == "direct"
    assert net.plan(N, "int4").schedule == "direct", "a ring would round at every hop"
    assert even(3, (1, 2, 0)).plan(N).schedule == "direct", "every ring of three has the pair"
    assert net.plan(1000).schedule == "gather", "delays are all that counts"


def test_a_third_site_that_is_one_of_the_two_or_nobody_is_refused() -> None:
    for relayed in ((0, 1, 1), (0, 0, 1), (0, 1, 3), (-1, 1, 2)):
        with pytest.raises(Exception, match="three ranks"):
            even(3, relayed).native()
