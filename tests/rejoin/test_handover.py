"""What a donor says of its state, before memory is taken for it and after it came."""

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from isthmus import _core
from isthmus.errors import Refused, WireError
from isthmus.memory import available_bytes
from isthmus.rejoin import handover
from isthmus.rejoin.encoding import encode
from isthmus.rejoin.handover import Standing, Whole, check_room


class Told:
    """A session in which the donor, rank 0, says these sizes, and nobody may hand over anything."""

    sites = ("amber", "birch", "cedar")

    def __init__(self, rank: int, *sizes: int) -> None:
        self.rank = rank
        self._sizes = struct.pack("<QQ", *sizes)

    def all_gather(self, data: bytes) -> list[bytes]:
        return [self._sizes, b"", b""]

    @property
    def seat(self) -> Any:
        raise AssertionError("it would begin to hand over")


def transfer(session: Any, copies: int = 1) -> None:
    state: Any = None
    handover._transfer(session, state, Standing(has_state=False), 0, [1], copies)


def test_a_state_larger_than_the_memory_that_is_left_is_refused_before_any_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "available_bytes", lambda: 8_000_000_000)
    monkeypatch.setattr(torch, "empty", lambda *a, **k: pytest.fail("memory is taken"))
    with pytest.raises(Refused, match=r"'amber' says .* has 8\.2 GB, .* 8 GB of memory"):
        transfer(Told(1, 64, 8_200_000_000))


def test_a_state_that_fits_once_is_refused_where_each_of_several_ranks_takes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "available_bytes", lambda: 8_000_000_000)
    monkeypatch.setattr(torch, "empty", lambda *a, **k: pytest.fail("memory is taken"))
    with pytest.raises(Refused, match="left for it 2 times, once a rank"):
        transfer(Told(1, 64, 4_100_000_000), copies=2)
    check_room(4_000_000_000, "amber", 8_000_000_000, copies=2)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("sizes", [(64, 1 << 63), (65, 64), (1 << 63, 64)])
def test_sizes_that_no_state_has_end_nobody_but_with_a_typed_error(
    rank: int, sizes: tuple[int, int]
) -> None:
    with pytest.raises(WireError, match="site 'amber' says"):
        transfer(Told(rank, *sizes))


@pytest.mark.parametrize(
    ("digests", "holders"),
    [((7, 7, 7), (0, 1, 2)), ((7, None, 7), (0, 2)), ((7, None, None), (0,)), ((7, 0, 7), ())],
)
def test_those_that_are_left_hold_the_state_unless_one_has_none_yet(
    digests: tuple[int | None, ...], holders: tuple[int, ...]
) -> None:
    class Compared:
        def all_gather(self, data: bytes) -> list[bytes]:
            return [b"" if d is None else _core.boundary_word(step=3, digest=d) for d in digests]

    session: Any = Compared()
    state: Any = None
    assert handover.compare(session, state, complete=False, step=3) == holders


def test_where_the_system_does_not_say_what_is_left_nothing_is_refused() -> None:
    check_room(1 << 40, "amber", None)


def test_the_least_of_what_machine_and_control_group_have_left_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 99 kB\nMemAvailable:    2048 kB\n")
    assert available_bytes(meminfo, tmp_path) == 2 << 20
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_bytes(meminfo, tmp_path) == 600_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000\nactive_file 7\n")
    assert available_bytes(meminfo, tmp_path) == 900_000  # files that were read are given up
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 2 << 20
    assert available_bytes(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize("said", [[1, 2], {"step": 3}, {"step": "x", "training": {}}])
def test_what_is_no_state_is_a_wire_error(said: Any) -> None:
    encoded = encode(said)
    state: Any = None
    with pytest.raises(WireError, match="is no state"):
        handover.put(state, Whole(encoded.whole(), len(encoded.text)))
