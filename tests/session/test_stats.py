"""session.stats(): what left, what came, and where an operation's time went."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from isthmus import testing
from isthmus.session import Session

elements = 300_000


@pytest.fixture
def world() -> Iterator[list[Session]]:
    with testing.sites(2) as sessions:
        yield sessions


def reduce(world: list[Session], codec: str, schedule: str = "direct") -> None:
    xs = [np.full(elements, session.rank, np.float32) for session in world]
    works = [
        s.all_reduce(x, codec=codec, schedule=schedule) for s, x in zip(world, xs, strict=True)
    ]
    for work in works:
        work.wait(20)


def test_payloads_are_the_schedule_s_bytes_and_what_one_sent_the_other_received(
    world: list[Session],
) -> None:
    reduce(world, "f32")
    links = [world[0].stats()["links"]["site01"], world[1].stats()["links"]["site00"]]
    for mine, theirs in (links, links[::-1]):
        assert mine["payload_sent"] == theirs["payload_received"] == elements * 4
        assert mine["bytes_sent"] > mine["payload_sent"]
        assert mine["bytes_acked"] <= mine["bytes_sent"]


def test_f32_is_not_compressed_and_int4_sends_an_eighth_up_and_a_fourth_down(
    world: list[Session],
) -> None:
    reduce(world, "f32")
    before = world[0].stats()
    assert before["reduced_bytes"] == before["float_bytes"] == before["encoded_bytes"]
    reduce(world, "int4")
    after = world[0].stats()
    assert after["reduced_bytes"] == 2 * elements * 4
    exact = after["float_bytes"] - before["float_bytes"]
    bits = 32 * (after["encoded_bytes"] - before["encoded_bytes"]) / exact
    assert bits == pytest.approx((4.125 + 8.125) / 2, abs=0.02)


def test_a_broadcast_is_carried_and_is_no_reduction(world: list[Session]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda s: s.broadcast(np.zeros(elements, np.float32), root=1), world))
    receiver, root = (session.stats() for session in world)
    assert receiver["links"]["site01"]["payload_received"] == elements * 4
    assert root["contributors"] == ()
    assert root["reduced_bytes"] == root["encoded_bytes"] == 0


def test_waiting_for_a_late_site_is_told_apart(world: list[Session]) -> None:
    xs = [np.ones(elements, np.float32) for _ in world]
    first = world[0].all_reduce(xs[0])
    time.sleep(0.3)
    world[1].all_reduce(xs[1]).wait(20)
    first.wait(20)
    early, late = world[0].stats(), world[1].stats()
    assert early["flight_seconds"] >= early["late_seconds"] > late["late_seconds"]
    assert early["late_seconds"] > early["queued_seconds"]


def test_round_trips_rates_and_contributors_are_known_after_an_operation(
    world: list[Session],
) -> None:
    for _ in range(5):
        reduce(world, "f32")
    for session in world:
        stats = session.stats()
        assert stats["contributors"] == ("site00", "site01")
        (link,) = stats["links"].values()
        assert 0 < link["min_rtt_ms"] <= 1000
        assert link["delivery_mbit"] > 0
        assert link["bytes_acked"] > 0
        # The kernel counts in ticks of some milliseconds, which an operation here may not reach.
        sent = link["sent_mbit"] * 1e6 / 8 * link["sending_seconds"]
        assert sent == pytest.approx(link["bytes_acked"]) or link["sending_seconds"] == 0


def test_stats_are_plain_for_a_log_and_a_table_for_people(world: list[Session]) -> None:
    reduce(world, "int4")
    stats = world[0].stats()
    assert json.loads(json.dumps(stats))["links"]["site01"]["streams"] > 0
    assert stats["compression"] == stats["float_bytes"] / stats["encoded_bytes"]
    lines = str(stats).splitlines()
    assert lines[0] == (
        "site site00, generation 1: 2 operations, the last all-reduce of site00, site01"
    )
    assert lines[1] == "1.2 MB of float32 reduced; 230 kB sent for 1.2 MB, 1 : 5.2"
    assert [line.split()[0] for line in lines[-2:]] == ["link", "site01"]
    assert len({len(line) for line in lines[-2:]}) == 1, "columns are aligned"


def test_a_session_that_is_closed_still_has_its_numbers(world: list[Session]) -> None:
    reduce(world, "f32")
    world[0].close()
    assert world[0].stats()["reduced_bytes"] == elements * 4
    assert str(world[0].stats())
