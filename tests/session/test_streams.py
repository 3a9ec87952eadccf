"""How many streams a link gets: what is taken for held back, what grows, what is given back."""

import dataclasses
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from isthmus import _core, streams
from isthmus.errors import PeerLost
from isthmus.links import Links, even_links
from isthmus.streams import Streams, more, most_streams

# 1 Gbit/s over 100 ms in one stream of 32 MiB, no loss.
FAR = streams.Path(
    bytes_per_s=125e6,
    rtt=0.1,
    streams=1,
    window_bytes=32 << 20,
    congestion_bytes=0,
    segment_bytes=1448,
    loss=0.0,
)
SITES = ("a", "b")


def test_a_link_is_held_back_where_its_windows_are_full() -> None:
    assert not FAR.is_held()
    assert dataclasses.replace(FAR, window_bytes=12 << 20).is_held()
    assert not dataclasses.replace(FAR, window_bytes=12 << 20, rtt=0.05).is_held()
    assert dataclasses.replace(FAR, congestion_bytes=12 << 20).is_held()
    assert not dataclasses.replace(FAR, congestion_bytes=24 << 20).is_held()


def test_a_link_is_held_back_where_it_has_what_loss_leaves_to_reno() -> None:
    lossy = dataclasses.replace(FAR, loss=2e-4)  # 1.25 MB/s to Reno
    assert not lossy.is_held()  # so it is BBR's
    slow = dataclasses.replace(lossy, bytes_per_s=2.5e6)
    assert slow.is_held()
    assert not dataclasses.replace(slow, loss=0.0).is_held()
    assert dataclasses.replace(slow, bytes_per_s=10e6, streams=4).is_held()


def test_what_was_not_measured_holds_nothing_back() -> None:
    nothing = dataclasses.replace(FAR, window_bytes=0, segment_bytes=0)
    assert not nothing.is_held()
    assert not dataclasses.replace(FAR, rtt=0.0, window_bytes=1).is_held()


def test_what_either_end_takes_for_held_back_grows_unless_one_is_fixed() -> None:
    counts = [[0, 2, 1], [2, 0, 8], [1, 8, 0]]
    held = [[False, True, False], [False] * 3, [False, True, False]]
    grown = [[0, 8, 1], [8, 0, most_streams], [1, most_streams, 0]]
    assert more(counts, held, [False] * 3) == grown
    assert more(counts, held, [True, False, False]) == [[0, 2, 1], [2, 0, 16], [1, 16, 0]]


def test_growing_ends_and_takes_nothing_away() -> None:
    held = [[False, True], [True, False]]
    for count in (most_streams, 32):
        counts = [[0, count], [count, 0]]
        assert more(counts, held, [False, False]) == counts


class Kernel:
    """The session of site a, the other one being its mirror image: `most` bytes a second, of which
    a stream carries at most `each`, over 100 ms."""

    def __init__(self, *, most: float, each: float) -> None:
        self.most, self.each, self.streams, self.set = most, each, 2, list[int]()
        self.congestion_bytes = 0
        self.lost: PeerLost | None = None
        self.contributors = [0, 1]

    def stats(self) -> dict[str, Any]:
        link = {
            "streams": self.streams,
            "segments": 0,
            "retransmits": 0,
            "segment_bytes": 1448,
            "window_bytes": self.streams * self.each * 0.1,
            "congestion_bytes": self.congestion_bytes,
        }
        return {"links": {"b": link}}

    def set_paces(self, all: float, peers: Sequence[float] = ()) -> None:
        assert all == 0 and not peers

    def set_streams(self, peer: int, count: int) -> None:
        assert peer == 1
        self.streams = count
        self.set.append(count)

    def all_gather(self, data: bytes) -> "Kernel":
        row = list(struct.unpack(f"<{len(data) // 8}d", data))
        mirrored = [*row[:-2], *reversed(row[-2:])]
        self.rows = [data, struct.pack(f"<{len(row)}d", *mirrored)]
        return self

    def wait(self) -> None:
        pass

    def gathered(self) -> list[bytes]:
        return self.rows

    def links(self, *_: object, **__: object) -> Links:
        if self.lost is not None:
            raise self.lost
        mbit = min(self.most, self.each * self.streams) * 8 / 1e6
        return even_links(SITES, mbit=mbit, rtt_s=0.1)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Kernel, Streams]]:
    def make(*, fixed: bool = False, **network: float) -> tuple[Kernel, Streams]:
        kernel = Kernel(**network)
        monkeypatch.setattr(streams, "measure", kernel.links)
        return kernel, Streams(cast(_core.Session, kernel), SITES, 0, fixed=fixed)

    return make


Make = Callable[..., tuple[Kernel, Streams]]


def rates(links: Links) -> Sequence[float]:
    return [round(rate / 1e6 / 0.95) for rate in links.uplink]


def test_streams_grow_while_that_is_faster(session: Make) -> None:
    kernel, its = session(most=125e6, each=12e6)
    assert rates(its.measure()) == [125, 125]
    assert kernel.set == [8, 16]
    assert not its.are_the_limit


def test_streams_that_are_no_faster_are_given_back(session: Make) -> None:
    kernel, its = session(most=125e6, each=62e6)
    assert rates(its.measure()) == [124, 124]
    assert kernel.set == [8, 2]
    assert not its.are_the_limit


def test_a_congestion_window_that_may_grow_is_the_limit_though_more_streams_are_no_faster(
    session: Make,
) -> None:
    kernel, its = session(most=30e6, each=62e6)
    kernel.congestion_bytes = 3_000_000
    assert rates(its.measure()) == [30, 30]
    assert kernel.set == [8, 2]
    assert its.are_the_limit


def test_streams_that_are_still_too_few_are_known_as_the_limit(session: Make) -> None:
    kernel, its = session(most=125e6, each=1e6)
    assert rates(its.measure()) == [16, 16]
    assert kernel.streams == most_streams
    assert its.are_the_limit


def test_measuring_again_begins_with_the_streams_of_the_join(session: Make) -> None:
    kernel, its = session(most=125e6, each=20e6)
    its.measure()
    assert kernel.streams == 8
    kernel.each = 100e6
    its.measure()
    assert kernel.streams == 2


def test_streams_stay_as_they_were_where_measuring_them_again_fails(session: Make) -> None:
    kernel, its = session(most=125e6, each=12e6)
    its.measure()
    kernel.lost = PeerLost('site "b" lost', peer="b")
    with pytest.raises(PeerLost):
        its.measure()
    assert kernel.streams == 16


def test_fixed_streams_stay(session: Make) -> None:
    kernel, its = session(most=125e6, each=12e6, fixed=True)
    assert rates(its.measure()) == [24, 24]
    assert kernel.set == []
    assert its.are_the_limit
