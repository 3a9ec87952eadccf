"""Links that are measured after the loss of a site, or while it is lost."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import isthmus
import numpy as np
import pytest
from isthmus import _core, testing
from isthmus.company import Company
from isthmus.links import Links, even_links
from isthmus.seat import Seat
from isthmus.session import Session
from isthmus.streams import Streams


def measured(sessions: Sequence[Session]) -> Links:
    """That all find alike."""
    with ThreadPoolExecutor(len(sessions)) as pool:
        links = list(pool.map(lambda session: session.measure(), sessions))
    assert all(other == links[0] for other in links)
    assert all(session.links == links[0] for session in sessions)
    return links[0]


def reduce_well(sessions: Sequence[Session]) -> None:
    arrays = [np.full(300_000, session.rank + 1.0, np.float32) for session in sessions]
    works = [s.all_reduce(x, op="sum") for s, x in zip(sessions, arrays, strict=True)]
    for work in works:
        work.wait(30)
        assert work.contributors == tuple(session.site for session in sessions)
    for array in arrays:
        assert (array == sum(session.rank + 1.0 for session in sessions)).all()


@pytest.mark.parametrize(("world", "lost"), [(3, 0), (3, 1), (5, 4)])
def test_sites_that_are_left_measure_their_links_and_come_to_the_same(
    world: int, lost: int
) -> None:
    with testing.sites(world, on_loss="continue") as sessions:
        sessions.pop(lost).close()
        links = measured(sessions)
        assert links.sites == sessions[0].sites
        assert min(links.uplink) > 0 and min(links.downlink) > 0
        reduce_well(sessions)


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.4])
def test_a_site_that_is_lost_while_links_are_measured_leaves_the_others_in_step(
    after: float,
) -> None:
    with testing.sites(4, on_loss="continue") as sessions, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(session.measure) for session in sessions]
        time.sleep(after)
        sessions.pop(2).close()
        errors = [each.exception(60) for i, each in enumerate(running) if i != 2]
        for error in errors:
            assert error is None or isinstance(error, isthmus.PeerLost), error
            assert error is None or error.peer == "site02"
        assert len({type(error) for error in errors}) == 1
        measured(sessions)
        reduce_well(sessions)


def test_who_is_left_alone_is_refused_and_told_why() -> None:
    on_loss = isthmus.OnLoss("continue", favourite="site00")
    with testing.sites(2, on_loss=on_loss) as sessions:
        sessions[1].close()
        with pytest.raises(isthmus.Refused, match="no other site is left"):
            sessions[0].measure()
        reduce_well(sessions[:1])


class Broken:
    """A native session among four, of which rank 2 is lost: whatever is begun with it fails."""

    relayed = ((0, 1, 2), (1, 3, 0))
    contributors = (0, 1, 3)

    def all_gather(self, data: bytes) -> "Broken":
        self.row = data
        return self

    def wait(self) -> None:
        pass

    def gathered(self) -> list[bytes]:
        return [self.row, self.row, b"", self.row]


def company(ranks: tuple[int, ...]) -> Company:
    return Company(cast(_core.Session, Broken()), ("a", "b", "c", "d"), ranks, 3)


def test_who_is_left_is_counted_by_place_and_told_by_rank() -> None:
    left = company((0, 1, 3))
    assert left == Company.of(left.native, left.sites, 3)
    assert left.names == ("a", "b", "d") and left.place == 2
    assert left.relayed == ((1, 2, 0),)
    assert left.by_rank((1, 2, 3)) == [1, 2, 0, 3]
    assert left.share([7.0]) == [(7.0,)] * 3


def test_who_is_lost_is_named_though_nobody_expected_a_number() -> None:
    for numbers in ([], [1.0]):
        with pytest.raises(isthmus.PeerLost, match='"c" was lost while links were') as found:
            company((0, 1, 2, 3)).share(numbers)
        assert found.value.peer == "c"


def test_links_that_could_not_be_measured_leave_those_that_were_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Streams) -> Links:
        raise isthmus.PeerLost("somebody is gone", "site01")

    with testing.sites(2) as [session, other]:
        known = even_links(session.sites, mbit=0, rtt_s=0.1, world_mbit=[10, 20])
        session.set_links(known)
        gone_by: list[Any] = []
        monkeypatch.setattr(Seat, "go_by", lambda _, links: gone_by.append(links))
        monkeypatch.setattr(Streams, "measure", fail)
        with pytest.raises(isthmus.PeerLost):
            session.measure()
        assert gone_by == [known] and session.links == known
        assert other.links is None
