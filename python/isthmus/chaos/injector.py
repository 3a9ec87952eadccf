"""injector: gives each fault to a world when its time has come."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from isthmus.chaos.faults import Fault


class World(Protocol):
    """Where faults happen."""

    def inject(self, fault: Fault) -> float:
        """Now; returns when it was done, by time.monotonic(). Refused: not in this world."""


class Injector:
    """Whoever watches the training calls `reached`, again and again, with the step that has begun.

    Faults at a time count from the first call. `done`: those that have happened, and when.
    """

    def __init__(
        self,
        world: World,
        faults: Iterable[Fault],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world = world
        self._clock = clock
        self._begin: float | None = None
        self.left = list(faults)
        self.done: list[tuple[float, Fault]] = []

    def reached(self, step: int = 0) -> None:
        now = self._clock()
        self._begin = now if self._begin is None else self._begin
        due = [fault for fault in self.left if self._is_due(fault, step, now - self._begin)]
        for fault in due:
            self.left.remove(fault)
            self.done.append((self._world.inject(fault), fault))

    @staticmethod
    def _is_due(fault: Fault, step: int, seconds: float) -> bool:
        if fault.at_step is not None:
            return step >= fault.at_step
        return seconds >= (fault.at_seconds or 0.0)
