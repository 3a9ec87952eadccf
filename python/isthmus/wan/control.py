"""Orders of faults to a run, at a Unix socket: one JSON object a line, answered by one.

{"do": "kill", "site": 2} · {"do": "freeze", "site": 2, "for_s": 3} · {"do": "cut", "site": 1,
"other": 2, "for_s": 20} · {"do": "slow", "site": 1, "factor": 4} · {"do": "corrupt", "site": 1,
"other": 2}. No for_s: for good; no other: all others. The answer is {"at": when it was done, by the
machine's monotonic clock} or {"error": why not}. Only processes of the run's own sites are touched.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from isthmus.wan import processes

ORDERS: Mapping[str, set[str]] = {
    "kill": {"site"},
    "freeze": {"site", "for_s"},
    "cut": {"site", "other", "for_s"},
    "slow": {"site", "factor", "for_s"},
    "corrupt": {"site", "other"},
}
MOST_BYTES = 1 << 16


class BadOrder(ValueError):
    """Says what is wrong with an order."""


def check(order: Any, sites: int) -> dict[str, Any]:
    """The order with nothing missing. BadOrder if it cannot be."""
    if not isinstance(order, dict) or order.get("do") not in ORDERS:
        raise BadOrder(f"{order!r} is no order: do is one of {', '.join(ORDERS)}")
    odd = set(order) - ORDERS[order["do"]] - {"do"}
    if odd:
        raise BadOrder(f"{order['do']} knows no {', '.join(sorted(map(str, odd)))}")
    whole = {"other": None, "for_s": None, "factor": 1.0} | order
    for name in ("site", "other"):
        value = whole.get(name)
        known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < sites
        if not known and not (name == "other" and value is None):
            raise BadOrder(f"{name} is {value!r}; sites are 0 to {sites - 1}")
    if whole["site"] == whole["other"]:
        raise BadOrder(f"site {whole['site']} has no link to itself")
    for name, least in (("for_s", 0.0), ("factor", 1.0)):
        value = whole[name]
        if value is not None and not (isinstance(value, (int, float)) and least <= value < 1e6):
            raise BadOrder(f"{name} is {value!r}; expected a number, {least:g} or more")
    return whole


class Control:
    """The socket, and who is frozen until when. `selector` wakes whoever calls heed()."""

    def __init__(
        self, path: Path, namespaces: Sequence[int], loop: IO[str], selector: selectors.BaseSelector
    ) -> None:
        self.namespaces_ = namespaces
        self.loop_ = loop
        self.selector_ = selector
        self.thaw_: dict[int, float] = {}  # by site
        self.callers_: dict[socket.socket, bytes] = {}
        self.path_ = path
        self.door_ = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self.door_.bind(str(path))
        self.door_.listen()
        selector.register(self.door_, selectors.EVENT_READ)

    def close(self) -> None:
        for each in [self.door_, *self.callers_]:
            with contextlib.suppress(KeyError, ValueError):
                self.selector_.unregister(each)
            each.close()
        self.path_.unlink(missing_ok=True)

    def due_s(self) -> float:
        """When somebody is to go on, by time.monotonic()."""
        return min(self.thaw_.values(), default=math.inf)

    def heed(self, ready: object) -> bool:
        """Whether what is readable was ours; then it has been dealt with."""
        if ready is self.door_:
            caller, _ = self.door_.accept()
            self.callers_[caller] = b""
            self.selector_.register(caller, selectors.EVENT_READ)
        elif isinstance(ready, socket.socket) and ready in self.callers_:
            self.read(ready)
        else:
            return False
        return True

    def thaw(self) -> None:
        """Let those go on whose time has come."""
        now = time.monotonic()
        for site in [site for site, when in self.thaw_.items() if when <= now]:
            del self.thaw_[site]
            self.signal(site, signal.SIGCONT)

    def read(self, caller: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            data = caller.recv(4096)
            *lines, rest = (self.callers_[caller] + data).split(b"\n")
            for line in lines:
                caller.sendall(json.dumps(self.answer(line)).encode() + b"\n")
            self.callers_[caller] = rest
            if data and len(rest) < MOST_BYTES:
                return
        self.selector_.unregister(caller)
        del self.callers_[caller]
        caller.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        try:
            order = check(json.loads(line), len(self.namespaces_))
        except ValueError as error:  # no JSON, or BadOrder
            return {"error": str(error)}
        doers: dict[str, Callable[[dict[str, Any]], None]]
        doers = {"kill": self.kill, "freeze": self.freeze}
        doers.get(order["do"], self.pass_on)(order)
        return {"at": time.monotonic()}

    def kill(self, order: dict[str, Any]) -> None:
        self.signal(order["site"], signal.SIGKILL)

    def freeze(self, order: dict[str, Any]) -> None:
        self.signal(order["site"], signal.SIGSTOP)
        if order["for_s"] is not None:
            self.thaw_[order["site"]] = time.monotonic() + order["for_s"]

    def signal(self, site: int, signum: signal.Signals) -> None:
        for pid in processes.inside({self.namespaces_[site]}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def pass_on(self, order: dict[str, Any]) -> None:
        told = {name: order[name] for name in ("do", *ORDERS[order["do"]]) if name != "for_s"}
        if "for_s" in ORDERS[order["do"]]:
            told["for_ns"] = None if order["for_s"] is None else round(order["for_s"] * 1e9)
        self.loop_.write(json.dumps(told) + "\n")
        self.loop_.flush()
