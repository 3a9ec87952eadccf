"""What new connections are given to carry, before a later epoch begins."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import isthmus
import pytest
from isthmus import testing
from isthmus.links import PAYLOAD_SHARE, Links, even_links
from isthmus.session import Session
from isthmus.warm_up import enough, warm_up

NAMES = ("aws", "azure", "gcp")


def even(*, uplink: float, rtt: float) -> Links:
    """uplink: in bytes of data a second."""
    return even_links(NAMES, mbit=uplink * 8 / 1e6 / PAYLOAD_SHARE, rtt_s=rtt)


def received(session: Session) -> dict[str, int]:
    links = session._native.stats()["links"]
    return {site: link["bytes_received"] for site, link in links.items()}


def test_each_link_carries_its_part_of_the_uplink_for_two_round_trips() -> None:
    assert enough(even(uplink=20e6, rtt=0.05)) == pytest.approx(2 * 10e6 * 0.05, abs=8)


def test_the_site_whose_links_hold_the_least_decides_and_memory_has_a_bound() -> None:
    thin = replace(even(uplink=20e6, rtt=0.05), uplink=(2e6, 20e6, 20e6))
    assert enough(thin) == pytest.approx(2 * 1e6 * 0.05, abs=8)
    assert enough(even(uplink=1e10, rtt=0.2)) == 16 << 20


@pytest.mark.parametrize(
    "thin",
    [
        {"downlink": (2e6, 20e6, 20e6)},
        {"pair": ((0, 1e6, 20e6), (20e6, 0, 20e6), (20e6, 20e6, 0))},
    ],
    ids=["downlink", "pair"],
)
def test_no_link_takes_longer_than_four_round_trips(thin: dict[str, Any]) -> None:
    links = replace(even(uplink=20e6, rtt=0.05), **thin)
    assert enough(links) == pytest.approx(4 * 1e6 * 0.05, abs=8)


def test_a_site_alone_and_sites_within_a_machine_need_nothing() -> None:
    assert enough(even_links(("aws",), mbit=1e4, rtt_s=0.1)) == 0
    assert enough(even(uplink=1e9, rtt=0.0)) == 0


def test_what_one_site_knows_all_carry() -> None:
    links = even(uplink=8e6, rtt=0.1)
    with testing.sites(3) as sessions, ThreadPoolExecutor(3) as pool:
        before = [received(session) for session in sessions]
        known = [links, None, links]
        list(pool.map(lambda s, k: warm_up(s._native, k), sessions, known))
        for session, old in zip(sessions, before, strict=True):
            came = {site: count - old[site] for site, count in received(session).items()}
            assert len(came) == 2
            assert all(enough(links) <= count < 1.1 * enough(links) for count in came.values())


def test_where_nobody_knows_the_links_nothing_is_carried() -> None:
    with testing.sites(2) as sessions, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda s: warm_up(s._native, None), sessions))
        assert all(count < 2000 for s in sessions for count in received(s).values())


def test_who_is_not_wanted_any_more_waits_for_nobody() -> None:
    with testing.sites(2) as sessions, pytest.raises(isthmus.Cancelled):
        warm_up(sessions[0]._native, None, is_wanted=lambda: False)


@pytest.mark.parametrize(
    "word", [b"odd", struct.pack("<Q", 1 << 40), struct.pack("<Q", 3)], ids=["size", "much", "odd"]
)
def test_what_no_isthmus_says_is_a_typed_error(word: bytes) -> None:
    with testing.sites(2) as sessions, ThreadPoolExecutor(1) as pool:
        running = pool.submit(warm_up, sessions[0]._native, None)
        sessions[1]._native.all_gather(word).wait()
        error = running.exception(20)
        assert isinstance(error, isthmus.WireError) and error.peer == sessions[1].site


def test_without_a_site_that_is_lost_meanwhile_there_is_nothing_to_warm_up() -> None:
    links = even(uplink=8e6, rtt=0.1)
    with testing.sites(3, on_loss="continue") as sessions, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(warm_up, s._native, links) for s in sessions[:2]]
        sessions.pop().close()
        assert all(isinstance(each.exception(20), isthmus.PeerLost) for each in running)


@pytest.mark.parametrize("after", [0.0, 0.005, 0.05])
def test_a_site_that_is_lost_at_any_moment_holds_up_nobody(after: float) -> None:
    links = even(uplink=80e6, rtt=0.1)
    with testing.sites(3, on_loss="continue") as sessions, ThreadPoolExecutor(3) as pool:
        running = [pool.submit(warm_up, s._native, links) for s in sessions]
        time.sleep(after)
        sessions.pop().close()
        errors = [each.exception(20) for each in running[:2]]
        assert all(error is None or isinstance(error, isthmus.PeerLost) for error in errors)
        assert not any(session._native.whole for session in sessions)
