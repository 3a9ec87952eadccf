"""meter: counts and seconds of the hook's steps, kept from several threads."""

import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(eq=False)
class _Lap:
    """One step's times."""

    first_ns: int  # its first bucket was handed over
    handed_ns: int  # its last one so far
    left: int = 0  # buckets without a result
    result_ns: int = 0
    given_ns: int = 0  # DDP got its last gradient; 0: with the result

    @property
    def exchange_ns(self) -> int:
        return max(self.result_ns - self.first_ns, 0)

    @property
    def waiting_ns(self) -> int:
        return max((self.given_ns or self.result_ns) - self.handed_ns, 0)


class Meter:
    """A step begins with its first bucket handed over and ends with its last result.

    `waiting` is the time after the last bucket was handed over until DDP had all its gradients:
    what backward did not hide.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.steps = 0
        self.buckets = 0
        self._exchange_ns = 0
        self._waiting_ns = 0
        self._laps: deque[_Lap] = deque()
        self._in_step = False

    def handed_over(self, *, is_last: bool) -> None:
        now = time.monotonic_ns()
        with self._lock:
            if not self._in_step:
                self._begin(now)
            self._in_step = not is_last
            lap = self._laps[-1]
            lap.handed_ns = now
            lap.left += 1
            self.buckets += 1
            self.steps += int(is_last)

    def result(self) -> None:
        """They come step by step, whatever the order inside of one."""
        now = time.monotonic_ns()
        with self._lock:
            open_laps = (lap for lap in self._laps if lap.left > 0)
            lap = next(open_laps, self._laps[-1] if self._laps else None)
            if lap is not None:
                lap.left = max(lap.left - 1, 0)
                lap.result_ns = now

    def given(self) -> None:
        """DDP has a gradient that is not this step's result."""
        now = time.monotonic_ns()
        with self._lock:
            self._laps[-1].given_ns = now

    def seconds(self) -> tuple[float, float]:
        """Over all steps: from first bucket to last result, and waiting."""
        with self._lock:
            exchange = self._exchange_ns + sum(lap.exchange_ns for lap in self._laps)
            waiting = self._waiting_ns + sum(lap.waiting_ns for lap in self._laps)
            return exchange / 1e9, waiting / 1e9

    def _begin(self, now_ns: int) -> None:
        # With a delay the step before may still be under way, the one before that is not.
        while len(self._laps) > 1:
            lap = self._laps.popleft()
            self._exchange_ns += lap.exchange_ns
            self._waiting_ns += lap.waiting_ns
        self._laps.append(_Lap(now_ns, now_ns))
