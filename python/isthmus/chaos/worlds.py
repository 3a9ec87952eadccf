"""worlds: where faults meet real processes. Only such as the world itself has started."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from isthmus.chaos.faults import Fault
from isthmus.errors import Refused

_patience_s = 20.0


class Emulated:
    """The sites of a run of `isthmus wan --control FILE`. names: of its sites, by number."""

    def __init__(self, control: Path, names: Sequence[str]) -> None:
        self._names = list(names)
        self._socket = _connected(control)
        self._answers = self._socket.makefile("r")

    def inject(self, fault: Fault) -> float:
        order: dict[str, object] = {"do": fault.kind, "site": self._number(fault, fault.site)}
        if fault.other:
            order["other"] = self._number(fault, fault.other)
        if fault.seconds is not None:
            order["for_s"] = fault.seconds
        if fault.kind == "slow":
            order["factor"] = fault.factor
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            line = self._answers.readline()
        except OSError:
            line = ""
        if not line:
            raise Refused(f"{fault}: the emulated network has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(f"{fault}: {answer['error']}")
        return float(answer["at"])

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def _number(self, fault: Fault, name: str) -> int:
        if name not in self._names:
            raise Refused(f"{fault}: no site {name!r} among {', '.join(self._names)}")
        return self._names.index(name)


def _connected(control: Path) -> socket.socket:
    """The run may still be about to begin."""
    deadline = time.monotonic() + _patience_s
    while True:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(control))
            return made
        except OSError as error:
            made.close()
            if time.monotonic() > deadline:
                raise Refused(f"no emulated network takes orders at {control}: {error}") from error
            time.sleep(0.02)


class Loopback:
    """Processes by site, children of this one, without a network of their own: so they can be
    killed and frozen, and nothing else."""

    def __init__(self, processes: Mapping[str, Sequence[int]]) -> None:
        self._processes = processes

    def inject(self, fault: Fault) -> float:
        if fault.kind not in ("kill", "freeze"):
            raise Refused(f"{fault}: sites on loopback have no network to spoil: isthmus wan has")
        if fault.site not in self._processes:
            raise Refused(f"{fault}: no site {fault.site!r} among {', '.join(self._processes)}")
        self._signal(fault.site, signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)
        done = time.monotonic()
        if fault.seconds is not None:
            timer = threading.Timer(fault.seconds, self._signal, (fault.site, signal.SIGCONT))
            timer.daemon = True
            timer.start()
        return done

    def _signal(self, site: str, signum: signal.Signals) -> None:
        for pid in self._processes[site]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
