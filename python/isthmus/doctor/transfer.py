"""Bulk data over some connections, one way or both at once, and what came of it."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from isthmus.doctor import tcp_info
from isthmus.doctor.measurements import Flow
from isthmus.doctor.tcp_info import TcpInfo

_chunk_bytes = 64 << 10
_ticks = 12  # both ends look at the counts of all connections so often


@dataclass(kw_only=True)
class _Stream:
    """One connection of a test, and what each thread saw of it at each tick."""

    socket: socket.socket
    broken: bool = False
    sent: list[TcpInfo] = field(default_factory=list)
    received: list[TcpInfo] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """flows: in the order asked, None where a connection broke. busy: processors in use."""

    flows: list[Flow | None]
    busy: float


def exchange(
    groups: Sequence[Sequence[socket.socket]], *, seconds: float, sends: bool = True
) -> Result:
    """Receive, and send as fast as it goes, over all connections of all groups (one a peer).

    The other ends must receive at the same time; `sends`: whether this one sends. Connections are
    left open, with data on the way: close them by `sockets.drop`.
    """
    made = [[_Stream(socket=stream) for stream in group] for group in groups]
    streams = [stream for group in made for stream in group]
    for stream in streams:
        stream.socket.setblocking(False)
    sender = threading.Thread(target=_send, args=(streams, seconds, sends))
    sender.start()
    began, busy_s = time.monotonic(), time.process_time()
    _receive(streams, seconds)
    sender.join()
    busy = (time.process_time() - busy_s) / (time.monotonic() - began)
    return Result(flows=[_flow(group, seconds) for group in made], busy=busy)


def _send(streams: Sequence[_Stream], seconds: float, sends: bool) -> None:
    # Random, as a VPN on the way may compress.
    data = memoryview(os.urandom(_chunk_bytes))

    def some(stream: _Stream) -> None:
        stream.socket.send(data)

    def look(stream: _Stream) -> None:
        stream.sent.append(tcp_info.of(stream.socket))

    _drive(streams, selectors.EVENT_WRITE if sends else 0, some, look, seconds)


def _receive(streams: Sequence[_Stream], seconds: float) -> None:
    memory = memoryview(bytearray(_chunk_bytes))

    def some(stream: _Stream) -> None:
        if not stream.socket.recv_into(memory):
            raise ConnectionError("closed by the peer")

    def look(stream: _Stream) -> None:
        stream.received.append(tcp_info.of(stream.socket))

    _drive(streams, selectors.EVENT_READ, some, look, seconds)


def _drive(
    streams: Sequence[_Stream],
    event: int,
    some: Callable[[_Stream], None],
    look: Callable[[_Stream], None],
    seconds: float,
) -> None:
    """Call `some` for whatever is ready, and `look` at the begin and at every tick."""
    begin = time.monotonic()
    with selectors.DefaultSelector() as ready:
        for stream in streams if event else ():
            ready.register(stream.socket, event, stream)
        for tick in range(_ticks + 1):
            while (left := begin + tick * seconds / _ticks - time.monotonic()) > 0:
                if not ready.get_map():
                    time.sleep(left)
                for key, _ in ready.select(left):
                    try:
                        some(key.data)
                    except BlockingIOError:
                        continue
                    except OSError:
                        key.data.broken = True
                        ready.unregister(key.fileobj)
            for stream in streams:
                look(stream)


def _flow(streams: Sequence[_Stream], seconds: float) -> Flow | None:
    if any(stream.broken for stream in streams):
        return None
    ticks = range(_ticks + 1)
    tick_s = seconds / _ticks
    sent = [[stream.sent[tick] for stream in streams] for tick in ticks]
    received = [[stream.received[tick] for stream in streams] for tick in ticks]
    return Flow(
        streams=len(streams),
        sending=tcp_info.sent(sent, tick_s=tick_s),
        receiving=tcp_info.received(received, tick_s=tick_s),
    )
