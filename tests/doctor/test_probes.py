"""The probes' wire and their connections, over loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from isthmus.config import Address
from isthmus.doctor import pair, sockets, transfer, wire
from isthmus.doctor.sockets import Door
from isthmus.doctor.wire import (
    Conversation,
    Greeting,
    Kind,
    Message,
    ProbeError,
    Purpose,
)

TOKEN = bytes(range(wire.token_bytes))


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@contextlib.contextmanager
def door(rank: int = 0) -> Iterator[tuple[Door, Address]]:
    listener = sockets.open_listener("127.0.0.1", [0])
    address = Address("127.0.0.1", listener.getsockname()[1])
    made = Door(listener, token=TOKEN, rank=rank, congestion="bbr")
    try:
        yield made, address
    finally:
        made.close()


def dial(address: Address, greeting: Greeting, *, token: bytes = TOKEN, rank: int = 0) -> None:
    stream = sockets.dial(
        address, greeting, congestion="bbr", deadline=soon(), token=token, rank=rank
    )
    stream.close()


@contextlib.contextmanager
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@contextlib.contextmanager
def connected(streams: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Streams of rank 1, which dials, and of rank 0."""
    with door() as (taker, address):
        dialled = sockets.dial_all(
            address,
            Purpose.pair,
            own_rank=1,
            rank=0,
            streams=streams,
            congestion="bbr",
            deadline=soon(),
            token=TOKEN,
        )
        taken = taker.take(Purpose.pair, 1, streams=streams, deadline=soon())
        try:
            yield dialled, taken
        finally:
            sockets.drop([*dialled, *taken])


def test_greetings_and_messages_come_back_as_they_went() -> None:
    greeting = Greeting(purpose=Purpose.pair, rank=63, stream=4, streams=9)
    assert wire.parse_greeting(wire.pack_greeting(greeting, TOKEN), TOKEN) == greeting
    message = Message(kind=Kind.pong, times_ns=(1, -2, 3))
    assert wire.parse(wire.pack(message)) == message
    assert wire.parse_answer(wire.pack_answer(7)) == 7


def test_a_stranger_is_no_greeting() -> None:
    greeting = Greeting(purpose=Purpose.pair, rank=1)
    good = bytearray(wire.pack_greeting(greeting, TOKEN))
    for at in range(len(good)):
        if at in (6, 7):
            continue  # the rank, which may be any
        bad = bytearray(good)
        bad[at] ^= 0x80
        assert wire.parse_greeting(bytes(bad), TOKEN) is None, at


def test_a_door_hands_over_the_streams_of_who_knows_the_token() -> None:
    with connected(3) as (dialled, taken):
        for i, stream in enumerate(dialled):
            stream.sendall(bytes([i]))
        assert [stream.recv(1) for stream in taken] == [b"\0", b"\1", b"\2"]


def test_strangers_are_shown_out_and_the_door_stays_open() -> None:
    with door() as (_, address):
        with pytest.raises(ProbeError, match=r"closed|broke"):
            dial(address, Greeting(purpose=Purpose.reach, rank=1), token=bytes(16))
        with socket.create_connection((address.host, address.port)) as http:
            http.sendall(b"GET / HTTP/1.1\r\nHost: doctor\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert http.recv(100) == b""
        dial(address, Greeting(purpose=Purpose.reach, rank=1))


def test_who_says_nothing_keeps_nobody_out() -> None:
    with door() as (_, address), socket.create_connection((address.host, address.port)):
        dial(address, Greeting(purpose=Purpose.reach, rank=1))


def test_another_site_at_the_address_is_told_from_the_right_one() -> None:
    with door(rank=2) as (_, address), pytest.raises(ProbeError, match="somebody else answers"):
        dial(address, Greeting(purpose=Purpose.reach, rank=1), rank=0)


def test_a_closed_port_and_a_name_of_nobody_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ProbeError, match="refused"):
        dial(Address("127.0.0.1", port), Greeting(purpose=Purpose.reach, rank=1))
    with pytest.raises(ProbeError, match=r"no address for nobody\.invalid"):
        dial(Address("nobody.invalid", 1), Greeting(purpose=Purpose.reach, rank=1))


def test_streams_that_do_not_come_are_counted() -> None:
    with door() as (taker, _), pytest.raises(ProbeError, match="0 of 2 streams came"):
        taker.take(Purpose.pair, 1, streams=2, deadline=soon(0.05))


def test_a_message_out_of_turn_or_of_no_kind_ends_the_conversation() -> None:
    with ends() as (one, other):
        talk = Conversation(other, soon())
        Conversation(one, soon()).say(Message(kind=Kind.done))
        with pytest.raises(ProbeError, match="done out of turn"):
            talk.hear(Kind.start)
        one.sendall(b"\xff" * len(wire.pack(Message(kind=Kind.done))))
        with pytest.raises(ProbeError, match="no doctor"):
            talk.hear(Kind.start)


def test_silence_and_an_end_are_told_apart() -> None:
    with ends() as (one, other):
        with pytest.raises(ProbeError, match="no answer in time"):
            wire.receive(other, 1, soon(0.05))
        one.close()
        with pytest.raises(ProbeError, match="closed the connection"):
            wire.receive(other, 1, soon())


def test_a_pair_measures_all_from_both_ends() -> None:
    with connected(pair.streams) as (dialled, taken), ThreadPoolExecutor(2) as pool:
        deadline = soon(2.0)
        leads = pool.submit(pair.measure, "b", dialled, leads=True, deadline=deadline)
        follows = pool.submit(pair.measure, "a", taken, leads=False, deadline=deadline)
        one, other = leads.result().probe, follows.result().probe
    assert (one.failure, other.failure) == ("", "")
    assert one.echo is not None and other.echo is None
    assert 0 <= one.echo.round_trip_s < 1
    for probe in (one, other):
        assert probe.one is not None and probe.many is not None and probe.calm is not None
        assert (probe.one.streams, probe.many.streams) == (1, pair.many_streams)
        assert probe.many.sending.rate > 0 and probe.many.receiving.rate > 0


def test_a_peer_that_leaves_in_the_middle_is_a_failure_and_no_hang() -> None:
    with connected(pair.streams) as (dialled, taken), ThreadPoolExecutor(1) as pool:
        leads = pool.submit(pair.measure, "b", dialled, leads=True, deadline=soon(2.0))
        talk = Conversation(taken[0], soon())
        talk.hear(Kind.ping)
        sockets.drop(taken)
        probe = leads.result().probe
    assert "connection" in probe.failure
    assert probe.many is None


def test_a_peer_that_asks_for_another_test_is_refused() -> None:
    with connected(pair.streams) as (dialled, taken), ThreadPoolExecutor(1) as pool:
        follows = pool.submit(pair.measure, "b", taken, leads=False, deadline=soon(2.0))
        start = Message(kind=Kind.start, streams=1, milliseconds=3_600_000)
        Conversation(dialled[0], soon()).say(start)
        assert "another test" in follows.result().probe.failure


def test_one_way_data_is_counted_at_both_ends() -> None:
    with connected(2) as (dialled, taken):
        results: list[transfer.Result] = []
        receiver = threading.Thread(
            target=lambda: results.append(transfer.exchange([taken], seconds=0.3, sends=False))
        )
        receiver.start()
        sent = transfer.exchange([dialled], seconds=0.3).flows[0]
        receiver.join()
    received = results[0].flows[0]
    assert sent is not None and received is not None
    assert sent.sending.rate > 0 and received.receiving.rate > 0
    assert received.sending.rate == 0 and sent.receiving.rate == 0
