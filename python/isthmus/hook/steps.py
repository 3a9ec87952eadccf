"""steps: when all buckets of a backward pass are done, and whether all of them well."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Step:
    """One backward pass. number: the first is 0."""

    number: int
    handed: int = 0
    done: int = 0
    closed: bool = False  # its last bucket was handed over
    well: bool = True
    contributors: list[tuple[str, ...]] = field(default_factory=list)  # of buckets that are done


class Steps:
    """`ended(step)` is called once a step, before the last of its buckets counts as done."""

    def __init__(self, ended: Callable[[Step], None]) -> None:
        self._ended = ended
        self._lock = threading.Lock()
        self._current = Step(0)
        self._over = threading.Condition(self._lock)
        self._through = -1  # all steps up to this number have ended

    def hand_over(self, *, is_last: bool) -> tuple[Step, int]:
        """The step that a bucket belongs to, and its number in it."""
        with self._lock:
            step = self._current
            place = step.handed
            step.handed += 1
            if is_last:
                step.closed = True
                self._current = Step(step.number + 1)
            return step, place

    def finish(
        self, step: Step, *, well: bool, contributors: Sequence[tuple[str, ...]] = ()
    ) -> None:
        """One of its buckets is done. contributors: of each of its parts that this rank knows."""
        with self._lock:
            step.done += 1
            step.well = step.well and well
            step.contributors += contributors
            if step.closed and step.done == step.handed:
                self._ended(step)
                self._through = max(self._through, step.number)
                self._over.notify_all()

    def begin_at(self, number: int) -> None:
        """The next step has this number. REQUIRES: none is under way."""
        with self._lock:
            self._current = Step(number)
            self._through = number - 1

    def wait(self, number: int) -> None:
        """Until the step of this number, and so all before it, have ended."""
        with self._over:
            self._over.wait_for(lambda: self._through >= number)
