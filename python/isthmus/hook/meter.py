"""meter: counts and seconds of the hook, kept from several threads."""

import threading
import time


class Meter:
    """A step begins with its first bucket handed over and ends with its last result.

    `waiting` is the part of it after the last bucket was handed over: what backward did not hide.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.steps = 0
        self.buckets = 0
        self._exchange_ns = 0
        self._waiting_ns = 0
        self._first_ns = 0
        self._handed_ns = 0
        self._result_ns = 0
        self._in_step = False

    def handed_over(self, *, is_last: bool) -> None:
        now = time.monotonic_ns()
        with self._lock:
            if not self._in_step:
                self._add_step()
                self._first_ns = now
            self._in_step = not is_last
            self._handed_ns = now
            self.buckets += 1
            self.steps += int(is_last)

    def result(self) -> None:
        with self._lock:
            self._result_ns = time.monotonic_ns()

    def seconds(self) -> tuple[float, float]:
        """Over all steps: from first bucket to last result, and the waiting part of that."""
        with self._lock:
            if not self._in_step:
                self._add_step()
            return self._exchange_ns / 1e9, self._waiting_ns / 1e9

    def _add_step(self) -> None:
        self._exchange_ns += max(self._result_ns - self._first_ns, 0)
        self._waiting_ns += max(self._result_ns - self._handed_ns, 0)
        self._first_ns = self._handed_ns = self._result_ns
