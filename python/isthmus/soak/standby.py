"""standby: a process that has imported all that a site needs; its copies (fork) are sites at once.

    python -m isthmus.soak.standby SOCKET

It lives outside the sites, so that what is killed there does not end it, as an operator's would.
Whoever runs ask.py gets a copy: in the asker's network namespace, with its standard error, killed
when the asker is, and the asker ends with its status.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

MOST_BYTES = 1 << 16  # of arguments
PATIENCE_S = 5.0  # with who does not say what it wants


@dataclass(frozen=True)
class Asked:
    """What a copy is to do. asker: the process that whoever watches the site sees."""

    arguments: list[str]
    asker: int


@dataclass
class Copy:
    pid: int
    door: socket.socket  # to its asker


class Standby:
    def __init__(self, path: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._copies: dict[int, Copy] = {}  # by the descriptors of their processes, and of doors

    def serve(self) -> Asked:
        """Returns in each copy; in the standby itself never."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    asked = self._take(self._listener.accept()[0])
                    if asked is not None:
                        return asked
                elif key.fd in self._copies:
                    self._end(self._copies[key.fd])

    def _take(self, door: socket.socket) -> Asked | None:
        door.settimeout(PATIENCE_S)
        message, given = b"", list[int]()
        with contextlib.suppress(OSError):
            message, given, _, _ = socket.recv_fds(door, MOST_BYTES, 2)
        if len(given) < 2:
            for fd in given:
                os.close(fd)
            door.close()
            return None
        credentials = door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = os.fork()
        if pid == 0:
            self._become(*given)
            door.close()
            return Asked(message.decode().split("\0"), struct.unpack("3i", credentials)[0])
        for fd in given:
            os.close(fd)
        copy = Copy(pid, door)
        process = os.pidfd_open(pid)
        for fd in (process, door.fileno()):
            self._copies[fd] = copy
            self._selector.register(fd, selectors.EVENT_READ)
        return None

    def _become(self, namespace: int, errors: int) -> None:
        """In a copy, which keeps nothing of the standby's."""
        from isthmus.wan import network

        self._selector.close()
        self._listener.close()
        for fd, copy in self._copies.items():
            with contextlib.suppress(OSError):
                copy.door.close()
            with contextlib.suppress(OSError):
                os.close(fd)
        os.setsid()
        if os.fstat(namespace).st_ino != os.stat("/proc/self/ns/net").st_ino:
            network.enter(namespace)
        os.dup2(errors, 2)
        for fd in (namespace, errors):
            os.close(fd)

    def _end(self, copy: Copy) -> None:
        """It has ended, or its asker has."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(copy.pid, signal.SIGKILL)
        _, status = os.waitpid(copy.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            copy.door.send(bytes([code if code >= 0 else 128 - code]))
        for fd in [fd for fd, each in self._copies.items() if each is copy]:
            del self._copies[fd]
            self._selector.unregister(fd)
            if fd != copy.door.fileno():
                os.close(fd)
        copy.door.close()


def hold(path: str, run: Callable[[Asked], int]) -> None:
    """Offers copies that do `run`, each once."""
    gc.collect()
    gc.freeze()  # copies share what is here already
    asked = Standby(path).serve()
    sys.exit(run(asked))


def main() -> None:
    from isthmus.soak import site

    site.import_all()
    hold(sys.argv[1], lambda asked: site.main(asked.arguments, watched=asked.asker))


if __name__ == "__main__":
    main()
