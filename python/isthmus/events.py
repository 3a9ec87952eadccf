"""events: what a site's operator should know, in plain sentences: logged, and kept for stats().

The facts come from the native session, whose thread never waits for us, and from the hook; all
sentences are made here. Each goes to the logger "isthmus" with its fields beside the text.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isthmus import _core
from isthmus.relays import relayed_pairs

_log = logging.getLogger("isthmus")
_most = 256  # are kept


@dataclass(frozen=True, kw_only=True)
class Event:
    """fields: numbers and texts, beside the sentence; also attributes of the log's record."""

    kind: str
    text: str
    level: int = logging.INFO
    fields: Mapping[str, Any] = field(default_factory=dict)
    when: float = field(default_factory=time.time)  # seconds since 1970

    def entry(self) -> dict[str, Any]:
        level = logging.getLevelName(self.level).lower()
        said = {"when": self.when, "kind": self.kind, "level": level, "text": self.text}
        return {**said, **self.fields}


def of_native(fact: Mapping[str, Any], sites: Sequence[str]) -> Event:
    """sites: by rank."""
    site = sites[fact["peer"]] if fact["peer"] >= 0 else ""
    return makers[fact["kind"]](fact, site)


def _lost(fact: Mapping[str, Any], site: str) -> Event:
    what = fact["why"] or f'site "{site}" lost (the other sites say so)'
    left, of, generation = fact["now"], fact["before"], fact["generation"]
    return Event(
        kind="lost",
        text=f"{what}; {left} of {of} sites remain, generation {generation}",
        level=logging.WARNING,
        fields={"site": site, "remaining": left, "of": of, "generation": generation},
    )


def _ended(fact: Mapping[str, Any], site: str) -> Event:
    return Event(
        kind="ended",
        text=f"the session has ended: {fact['why']}",
        level=logging.ERROR,
        fields={"site": site, "code": fact["code"], "generation": fact["generation"]},
    )


def _streams(fact: Mapping[str, Any], site: str) -> Event:
    before, now = fact["before"], fact["now"]
    more = f"{now - before} added" if now > before else f"{before - now} less"
    return Event(
        kind="streams",
        text=f'link to site "{site}": {_count(now, "data stream")}, {more}',
        fields={"site": site, "streams": now, "before": before},
    )


def _coordinator(fact: Mapping[str, Any], _: str) -> Event:
    if fact["now"]:
        return Event(kind="coordinator_back", text=fact["why"])
    return Event(
        kind="coordinator_lost",
        text=f"{fact['why']}; this run goes on, but nobody can come in until it is back",
        level=logging.WARNING,
    )


def _stream_lost(fact: Mapping[str, Any], site: str) -> Event:
    left = fact["now"]
    return Event(
        kind="stream_lost",
        text=f'a connection to site "{site}" was lost ({fact["why"]}) and is replaced; what it '
        f"had not delivered goes by {_count(left, 'other stream') if left else 'the new one'}",
        level=logging.WARNING,
        fields={"site": site, "streams": left},
    )


makers: Mapping[str, Callable[[Mapping[str, Any], str], Event]] = {
    "lost": _lost,
    "ended": _ended,
    "streams": _streams,
    "coordinator": _coordinator,
    "stream_lost": _stream_lost,
}


def joined(site: str, sites: Sequence[str], generation: int) -> Event:
    others = ", ".join(sites)
    return Event(
        kind="joined",
        text=f'joined as site "{site}": {_count(len(sites), "site")} ({others}), '
        f"generation {generation}",
        fields={"site": site, "sites": len(sites), "generation": generation},
    )


def relayed(a: str, b: str, by: str) -> Event:
    return Event(
        kind="relay",
        text=f'sites "{a}" and "{b}" cannot connect to each other: by way of "{by}", whose network '
        "carries what they exchange (docs/relay.md)",
        level=logging.WARNING,
        fields={"site": a, "peer": b, "by_way_of": by},
    )


def partial_step(step: int, contributors: Sequence[Sequence[str]]) -> Event:
    """contributors: of each of its buckets, the names of the sites."""
    buckets = len(contributors)
    by_count = Counter(len(names) for names in contributors)
    parts: list[str] = []
    for sites, count in sorted(by_count.items()):
        who = f"{count} of {_count(buckets, 'bucket')}" if not parts else str(count)
        parts.append(f"{who} with {_count(sites, 'site')}")
    fewest = min(contributors, key=len)
    return Event(
        kind="step",
        text=f"step {step}: {', '.join(parts)}",
        level=logging.WARNING,
        fields={
            "step": step,
            "buckets": buckets,
            "buckets_by_sites": dict(sorted(by_count.items())),
            "contributors": tuple(fewest),
        },
    )


def came_in(
    epoch: int, step: int, takers: Sequence[str], donor: str, size: int, seconds: float
) -> Event:
    """takers: who were handed the donor's state; none: only the paths to the others are new."""
    names = " and ".join(f'"{name}"' for name in takers)
    gave = f'; {names} took {size} bytes of state from "{donor}"' if takers else ""
    return Event(
        kind="epoch",
        text=f"step {step}: epoch {epoch} begins{gave}; this took {seconds:.2f} s",
        fields={"epoch": epoch, "step": step, "takers": tuple(takers), "donor": donor},
    )


def stuck(sites: Sequence[str], patience: float) -> Event:
    """sites: those that are left."""
    return Event(
        kind="stuck",
        text=f"only {', '.join(sites)} left, which is too few to go on: waiting up to "
        f"{patience:g} s for others",
        level=logging.WARNING,
        fields={"sites": tuple(sites)},
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Events:
    """Of one site; the newest last, the oldest forgotten. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=_most)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._coordinator = True  # is there

    def add(self, event: Event) -> None:
        with self._lock:
            self._kept.append(event)
            self._counts[event.kind] += 1
        _log.log(event.level, "%s", event.text, extra={"event": event.kind, **event.fields})

    def kept(self) -> list[dict[str, Any]]:
        with self._lock:
            return [event.entry() for event in self._kept]

    def counts(self) -> dict[str, int]:
        """By kind, of all there were."""
        with self._lock:
            return dict(self._counts)

    def follow(self, native: _core.Session, site: str) -> None:
        """A session that has joined: say so, and add what comes from it until it is closed."""
        sites, facts = tuple(native.sites), native.events
        self.add(joined(site, sites, native.generation))
        for (a, b), by in relayed_pairs(native, sites).items():
            self.add(relayed(a, b, by))

        # Not holding the session itself, which ends when nobody holds it any more.
        def read() -> None:
            while (fact := facts.next()) is not None:
                if self.is_news(fact):
                    self.add(of_native(fact, sites))

        # A daemon only so that a forgotten close() cannot keep the process from its exit handlers.
        thread = threading.Thread(target=read, name="isthmus-events", daemon=True)
        thread.start()
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]

    def is_news(self, fact: Mapping[str, Any]) -> bool:
        """Each epoch's session looks for the coordinator anew; the operator is told of changes."""
        if fact["kind"] != "coordinator":
            return True
        with self._lock:
            before, self._coordinator = self._coordinator, bool(fact["now"])
            return before != self._coordinator

    def join(self) -> None:
        """REQUIRES: what is followed is closed."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
