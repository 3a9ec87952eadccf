"""Real connections that end one by one while sessions use them: nobody is lost, nothing differs."""

import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from isthmus import testing
from isthmus.session import Session

elements = 2_000_000


@pytest.fixture
def world() -> Iterator[list[Session]]:
    with testing.sites(2) as sessions:
        yield sessions


def connections() -> list[socket.socket]:
    """Duplicates of this process's TCP connections."""
    found: list[socket.socket] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            each = socket.socket(fileno=os.dup(int(name)))
            each.getpeername()
            found.append(each)
        except OSError:
            continue
    return found


def carried(connection: socket.socket) -> int:
    bytes_acked_and_received = struct.Struct("=QQ")
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return sum(bytes_acked_and_received.unpack_from(info, 120))


def by_load() -> list[socket.socket]:
    """One end of each connection, those that have carried most first; the caller closes them."""
    ends: dict[frozenset[object], socket.socket] = {}
    for each in connections():
        if each.family in (socket.AF_INET, socket.AF_INET6):
            ends[frozenset((each.getsockname(), each.getpeername()))] = each
    return sorted(ends.values(), key=carried, reverse=True)


def data_streams(count: int) -> list[socket.socket]:
    return by_load()[:count]


def reduce(world: list[Session], seed: int) -> None:
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal(elements, np.float32) for _ in world]
    expected = (xs[0] + xs[1]) / np.float32(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda s, x: s.all_reduce(x).wait(30), world, xs))
    for x in xs:
        np.testing.assert_array_equal(x, expected)


def test_connections_that_end_one_by_one_are_replaced_and_no_bit_differs(
    world: list[Session],
) -> None:
    reduce(world, 0)
    for seed in range(1, 6):
        victim = data_streams(1)[0]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(reduce, world, seed)
            victim.shutdown(socket.SHUT_RDWR)
            running.result(60)
        victim.close()
        reduce(world, 100 + seed)
    for session, other in zip(world, ("site01", "site00"), strict=True):
        stats = session.stats()
        assert stats["links"][other]["streams_lost"] == 5
        lost = [event for event in stats["events"] if event["kind"] == "stream_lost"]
        assert len(lost) == 5
        assert f'a connection to site "{other}" was lost (' in lost[0]["text"]
        assert not [event for event in stats["events"] if event["kind"] == "streams"]


def test_all_data_connections_may_end_at_once(world: list[Session]) -> None:
    reduce(world, 0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(reduce, world, 1)
        for victim in data_streams(2):
            victim.shutdown(socket.SHUT_RDWR)
            victim.close()
        running.result(60)
    reduce(world, 2)
    reduce(world, 3)
    assert all(
        link["streams_lost"] == 2 for session in world for link in session.stats()["links"].values()
    )


def test_the_control_connection_may_end_while_operations_are_in_flight(
    world: list[Session],
) -> None:
    reduce(world, 0)
    for seed in range(1, 4):
        control = by_load()[2]  # behind the two of data, before those to the coordinator
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(reduce, world, seed)
            control.shutdown(socket.SHUT_RDWR)
            running.result(60)
        control.close()
        for again in range(5):
            reduce(world, 100 * seed + again)
    for session in world:
        (link,) = session.stats()["links"].values()
        assert (link["streams_lost"], link["frames_again"], link["streams"]) == (3, 0, 2)
