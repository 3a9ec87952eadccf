"""The public surface over loopback: three sites in one process, and everything one can do wrong."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import isthmus
import numpy as np
import pytest
from isthmus import _core, config, testing
from isthmus.session import Session

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def world() -> Iterator[list[Session]]:
    with testing.sites(3) as sessions:
        yield sessions


def everywhere(sessions: list[Session], call: Callable[[Session], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(call, sessions))


def test_all_know_the_same_roster(world: list[Session]) -> None:
    assert [session.rank for session in world] == [0, 1, 2]
    assert [session.site for session in world] == ["site00", "site01", "site02"]
    assert {session.sites for session in world} == {("site00", "site01", "site02")}
    assert {session.world_size for session in world} == {3}
    assert len({session.generation for session in world}) == 1
    assert repr(world[1]) == "<isthmus.Session 'site01', rank 1 of 3>"


def test_mean_is_in_place_weighted_and_names_its_contributors(world: list[Session]) -> None:
    xs = [np.full((5, 1000), rank, np.float32) for rank in range(3)]
    works = [s.all_reduce(x, weight=s.rank + 1) for s, x in zip(world, xs, strict=True)]
    for work in works:
        work.wait(20)
        assert work.done()
        assert work.contributors == ("site00", "site01", "site02")
    for x in xs:
        np.testing.assert_allclose(x, 8 / 6, rtol=1e-6)
        np.testing.assert_array_equal(x, xs[0])


def test_sum_adds(world: list[Session]) -> None:
    xs = [np.arange(7, dtype=np.float32) for _ in world]
    for work in [s.all_reduce(x, op="sum") for s, x in zip(world, xs, strict=True)]:
        work.wait(20)
    np.testing.assert_array_equal(xs[2], 3 * np.arange(7))


def test_many_in_flight_and_bf16_end_identical(world: list[Session]) -> None:
    generator = np.random.default_rng(1)
    rows = [[generator.standard_normal(n, np.float32) for _ in world] for n in (1, 100, 70_000)]
    mean = [np.mean(row, axis=0) for row in rows]
    works = [s.all_reduce(x, codec="bf16") for row in rows for s, x in zip(world, row, strict=True)]
    for work in works:
        work.wait(20)
    for row, expected in zip(rows, mean, strict=True):
        np.testing.assert_allclose(row[0], expected, atol=0.05)
        assert row[0].tobytes() == row[1].tobytes() == row[2].tobytes()


def test_tensors_and_futures(world: list[Session]) -> None:
    xs = [torch.full((4,), float(s.rank)) for s in world]
    futures = [s.all_reduce(x).future() for s, x in zip(world, xs, strict=True)]
    for future, x in zip(futures, xs, strict=True):
        assert future.wait() is x
        assert x.tolist() == [1.0] * 4


def test_broadcast_takes_any_dtype(world: list[Session]) -> None:
    arrays = [np.full((3, 2), s.rank, np.int16) for s in world]
    everywhere(world, lambda s: s.broadcast(arrays[s.rank], root=2))
    tensors = [torch.full((5,), float(s.rank), dtype=torch.bfloat16) for s in world]
    everywhere(world, lambda s: s.broadcast(tensors[s.rank], 1))
    assert all((x == 2).all() for x in arrays)
    assert all((x == 1).all() for x in tensors)


def test_all_gather_takes_bytes_of_different_sizes(world: list[Session]) -> None:
    gathered = everywhere(world, lambda s: s.all_gather(b"x" * s.rank))
    assert gathered == [[b"", b"x", b"xx"]] * 3


def test_barrier_waits_for_all(world: list[Session]) -> None:
    waiting = threading.Thread(target=world[0].barrier)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    everywhere(world[1:], lambda s: s.barrier())
    waiting.join(20)
    assert not waiting.is_alive()


_read_only = np.zeros(4, np.float32)
_read_only.flags.writeable = False
_bad: list[tuple[str, Any, str]] = [
    ("a list", [1.0], "takes a NumPy array or a CPU tensor, not list"),
    ("float64", np.zeros(4), "takes float32, not float64"),
    ("float64 tensor", torch.zeros(4, dtype=torch.float64), "takes float32, not float64"),
    ("big endian", np.zeros(4, ">f4"), "takes native byte order|takes float32"),
    ("not contiguous", np.zeros((4, 4), np.float32)[:, ::2], "C-contiguous"),
    ("not contiguous tensor", torch.zeros(4, 4).t(), "contiguous tensor"),
    ("read-only", _read_only, "read-only"),
    ("empty", np.zeros(0, np.float32), "empty"),
    ("empty tensor", torch.zeros(0, 3), "empty"),
    ("sparse", torch.zeros(4).to_sparse(), "dense tensors"),
    ("device", torch.zeros(4, device="meta"), "CPU tensors, not one on meta"),
    ("needed by autograd", torch.zeros(4, requires_grad=True) * 2, "autograd still needs"),
]


@pytest.mark.parametrize(("what", "x", "text"), _bad, ids=[row[0] for row in _bad])
def test_all_reduce_says_what_is_wrong_with(
    world: list[Session], what: str, x: Any, text: str
) -> None:
    with pytest.raises(isthmus.Refused, match=text):
        world[0].all_reduce(x)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"codec": "zip"}, "codec is 'zip'; expected one of f32, bf16"),
        ({"op": "max"}, "op is 'max'"),
        ({"weight": -1.0}, "weight is -1.0"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"schedule": "magic"}, "magic"),
    ],
)
def test_all_reduce_refuses_options(
    world: list[Session], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(isthmus.Refused, match=text):
        world[0].all_reduce(np.zeros(4, np.float32), **options)


def test_other_calls_refuse_too(world: list[Session]) -> None:
    with pytest.raises(isthmus.Refused, match="root is 3"):
        world[0].broadcast(np.zeros(1), root=3)
    with pytest.raises(isthmus.Refused, match="Python objects"):
        world[0].broadcast(np.array([object()]))
    with pytest.raises(isthmus.Refused, match="takes bytes, not str"):
        world[0].all_gather("text")  # type: ignore[arg-type]


def test_the_refusals_above_left_the_session_usable(world: list[Session]) -> None:
    everywhere(world, lambda s: s.barrier())


def test_a_wait_that_times_out_leaves_the_work_going_on(world: list[Session]) -> None:
    xs = [np.full(3, s.rank, np.float32) for s in world]
    early = world[0].all_reduce(xs[0])
    with pytest.raises(isthmus.Timeout):
        early.wait(0.05)
    assert not early.done()
    later = [s.all_reduce(x) for s, x in zip(world[1:], xs[1:], strict=True)]
    for work in [early, *later]:
        work.wait(20)
    assert xs[0].tolist() == [1.0] * 3


def test_two_sessions_in_one_process_and_double_close() -> None:
    with testing.sites(2) as one, testing.sites(2) as two:
        for sessions in (one, two):
            everywhere(sessions, lambda s: s.barrier())
        one[0].close()
        one[0].close()
        with pytest.raises(isthmus.Refused, match="closed: join"):
            one[0].barrier()
        everywhere(two, lambda s: s.barrier())


def test_closing_ends_what_is_in_flight_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with testing.sites(2) as sessions:
        x = np.zeros(4, np.float32)
        work = sessions[0].all_reduce(x)
        future = work.future()
        sessions[0].close()
        for _ in range(2):
            with pytest.raises(isthmus.Cancelled):
                work.wait(20)
        with pytest.raises(isthmus.Cancelled):
            future.wait()
    assert set(threading.enumerate()) == before


def test_a_site_that_leaves_is_named_to_the_others() -> None:
    with testing.sites(3) as sessions:
        works = [s.all_reduce(np.zeros(4, np.float32)) for s in sessions[:2]]
        sessions[2].close()
        for work in works:
            with pytest.raises(isthmus.PeerLost) as caught:
                work.wait(20)
            assert caught.value.peer == "site02"
            assert "site02" in str(caught.value)


def test_different_lengths_are_refused() -> None:
    with testing.sites(2) as sessions:
        works = [s.all_reduce(np.zeros(4 + s.rank, np.float32)) for s in sessions]
        for work in works:
            with pytest.raises(isthmus.IsthmusError):
                work.wait(20)


def test_a_fork_is_told_that_it_has_no_connections() -> None:
    with testing.sites(1) as (session,):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                session.barrier()
                os.write(writer, b"it worked")
            except isthmus.Refused as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert b"connections do not survive" in os.read(reader, 1000)
        os.close(reader)
        os.close(writer)
        session.barrier()


def test_plain_tcp_beyond_this_machine_is_warned_about() -> None:
    def warnings_for(rendezvous: str, **environment: str) -> list[str]:
        settings = config.join_settings(
            rendezvous=rendezvous, site="a", sites=1, environment=environment
        )
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            config.warn_if_exposed(settings)
        return [str(one.message) for one in seen]

    assert "NOT encrypted" in warnings_for("203.0.113.5:29600")[0]
    assert warnings_for("127.0.0.1:29600") == []
    assert warnings_for("203.0.113.5:29600", WAN_SITES="3") == []


def test_join_gives_a_follower_where_torchrun_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "1")
    with isthmus.join() as follower:
        assert isinstance(follower, isthmus.Follower)
        with pytest.raises(isthmus.Refused, match="all_reduce is for rank 0 of the site"):
            follower.all_reduce(np.zeros(4, np.float32))


def test_the_coordinator_command_prints_where_it_is() -> None:
    import signal
    import subprocess
    import sys

    command = [sys.executable, "-m", "isthmus.cli", "coordinator", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        try:
            with ThreadPoolExecutor(2) as pool:
                made = list(
                    pool.map(lambda n: Session(testing.settings(n, 2, address)), ("a", "b"))
                )
            testing.close(*made)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert hasattr(_core, "Coordinator")


def test_an_abort_ends_the_session_at_every_site_for_the_same_reason() -> None:
    with testing.sites(3) as sessions:
        xs = [np.ones(4, np.float32) for _ in sessions]
        # Site 1 has not begun it, so it cannot end well before the abort.
        works = [sessions[rank].all_reduce(xs[rank]) for rank in (0, 2)]
        sessions[1].abort(isthmus.PeerLost("the other rail lost it", "site02"))
        for work in [*works, sessions[1].all_reduce(xs[1])]:
            with pytest.raises(isthmus.PeerLost, match="the other rail lost it") as caught:
                work.wait(20)
            assert caught.value.peer == "site02"
        for session in sessions:
            with pytest.raises(isthmus.PeerLost, match="the other rail"):
                session.all_reduce(np.ones(4, np.float32)).wait(20)


def test_a_site_that_is_the_reason_of_an_abort_leaves() -> None:
    with testing.sites(2) as sessions:
        work = sessions[0].all_reduce(np.ones(4, np.float32))
        sessions[1].abort(isthmus.PeerLost("my own rank is gone", "site01"))
        with pytest.raises(isthmus.PeerLost, match="site01") as caught:
            work.wait(20)
        assert caught.value.peer == "site01"


def test_join_gives_a_gateway_of_another_rail_its_own_settings_and_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    # Nothing is there to be joined: only `register` joins a rail.
    join = {"rendezvous": "127.0.0.1:1", "site": "aws", "sites": 2, "listen": "127.0.0.1:29601"}
    followers = []
    for rank in (1, 2):
        monkeypatch.setenv("RANK", str(rank))
        followers.append(isthmus.join(**join, rails=2))  # type: ignore[arg-type]
    second, third = followers
    assert isinstance(second, isthmus.Follower) and isinstance(third, isthmus.Follower)
    assert second.gateway is not None and third.gateway is None
    assert (second.gateway.rail, second.gateway.run) == (1, "default.rail-1")
    assert str(second.gateway.listen) == "127.0.0.1:29602"
    assert (second.rails, third.rails) == (2, 2)
    with pytest.raises(isthmus.Refused, match="rank 0 of the site"):
        second.all_reduce(np.zeros(1, np.float32))
    second.close()
