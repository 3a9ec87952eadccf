"""Which schedule, shares and slices the measured network asks for: pure, without one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from climbing import assert_no_better
from isthmus import _core
from isthmus.links import Links, even_links

N = 25_000_000  # 100 MB of float32
F32, INT4 = [("f32", "f32", N)], [("int4", "int8", N)]
WIDE = 1e15  # no limit


def links(
    rates: Sequence[float], *, pair: Sequence[Sequence[float]] | None = None, delay: float = 0.05
) -> Links:
    world = len(rates)
    return Links(
        sites=tuple(f"site{i}" for i in range(world)),
        uplink=tuple(rates),
        downlink=tuple(rates),
        pair=tuple(map(tuple, pair or [[WIDE] * world] * world)),
        delay=((delay,) * world,) * world,
    )


def bytes_seconds(net: Links, shares: Sequence[float], up: float, down: float) -> float:
    """The longest that any site or pair is busy: the formulas of the design, written anew."""
    world, most = len(shares), 0.0
    for i, own in enumerate(shares):
        sent = (1 - own) * up + (world - 1) * own * down
        received = (1 - own) * down + (world - 1) * own * up
        most = max(most, sent / net.uplink[i], received / net.downlink[i])
        for j in set(range(world)) - {i}:
            most = max(most, (shares[j] * up + own * down) / net.pair[i][j])
    return most


# shared/peers.md's floors, at 1 Gbit/s of payload.
@pytest.mark.parametrize(
    ("world", "rtt", "segments", "schedule", "floor"),
    [
        (2, 0.05, F32, "direct", 0.825),
        (4, 0.1, F32, "direct", 1.25),
        (4, 0.1, [("f32", "f32", N // 4)], "direct", 0.35),
        (4, 0.1, [("f32", "f32", N // 100)], "gather", 0.074),
        (4, 0.1, [("f32", "f32", 1000)], "gather", 0.050),
        (4, 0.1, INT4, "direct", 0.28),
        (2, 0.05, [("int4", "int4", N)], "gather", 0.128),
        (8, 0.15, INT4, "direct", 0.343),
    ],
)
def test_equal_links_take_what_the_floors_say(
    world: int, rtt: float, segments: list[tuple[str, str, int]], schedule: str, floor: float
) -> None:
    plan = links([125e6] * world, delay=rtt / 2).plan_segments(segments)
    assert plan.schedule == schedule
    assert plan.shares == (1 / world,) * world
    assert plan.seconds == pytest.approx(floor, rel=0.02)


def test_a_site_with_a_thin_uplink_owns_little() -> None:
    net = links([125e6, 125e6, 125e6, 25e6])
    plan = net.plan(N)
    assert plan.shares[3] < 0.01
    assert max(plan.shares) < 0.35, "the others share what is left"
    even = net.plan_segments(F32, schedule="gather").seconds
    assert plan.seconds == pytest.approx(4 + 0.05, rel=0.02) and plan.seconds < even


def test_a_slow_pair_carries_less_and_sites_beside_it_own_less() -> None:
    m = 1e6 / 8
    pair = [[WIDE, 500 * m, 200 * m], [500 * m, WIDE, 1000 * m], [200 * m, 1000 * m, WIDE]]
    net = links([1e9] * 3, pair=pair)
    plan = net.plan(N)
    best = min(
        bytes_seconds(net, (a / 100, b / 100, 1 - (a + b) / 100), 4 * N, 4 * N)
        for a, b in itertools.product(range(101), repeat=2)
        if a + b <= 100
    )
    assert bytes_seconds(net, plan.shares, 4 * N, 4 * N) <= 1.02 * best
    assert plan.shares[1] > plan.shares[2] > plan.shares[0]


@pytest.mark.parametrize("seed", range(30))
def test_no_other_shares_are_much_better(seed: int) -> None:
    draw = random.Random(seed)
    world = draw.randint(2, 6)
    rates = [draw.uniform(1e6, 1e9) for _ in range(world)]
    pair = [[draw.uniform(1e6, 1e9) for _ in range(world)] for _ in range(world)]
    net = links(rates, pair=pair)
    up, down = (float(_core.wire_size(name, N)) for name in ("int4", "int8"))
    plan = net.plan_segments(INT4, schedule="direct")
    assert_no_better(plan.shares, lambda s: bytes_seconds(net, s, up, down), draw, tries=3000)


def test_links_that_differ_as_measurements_do_are_split_evenly() -> None:
    assert links([120e6, 125e6, 122e6, 118e6]).plan(N).shares == (0.25,) * 4


def test_where_two_pairs_hardly_connect_a_lossless_codec_goes_round_them() -> None:
    bad = 1e6
    pair = [[WIDE] * 4 for _ in range(4)]
    for a, b in ((0, 2), (1, 3)):
        pair[a][b] = pair[b][a] = bad
    net = links([125e6] * 4, pair=pair)
    assert net.plan(N).schedule == "ring"
    assert net.plan_segments(INT4).schedule != "ring", "it would round at every hop"


def test_a_far_site_makes_one_delay_worth_more_than_bytes() -> None:
    near = links([125e6] * 4, delay=0.001)
    far = links([125e6] * 4, delay=0.2)
    assert near.plan(1_000_000).schedule == "direct"
    assert far.plan(1_000_000).schedule == "gather"


def test_slices_are_small_where_the_wire_is_slow() -> None:
    fast, slow = links([1.25e9] * 3).plan(N), links([1.25e6] * 3).plan(N)
    assert fast.slice_elements == 65536
    assert slow.slice_elements == 4096
    topk = links([1.25e6] * 3).plan_segments([("topk", "int8", N)]).slice_elements
    assert topk >= 4096 * 8, "a slice holds whole bytes of all sections"


def test_no_network_time_for_one_site() -> None:
    assert links([1e9]).plan(N).seconds == 0


def test_numbers_that_no_network_has_are_refused() -> None:
    for rates in ([0.0, 1e9], [-1.0, 1e9], [float("nan"), 1e9], [float("inf"), 1e9]):
        with pytest.raises(Exception, match="above zero"):
            links(rates).native()


def test_told_links_count_packets_headers() -> None:
    told = even_links(["a", "b"], mbit=1000, rtt_s=0.1)
    assert told.uplink == (0.95 * 125e6,) * 2 and told.delay[0][1] == 0.05
