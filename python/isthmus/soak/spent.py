"""spent: where the tokens went: the time that faults cost, by fault and by cause. Pure.

A step that all sites do, as fast as without faults, costs nothing. One that takes longer costs all
of them what it takes longer; one without a site costs that site's part of a usual step. So the
costs add up to exactly the tokens that are missing.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from isthmus.chaos import Fault
from isthmus.soak.judge import by_step, ended, kept
from isthmus.soak.records import End, Life, Step, Story
from isthmus.soak.settings import KEEPER, SITES

# All sites stand still or are slow:
RECOVERS = "recovers"  # a loss is noticed, and what was in flight is finished
CHANGES = "changes"  # all change over, and hand over
FIRST = "first step"  # of an epoch
SLOWED = "slow link"  # while a link is slow, or a site is cut off or frozen
SHARED = "busy"  # while another process starts, on the same cores
USUAL = "else"
# One site is not there:
DYING = "it ends"  # its process has not ended yet, or is cut off
STARTS = "starts"
IMPORTS = "imports"
BUILDS = "builds"  # its model
JOINS = "joins"  # waits for the others to meet it, and for a boundary
TAKES = "takes"  # the state, and does its first step
TOGETHER = (RECOVERS, CHANGES, FIRST, SLOWED, SHARED, USUAL)
AWAY = (DYING, STARTS, IMPORTS, BUILDS, JOINS, TAKES)

BEFORE = "none yet"
_LINGERS_S = 2.0  # what a slow link, or a silence, leaves behind it


@dataclass(frozen=True)
class Costs:
    """of: by kind of fault and cause, in seconds of training of all sites. faults: how many of each
    kind; seconds: how long it went on."""

    of: Mapping[tuple[str, str], float]
    faults: Mapping[str, int]
    seconds: float

    def all_of(self, kind: str) -> float:
        return sum(cost for (its, _), cost in self.of.items() if its == kind)

    def all_by(self, cause: str) -> float:
        return sum(cost for (_, its), cost in self.of.items() if its == cause)


def spent(story: Story) -> Costs:
    """Under faults, as far as steps went on."""
    done = by_step(story)
    ends = {number: ended(each) for number, each in done.items()}
    begin, end = story.chaos
    whole = [n for n in done if n - 1 in done and begin <= ends[n - 1] and ends[n] < end]
    costs: defaultdict[tuple[str, str], float] = defaultdict(float)
    usual = usual_step_s(story)
    stays = {site: stay(story, site) for site in SITES}
    pauses = _pauses(story)
    for number in whole if usual else []:
        since, until = ends[number - 1], ends[number]
        kind = kind_of(_fault_before(story, until))
        there = set(done[number][0][1]["shares"])
        longer = until - since - usual
        for pause in (p for at, p in pauses.items() if since < at <= until):
            costs[kind, CHANGES] += pause
            longer -= pause
        before = done[number - 1][0][1]
        costs[kind, _why_longer(story, before, done[number][0][1], until)] += longer
        for site in sorted(set(SITES) - there):
            for cause, share in _shares(stays[site], since, until).items():
                costs[kind, cause] += share * usual / len(SITES)
    seconds = ends[whole[-1]] - ends[whole[0] - 1] if whole else 0.0
    faults = Counter(kind_of(fault) for _, fault in story.faults)
    return Costs(dict(costs), dict(faults), seconds)


def usual_step_s(story: Story) -> float:
    """Without faults; 0: it is not known."""
    calm = sum(end - begin for begin, end in story.calm)
    ends = [ended(each) for each in by_step(story).values()]
    steps = sum(begin <= at < end for begin, end in story.calm for at in ends)
    return calm / steps if steps and kept(story) else 0.0


def kind_of(fault: Fault | None) -> str:
    """As the plan names it."""
    if fault is None:
        return BEFORE
    if fault.site == KEEPER:
        return KEEPER
    return "cut pair" if fault.kind == "cut" and fault.other else fault.kind


def stay(story: Story, site: str) -> list[tuple[float, str]]:
    """What a site is busy with from when on, while it is in no step."""
    marks = [(0.0, DYING)]
    by_pid = {end.pid: end for end in story.ends}
    for life in (each for each in story.lives if each.site == site):
        marks += _of_life(life, by_pid.get(life.pid))
    return sorted(marks, key=lambda mark: mark[0])


def _of_life(life: Life, end: End | None) -> Iterator[tuple[float, str]]:
    yield life.begun, IMPORTS
    if life.imported is not None:
        yield life.imported, BUILDS
    if life.built is not None:
        yield life.built, JOINS
    if life.joined is not None:
        yield life.joined, TAKES
    if life.steps:
        yield life.steps[0]["at"], DYING
    if end is not None:
        yield end.at, STARTS


def _shares(marks: Sequence[tuple[float, str]], since: float, until: float) -> dict[str, float]:
    """How a stretch of time is divided between the causes, in parts of 1."""
    found: defaultdict[str, float] = defaultdict(float)
    first = bisect_right(marks, since, key=lambda mark: mark[0]) - 1
    inside = [(max(since, at), cause) for at, cause in marks[first:] if at < until]
    for (at, cause), (to, _) in itertools.pairwise([*inside, (until, "")]):
        found[cause] += (to - at) / (until - since)
    return found


def _pauses(story: Story) -> dict[float, float]:
    """When a change over was over, and how long it took those who had been there: one of them."""
    seen: dict[int, tuple[float, float]] = {}
    for life in story.lives:
        for pause in life.pauses:
            if life.site not in pause["takers"]:
                seen.setdefault(pause["epoch"], (pause["at"], pause["seconds"]))
    return dict(seen.values())


def _fault_before(story: Story, at: float) -> Fault | None:
    return next((fault for when, fault in reversed(story.faults) if when <= at), None)


def _why_longer(story: Story, before: Step, now: Step, at: float) -> str:
    if now["epoch"] != before["epoch"]:
        return FIRST
    if now["generation"] != before["generation"] or set(before["shares"]) - set(now["shares"]):
        return RECOVERS
    if len(now["shares"]) < len(SITES):
        return SHARED
    for when, fault in story.faults:
        if fault.seconds is not None and when <= at <= when + fault.seconds + _LINGERS_S:
            return SLOWED
    return USUAL
