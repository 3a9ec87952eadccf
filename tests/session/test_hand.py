"""A hand: one site's bytes to some of the others, and nobody else waits for them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from isthmus import PeerLost, Refused, _core, testing
from isthmus.config import join_settings
from isthmus.session import Session

SIZE = 5_000_001  # bytes; not whole elements


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    with ThreadPoolExecutor(5) as pool:
        made = list(
            pool.map(
                lambda name: Session(
                    join_settings(
                        rendezvous=keeper.address,
                        site=name,
                        sites=5,
                        listen="127.0.0.1:0",
                        on_loss="continue",
                        environment={},
                    )
                ),
                testing.site_names(5),
            )
        )
        yield made
        list(pool.map(Session.close, made))
    keeper.close()


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8)


def test_takers_have_the_donors_bytes_and_others_end_without_any(sessions: list[Session]) -> None:
    takers = [0, 3]
    rooms = {rank: drawn(rank) for rank in (1, *takers)}
    works = [
        s.seat.hand(rooms.get(r), size=SIZE, donor=1, takers=takers) for r, s in enumerate(sessions)
    ]
    for work in works:
        work.wait()
    for rank in takers:
        assert np.array_equal(rooms[rank], drawn(1))


def test_who_has_no_part_is_done_though_the_donor_is_lost_and_takers_are_told(
    sessions: list[Session],
) -> None:
    rooms = {rank: drawn(rank) for rank in (0, 3)}
    works = {
        rank: sessions[rank].seat.hand(rooms.get(rank), size=SIZE, donor=1, takers=[0, 3])
        for rank in (0, 2, 3, 4)
    }
    sessions[1].close()
    for rank in (0, 3):
        with pytest.raises(PeerLost):
            works[rank].wait()
        assert np.array_equal(rooms[rank], drawn(rank))
    gathered = [sessions[rank].seat.native.all_gather(b"on") for rank in (0, 2, 3, 4)]
    assert [work.gathered() for work in gathered] == [[b"on", b"", b"on", b"on", b"on"]] * 4


def test_a_lost_taker_keeps_nobody_from_the_rest(sessions: list[Session]) -> None:
    rooms = {rank: drawn(rank) for rank in (0, 1)}
    works = {
        rank: sessions[rank].seat.hand(rooms.get(rank), size=SIZE, donor=1, takers=[0, 3])
        for rank in (0, 1, 2, 4)
    }
    sessions[3].close()
    for work in works.values():
        work.wait()
    assert np.array_equal(rooms[0], drawn(1))


def test_sites_that_mean_other_takers_are_told(sessions: list[Session]) -> None:
    rooms = {rank: drawn(rank) for rank in (0, 1, 3)}
    works = [
        s.seat.hand(rooms.get(rank), size=SIZE, donor=1, takers=[0, 3] if rank != 3 else [3])
        for rank, s in enumerate(sessions)
        if rank != 2
    ]
    works.append(sessions[2].seat.hand(None, size=SIZE, donor=1, takers=[0, 3]))
    with pytest.raises(Refused, match="who takes"):
        for work in works:
            work.wait()


def test_only_who_gives_or_takes_brings_memory(sessions: list[Session]) -> None:
    with pytest.raises(Refused, match="nobody else"):
        sessions[0].seat.hand(drawn(0), size=SIZE, donor=1, takers=[2])
    with pytest.raises(Refused, match="each taker once"):
        sessions[0].seat.hand(None, size=SIZE, donor=1, takers=[2, 2])
