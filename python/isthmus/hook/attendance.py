"""attendance: which sites contributed to a step's buckets, and telling when that changes."""

from collections.abc import Sequence

from isthmus.events import partial_step
from isthmus.session import Session


class Attendance:
    """At a gateway; at other ranks (session None) nothing is known and nothing told."""

    def __init__(self, session: Session | None) -> None:
        self._session = session
        self._last = () if session is None else session.sites

    def end_step(self, number: int, contributors: Sequence[tuple[str, ...]]) -> None:
        """contributors: of each bucket, in the order in which they were done."""
        if self._session is None or not contributors:
            return
        if set(contributors) != {self._last}:
            self._session.events.add(partial_step(number, contributors))
        self._last = contributors[-1]
