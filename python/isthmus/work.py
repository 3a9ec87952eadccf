"""work: one operation in flight, and the thread that calls back when it is done."""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isthmus import _core
from isthmus.errors import Refused
from isthmus.terms import TermSum

if TYPE_CHECKING:
    from torch.futures import Future

_log = logging.getLogger("isthmus")


class Work:
    """One operation in flight. Safe to use from several threads."""

    def __init__(
        self,
        native: _core.Work,
        *,
        sites: tuple[str, ...],
        completions: "Completions",
        result: Any,
        keep: object,
    ) -> None:
        self._native = native
        self._sites = sites
        self._completions = completions
        self._result = result
        self._keep = keep  # the core reads and writes this memory until the work is done

    @property
    def operation(self) -> int:
        return self._native.operation

    @property
    def contributors(self) -> tuple[str, ...]:
        """Names of the sites whose data is in the result; empty until it is done."""
        return tuple(self._sites[rank] for rank in self._native.contributors)

    @property
    def finite(self) -> bool:
        """Whether the result is there and holds neither NaN nor infinity; the same at all sites.

        Not of one that came in terms: who adds them must look."""
        return self._native.finite

    @property
    def term_sum(self) -> TermSum:
        """How the result is made of the terms. Refused: the operation is not done."""
        return TermSum(*self._native.term_sum)

    def done(self) -> bool:
        return self._native.done()

    def wait(self, timeout: float | None = None) -> None:
        """Return when done; raise the operation's error, each time.

        Timeout after `timeout` seconds means only that it is not done yet: it goes on.
        """
        if timeout is not None and not timeout >= 0:
            raise Refused(f"timeout is {timeout!r}; expected seconds, or None to wait to the end")
        self._native.wait(timeout)

    def when_done(self, call: Callable[["Work"], None]) -> None:
        """Run `call(work)` in the session's completion thread; it must not block for long."""
        self._completions.add(self._native, lambda: call(self))

    def future(self) -> "Future[Any]":
        """A torch future whose value is the tensor (or array) that was handed in."""
        from torch.futures import Future

        future: Future[Any] = Future()

        def complete(work: Work) -> None:
            try:
                work.wait()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(self._result)

        self.when_done(complete)
        return future

    def __repr__(self) -> str:
        state = "done" if self.done() else "in flight"
        return f"<isthmus.Work {self.operation}, {state}>"


class Completions:
    """Calls back for finished works, in one thread that starts with the first call wanted."""

    def __init__(self, native: _core.Session) -> None:
        self._native = native
        self._lock = threading.Lock()
        self._wanted: dict[int, list[Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._ended = False

    def add(self, work: _core.Work, call: Callable[[], None]) -> None:
        with self._lock:
            ended = self._ended
            if not ended:
                self._wanted.setdefault(work.operation, []).append(call)
            if self._thread is None and not ended:
                # A daemon only so that a forgotten close() cannot keep the process from its
                # exit handlers; they close the session, which joins the thread.
                self._thread = threading.Thread(target=self._run, name="isthmus-done", daemon=True)
                self._thread.start()
        if ended:  # the session is closed, and every work of it is done
            call()
        else:
            work.notify()

    def _run(self) -> None:
        while (work := self._native.next_completion()) is not None:
            self._call(work.operation)
        with self._lock:
            self._ended = True
            left = list(self._wanted)
        for operation in left:
            self._call(operation)

    def _call(self, operation: int) -> None:
        with self._lock:
            calls = self._wanted.pop(operation, [])
        for call in calls:
            try:
                call()
            except Exception:
                _log.exception("a callback of operation %d failed", operation)

    def join(self) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
