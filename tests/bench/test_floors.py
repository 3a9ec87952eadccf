"""Floors of the WAN bench: by hand where that is easy, and by trying where it is not."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from isthmus.bench import floors, links
from isthmus.bench.links import Links, even
from isthmus.errors import Refused
from isthmus.wan.settings import PairLimits, SiteLimits, parse_links

# What bytes, rate and one-way delays allow: (case, MB, codec, seconds).
KNOWN = [
    ("2:50", 100, "f32", 0.825),
    ("4:100", 100, "f32", 1.25),
    ("4:100", 25, "f32", 0.35),
    ("4:100", 1, "f32", 0.074),
    ("4:100", 0.004, "f32", 0.050),
    ("4:100", 100, "int4", 0.28),
    ("2:50", 100, "int4", 0.128),
    ("8:150", 100, "int4", 0.343),
]


@pytest.mark.parametrize(("case", "mb", "codec", "seconds"), KNOWN)
def test_even_links_have_the_known_floors(case: str, mb: float, codec: str, seconds: float) -> None:
    found = floors.floor_s(links.parse(case), int(mb * 1e6 / 4), codec)
    assert found == pytest.approx(seconds, rel=4e-3)


def test_a_thin_site_must_at_least_receive_the_result() -> None:
    # 100 MB at 200 Mbit/s are 4 s, and no split spares the thin site its own download.
    assert floors.floor_s(links.parse("thin"), 25_000_000, "f32") == pytest.approx(4.05)


def test_sites_that_cannot_connect_go_round_a_ring_or_let_a_third_one_carry() -> None:
    assert floors.floor_s(links.parse("blocked"), 25_000_000, "f32") == pytest.approx(1.25)
    # The third site's uplink carries .325 s of int4 with the best split, instead of .230.
    assert floors.floor_s(links.parse("blocked"), 25_000_000, "int4") == pytest.approx(
        0.375, rel=4e-3
    )


@pytest.mark.parametrize(("sites", "cut", "found"), [(3, (0, 1), False), (4, (1, 2), True)])
def test_a_ring_needs_four_sites_if_two_cannot_connect(
    sites: int, cut: tuple[int, int], found: bool
) -> None:
    assert floors.has_ring(replace(even(sites, 100, 1000), cut=(cut,))) is found


def test_only_a_site_that_both_can_reach_carries_what_they_exchange() -> None:
    network = replace(even(4, 100, 1000), cut=((0, 1), (1, 2)))
    assert list(floors.carriers(network)) == [{(0, 1): 3, (1, 2): 3}]


def seconds_of(
    network: Links, shares: tuple[float, ...], up: float, down: float, carrier: int | None = None
) -> float:
    """With such shares: the slowest of all sites' directions and of all pairs. carrier: the one
    that passes on what sites 0 and 1 exchange."""
    world = len(network.sites)
    sent, received = [0.0] * world, [0.0] * world
    between = dict.fromkeys(itertools.permutations(range(world), 2), 0.0)
    for i, j in itertools.permutations(range(world), 2):
        apart = carrier is not None and {i, j} == {0, 1}
        for source, to in [(i, carrier), (carrier, j)] if carrier and apart else [(i, j)]:
            bytes = shares[j] * up + shares[i] * down
            sent[source] += bytes
            received[to] += bytes
            between[source, to] += bytes
    moved = [(network.pair(*ends).rate_mbit, bytes) for ends, bytes in between.items()]
    for site, out, into in zip(network.sites, sent, received, strict=True):
        moved += [(site.up_mbit, out), (site.down_mbit, into)]
    return max(bytes / (rate * floors.BYTES_PER_MBIT) if rate else 0.0 for rate, bytes in moved)


def drawn(seed: int) -> Links:
    rng = np.random.default_rng(seed)
    rates = [0.0, 50.0, 200.0, 500.0, 1000.0]

    def rate() -> float:
        return rates[rng.integers(len(rates))]

    return Links(
        title="drawn",
        sites=tuple(SiteLimits(up_mbit=rate(), down_mbit=100.0 + rate()) for _ in range(3)),
        pairs={ends: PairLimits(rtt_ms=10, rate_mbit=rate()) for ends in [(0, 1), (0, 2), (1, 2)]},
    )


@pytest.mark.parametrize("carrier", [None, 2])
@pytest.mark.parametrize("seed", range(30))
def test_no_split_is_better_than_the_floors(seed: int, carrier: int | None) -> None:
    network, up, down = drawn(seed), 1_000_000, 2_000_000
    best = floors.split_s(network, up, down, {(0, 1): carrier} if carrier else {})
    steps = 40
    tried = [
        seconds_of(network, (a / steps, b / steps, (steps - a - b) / steps), up, down, carrier)
        for a, b in itertools.product(range(steps + 1), repeat=2)
        if a + b <= steps
    ]
    assert best <= min(tried) * (1 + 1e-9)
    assert best >= min(tried) * 0.9  # and one of those tried comes near


def test_links_without_limits_cost_delays_only() -> None:
    network = even(3, 100, 0)
    assert floors.floor_s(network, 1_000_000, "f32") == pytest.approx(0.05)


@pytest.mark.parametrize("case", ["2:50", "8:150", "thin", "far"])
def test_the_emulator_reads_the_same_links(case: str) -> None:
    network = links.parse(case).with_loss(0.01)
    count = len(network.sites)
    sites, pairs = parse_links(
        network.file(), sites=(SiteLimits(),) * count, pair=PairLimits(rtt_ms=1)
    )
    assert sites == network.sites
    assert pairs == dict(network.pairs)
    assert json.loads(network.file())


@pytest.mark.parametrize("case", ["1:50", "4", "four:100", "65:10", ""])
def test_a_case_that_is_none_is_refused(case: str) -> None:
    with pytest.raises(Refused, match="SITES:ROUND_TRIP_MS"):
        links.parse(case)
