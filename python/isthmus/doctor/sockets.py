"""The probe's connections: tuned as the core tunes its own, dialled, and taken at a door."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from isthmus.config import Address, is_private
from isthmus.doctor import wire
from isthmus.doctor.wire import Greeting, ProbeError, Purpose

# As in csrc/net/tcp.cpp, so that a probe meets what training will meet.
send_buffer_bytes = 4 << 20
user_timeout_ms = 5000
# Less than there: what is unsent when a test ends, the next one has to wait for.
unsent_low_water_bytes = 64 << 10

SO_MAX_PACING_RATE = 47  # asm-generic/socket.h
TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; Python has no name for it before 3.12
greeting_patience_s = 2.0
most_greetings = 64  # connections at a door that have not yet said who they are


def tune(stream: socket.socket, *, congestion: str, local: bool) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_low_water_bytes)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
    if not local and congestion:
        with contextlib.suppress(OSError):  # a kernel without it keeps its own
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())


def pace(streams: Sequence[socket.socket], rate: float) -> None:
    """Hold them to `rate` bytes a second in all."""
    each = max(1, min(2**32 - 2, round(rate / len(streams))))
    for stream in streams:
        stream.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("I", each))


def drop(streams: Iterable[socket.socket]) -> None:
    """Close at once: what is still queued must not fill the path of the next test."""
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


def facing(remote: Address) -> str:
    """This machine's address that faces `remote`, by its routes; nothing is sent."""
    kind, _, _, _, where = socket.getaddrinfo(*_pair(remote), type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind, socket.SOCK_DGRAM) as asker:
        asker.connect(where)
        return str(asker.getsockname()[0])


def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


def is_unbound(host: str) -> bool:
    """Whether a bound address stands for all of the machine's."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def dial(
    address: Address,
    greeting: Greeting,
    *,
    congestion: str,
    deadline: float,
    token: bytes,
    rank: int,
) -> socket.socket:
    """A connection to the door of site `rank`. ProbeError says why there is none."""
    try:
        found = socket.getaddrinfo(*_pair(address), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProbeError(f"no address for {address.host} ({error.strerror})") from None
    kind, _, _, _, where = found[0]
    stream = socket.socket(kind, socket.SOCK_STREAM)
    try:
        tune(stream, congestion=congestion, local=is_private(str(where[0])))
        stream.settimeout(max(0.001, deadline - time.monotonic()))
        stream.connect(where)
        stream.sendall(wire.pack_greeting(greeting, token))
        answer = wire.parse_answer(wire.receive(stream, wire.answer_bytes, deadline))
        if answer != rank:
            raise ProbeError("somebody else answers there")
    except BaseException as error:
        stream.close()
        raise _told(error) from None
    return stream


def _told(error: BaseException) -> BaseException:
    """What a failed dial means to who has to open a firewall."""
    if isinstance(error, TimeoutError):
        return ProbeError("no answer: a firewall drops it, or no route leads there")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError("refused: a firewall or router on the way says no")
    if isinstance(error, OSError):
        return ProbeError(f"{error.strerror or error}")
    return error


def dial_all(
    address: Address,
    purpose: Purpose,
    *,
    own_rank: int,
    rank: int,
    streams: int,
    congestion: str,
    deadline: float,
    token: bytes,
) -> list[socket.socket]:
    """All streams of one purpose at once: one after another they would take as many round trips."""

    def one(stream: int) -> socket.socket:
        greeting = Greeting(purpose=purpose, rank=own_rank, stream=stream, streams=streams)
        return dial(
            address, greeting, congestion=congestion, deadline=deadline, token=token, rank=rank
        )

    with ThreadPoolExecutor(streams) as pool:
        calls = [pool.submit(one, stream) for stream in range(streams)]
    made = [call.result() for call in calls if call.exception() is None]
    failed = [error for call in calls if (error := call.exception()) is not None]
    if failed:
        drop(made)
        raise failed[0]
    return made


class Door:
    """Takes the connections of who knows the token; a thread of its own. Close it.

    Whoever else comes, or says nothing for two seconds, is shown out.
    """

    def __init__(
        self, listener: socket.socket, *, token: bytes, rank: int, congestion: str
    ) -> None:
        self._listener = listener
        self._token = token
        self._rank = rank
        self._congestion = congestion
        self._arrived: dict[tuple[Purpose, int, int, int], socket.socket] = {}
        self._news = threading.Condition()
        self._greetings = threading.Semaphore(most_greetings)
        self._thread = threading.Thread(target=self._run, name="isthmus doctor's door", daemon=True)
        self._thread.start()

    def take(
        self, purpose: Purpose, rank: int, *, streams: int, deadline: float
    ) -> list[socket.socket]:
        """All streams of one purpose that site `rank` dials. ProbeError: not before `deadline`."""
        wanted = [(purpose, rank, stream, streams) for stream in range(streams)]
        with self._news:
            there = self._news.wait_for(
                lambda: all(key in self._arrived for key in wanted), deadline - time.monotonic()
            )
            found = [self._arrived.pop(key) for key in wanted if key in self._arrived]
        if there:
            return found
        drop(found)
        raise ProbeError(f"it did not connect ({len(found)} of {streams} streams came)")

    def close(self) -> None:
        # Closing alone would not wake the accept() of the thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._news:
            drop(self._arrived.values())
            self._arrived.clear()

    def _run(self) -> None:
        while True:
            try:
                stream, where = self._listener.accept()
            except OSError:
                return
            if not self._greetings.acquire(blocking=False):
                stream.close()
                continue
            local = is_private(str(where[0]))
            threading.Thread(target=self._welcome, args=(stream, local), daemon=True).start()

    def _welcome(self, stream: socket.socket, local: bool) -> None:
        try:
            deadline = time.monotonic() + greeting_patience_s
            data = wire.receive(stream, wire.greeting_bytes, deadline)
            greeting = wire.parse_greeting(data, self._token)
            if greeting is None:
                raise ProbeError("a stranger")
            tune(stream, congestion=self._congestion, local=local)
            stream.sendall(wire.pack_answer(self._rank))
        except (ProbeError, OSError):
            stream.close()
            return
        finally:
            self._greetings.release()
        if greeting.purpose is Purpose.reach:
            stream.close()
            return
        key = (greeting.purpose, greeting.rank, greeting.stream, greeting.streams)
        with self._news:
            if (before := self._arrived.pop(key, None)) is not None:
                before.close()
            self._arrived[key] = stream
            self._news.notify_all()


def open_listener(host: str, ports: Sequence[int]) -> socket.socket:
    """Listens at the first of these ports that is free. OSError: at none."""
    for port in ports[:-1]:
        with contextlib.suppress(OSError):
            return _listen(host, port)
    return _listen(host, ports[-1])


def _listen(host: str, port: int) -> socket.socket:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=kind, backlog=512)
