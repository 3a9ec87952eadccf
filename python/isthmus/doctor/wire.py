"""What the doctor's probes say to each other: a greeting, its answer, and messages of one size.

All integers are in network order. The greeting carries the run's token, which the sites got over
their session: who does not know it is a stranger. Nothing has a length of its own, so nobody can
ask for memory.
"""

from __future__ import annotations

import enum
import hmac
import socket
import struct
import time
from dataclasses import dataclass

from isthmus.config import max_streams

magic = b"ISDR"
version = 1
token_bytes = 16
_greeting = struct.Struct("!4sBBHHH16s")
_answer = struct.Struct("!4sBxH")
_message = struct.Struct("!BxHIqqq")
greeting_bytes, answer_bytes = _greeting.size, _answer.size


class ProbeError(Exception):
    """A probe that failed. Its text can follow the name of a link and a colon."""


class Purpose(enum.IntEnum):
    reach = 1  # only to see whether a connection is possible
    pair = 2  # stream 0 is the conversation, the others carry data
    together = 3


class Kind(enum.IntEnum):
    ping = 1  # times: sent
    pong = 2  # times: as in the ping, received, sent back
    start = 3  # streams, milliseconds
    ready = 4
    done = 5


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """The first words on every connection: what for, from which rank, which stream of how many."""

    purpose: Purpose
    rank: int
    stream: int = 0
    streams: int = 1


@dataclass(frozen=True, kw_only=True)
class Message:
    kind: Kind
    streams: int = 0
    milliseconds: int = 0
    times_ns: tuple[int, int, int] = (0, 0, 0)


def pack_greeting(greeting: Greeting, token: bytes) -> bytes:
    """REQUIRES: len(token) == token_bytes."""
    at = (greeting.rank, greeting.stream, greeting.streams)
    return _greeting.pack(magic, version, greeting.purpose, *at, token)


def parse_greeting(data: bytes, token: bytes) -> Greeting | None:
    """None: a stranger, or another version of the doctor."""
    begin, number, purpose, rank, stream, streams, theirs = _greeting.unpack(data)
    if begin != magic or number != version or not hmac.compare_digest(theirs, token):
        return None
    if purpose not in list(Purpose) or not stream < streams <= max_streams:
        return None
    return Greeting(purpose=Purpose(purpose), rank=rank, stream=stream, streams=streams)


def pack_answer(rank: int) -> bytes:
    return _answer.pack(magic, version, rank)


def parse_answer(data: bytes) -> int | None:
    """The rank of who answered; None: no doctor."""
    begin, number, rank = _answer.unpack(data)
    return int(rank) if (begin, number) == (magic, version) else None


def pack(message: Message) -> bytes:
    return _message.pack(message.kind, message.streams, message.milliseconds, *message.times_ns)


def parse(data: bytes) -> Message:
    kind, streams, milliseconds, *times = _message.unpack(data)
    if kind not in list(Kind):
        raise ProbeError("the peer said what no doctor says")
    first, second, third = times
    return Message(
        kind=Kind(kind),
        streams=streams,
        milliseconds=milliseconds,
        times_ns=(first, second, third),
    )


def receive(stream: socket.socket, size: int, deadline: float) -> bytes:
    """Exactly `size` bytes, before time.monotonic() is `deadline`. ProbeError: it took longer, or
    the connection ended."""
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ProbeError("no answer in time")
        stream.settimeout(left)
        try:
            part = stream.recv(size - len(data))
        except TimeoutError:
            raise ProbeError("no answer in time") from None
        except OSError as error:
            raise ProbeError(f"the connection broke ({error.strerror})") from None
        if not part:
            raise ProbeError("the peer closed the connection")
        data += part
    return data


class Conversation:
    """Messages with one peer, all of them before one deadline (of time.monotonic())."""

    def __init__(self, stream: socket.socket, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def say(self, message: Message) -> None:
        self._stream.settimeout(max(0.001, self._deadline - time.monotonic()))
        try:
            self._stream.sendall(pack(message))
        except OSError as error:
            raise ProbeError(f"the connection broke ({error.strerror or error})") from None

    def hear(self, *kinds: Kind) -> Message:
        """The next message, which must be one of these kinds."""
        message = parse(receive(self._stream, _message.size, self._deadline))
        if message.kind not in kinds:
            raise ProbeError(f"the peer said {message.kind.name} out of turn")
        return message
