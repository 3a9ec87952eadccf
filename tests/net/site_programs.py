"""Programs that the tests run at simulated sites."""

import random
from collections.abc import Callable

from isthmus._core import SimActor, SimNet, SimStream
from isthmus.errors import IsthmusError

NEVER = 2**63 - 1
MS = 1_000_000
SECOND = 1_000_000_000
ADDRESS = "site1:7000"


class Sender(SimActor):
    """Connects, writes `data`, then ends its side; keeps what it hears, and how each side ended."""

    def __init__(
        self, net: SimNet, site: int, address: str, data: bytes, *, ends: bool = True
    ) -> None:
        super().__init__()
        self.stream: SimStream | None = net.connect(site, address)
        self.left = data
        self.ends = ends
        self.heard = b""
        self.write_error = ""
        self.read_error = ""
        self.error_ns = -1
        self.connected_ns = -1
        self.steps: list[int] = []

    def step(self, now_ns: int) -> int:
        self.steps.append(now_ns)
        if self.stream is None:
            return NEVER
        if self.stream.connected() and self.connected_ns < 0:
            self.connected_ns = now_ns
        self._write(now_ns)
        self.heard, self.read_error = read_all(self.stream, self.heard, self.read_error)
        return NEVER

    def _write(self, now_ns: int) -> None:
        try:
            while self.stream and self.left and not self.write_error and self.stream.can_write():
                moved = self.stream.write(self.left)
                self.left = self.left[moved:]
        except IsthmusError as error:
            self.write_error = said(error)
            self.error_ns = now_ns
        if self.stream and not self.left and self.ends and not self.write_error:
            self.ends = False
            self.stream.shut_write()


class Receiver(SimActor):
    """Accepts everybody; keeps what came, when the last of it came, and how it ended."""

    def __init__(self, net: SimNet, site: int, address: str, *, reads: bool = True) -> None:
        super().__init__()
        self.listener = net.listen(site, address)
        self.streams: list[SimStream] = []
        self.heard: list[bytes] = []
        self.errors: list[str] = []
        self.last_ns: list[int] = []
        self.ended_ns: list[int] = []
        self.steps: list[int] = []
        self.reads = reads
        self.greeting = b""

    def step(self, now_ns: int) -> int:
        self.steps.append(now_ns)
        while stream := self.listener.accept():
            self.streams.append(stream)
            self.heard.append(b"")
            self.errors.append("")
            self.last_ns.append(-1)
            self.ended_ns.append(-1)
            if self.greeting:
                stream.write(self.greeting)
        for i, stream in enumerate(self.streams if self.reads else []):
            before = len(self.heard[i])
            self.heard[i], error = read_all(stream, self.heard[i], self.errors[i])
            if len(self.heard[i]) > before:
                self.last_ns[i] = now_ns
            if error and not self.errors[i]:
                self.ended_ns[i] = now_ns
            self.errors[i] = error
        return NEVER

    def all_ended(self, count: int = 1) -> bool:
        return len(self.errors) >= count and all(self.errors)


def said(error: IsthmusError) -> str:
    return f"{type(error).__name__}: {error}"


def read_all(stream: SimStream, heard: bytes, error: str) -> tuple[bytes, str]:
    pieces = [heard]
    try:
        while not error and stream.can_read():
            pieces.append(stream.read(1 << 20))
    except IsthmusError as failure:
        error = said(failure)
    return b"".join(pieces), error


class Pair:
    """Site 0 sends `data` to site 1."""

    def __init__(self, data: bytes, *, ends: bool = True, reads: bool = True, **options: object):
        self.net = SimNet(**options)
        self.receiver = Receiver(self.net, 1, ADDRESS, reads=reads)
        self.sender = Sender(self.net, 0, ADDRESS, data, ends=ends)
        self.net.add(1, self.receiver)
        self.net.add(0, self.sender)

    def run(self, limit_ns: int = 1000 * SECOND, until: Callable[[], bool] | None = None) -> str:
        return self.net.run_until(until or self.receiver.all_ended, limit_ns)

    @property
    def heard(self) -> bytes:
        return self.receiver.heard[0]

    @property
    def error(self) -> str:
        return self.receiver.errors[0]


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes of which no part equals another soon."""
    return random.Random(seed).randbytes(size)
