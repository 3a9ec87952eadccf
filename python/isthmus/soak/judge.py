"""judge: what must be true of a soak, whatever was done to it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, median_low
from typing import Any

from isthmus.soak.records import Life, Step, Story
from isthmus.soak.settings import SITES
from isthmus.soak.site import LOST

KILLED = 128 + 9
KILL_S = 5.0  # from a kill until its process is seen to have ended
# What can cost a site that trains the others' company: it alone may say then that it is lost.
SEVERING = ("freeze", "cut", "corrupt")
LOST_S = 15.0  # until it says so, after the end of what was done
# A site that has not come in yet may meet anything that was done to anybody, and give up.
NOT_IN = ("peer_lost", "timeout", "refused")
JOINING_S = 75.0  # so long after
# Whatever is made with the first steps (threads, caches) is no growth.
WARM_UP_S = 10.0
# A life this long has an early third and a late one that can be compared.
LONG_S = 60.0
# What malloc keeps of freed memory differs by so much from moment to moment.
RSS_SLACK_BYTES = 8 << 20
LEAST_TOKENS = 0.95


@dataclass(frozen=True)
class Verdict:
    """text: what was found, in figures where all is well, else what is wrong first."""

    invariant: str
    holds: bool
    text: str


def judge(story: Story) -> list[Verdict]:
    """What needs no reference."""
    checks: Mapping[str, Callable[[Story], tuple[list[str], str]]] = {
        "same bits at all sites": same_bits,
        "who is in a step, and with what weight": contributors,
        "no step is left out": contiguous,
        "processes end well, or say why": endings,
        "nobody hangs": progress,
        "all are back at the end": all_back,
        "memory does not grow": memory,
        "threads, sockets, files do not": descriptors,
    }
    verdicts = []
    for name, check in checks.items():
        wrong, found = check(story)
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        verdicts.append(Verdict(name, not wrong, wrong[0] + more if wrong else found))
    return verdicts


def by_step(story: Story) -> dict[int, list[tuple[Life, Step]]]:
    found: dict[int, list[tuple[Life, Step]]] = {}
    for life in story.lives:
        for step in life.steps:
            found.setdefault(step["step"], []).append((life, step))
    return dict(sorted(found.items()))


def ended(done: Sequence[tuple[Life, Step]]) -> float:
    """When the first site had done the step."""
    return float(min(step["at"] for _, step in done))


def same_bits(story: Story) -> tuple[list[str], str]:
    wrong, compared = [], 0
    for number, done in by_step(story).items():
        compared += len(done)
        if len({step["hash"] for _, step in done}) > 1:
            hashes = ", ".join(f"{life.site} {step['hash']}" for life, step in done)
            wrong.append(f"step {number}: {hashes}")
    return wrong, f"{compared} hashes of {len(by_step(story))} steps"


def contributors(story: Story) -> tuple[list[str], str]:
    """The ledger's gradient says who is in the mean; the session says it by itself."""
    wrong, fewer = [], 0
    for number, done in by_step(story).items():
        shares = done[0][1]["shares"]
        fewer += len(shares) < len(SITES)
        wrong += [f"step {number}: {text}" for text in _odd_shares(done, shares)]
    return wrong, f"equal parts, each site once; {fewer} steps without some site"


def _odd_shares(done: Sequence[tuple[Life, Step]], shares: Mapping[str, float]) -> Iterator[str]:
    part = 1 / len(shares) if shares else 0.0
    if any(abs(share - part) > 1e-6 for share in shares.values()):
        yield f"the parts are {dict(shares)}"
    for life, step in done:
        if step["shares"] != shares:
            yield f"{life.site} has {step['shares']}, {done[0][0].site} {dict(shares)}"
        if life.site not in step["shares"]:
            yield f"{life.site} has the mean, and is not in it"
        if len(set(step["contributors"])) < len(step["contributors"]):
            yield f"{life.site} says that one contributed twice: {step['contributors']}"


def contiguous(story: Story) -> tuple[list[str], str]:
    wrong = []
    for life in story.lives:
        for before, after in itertools.pairwise(life.steps):
            if after["step"] != before["step"] + 1:
                wrong.append(f"{life.site}: step {after['step']} after {before['step']}")
    numbers = list(by_step(story))
    if numbers != list(range(len(numbers))):
        wrong.append("some step was done by nobody")
    if not numbers:
        wrong.append("no step was done at all")
    return wrong, f"steps 0 to {numbers[-1] if numbers else 0}, in {len(story.lives)} lives"


def endings(story: Story) -> tuple[list[str], str]:
    wrong, counts = [], {"killed": 0, "lost": 0}
    for life in (each for each in story.lives if each.error is not None):
        counts["lost"] += 1
        if not excused(story, life):
            wrong.append(f"{life.site} took part no more, for no reason: {life.error}, {life.text}")
    last = {life.process: life for life in story.lives}
    for end in story.ends:
        of = last.get(end.pid)
        if end.status == KILLED and _was_killed(story, end.site, end.at):
            counts["killed"] += 1
        elif end.status == LOST and of is not None and of.error is not None:
            continue  # judged above
        elif end.status != 0:
            wrong.append(f"{end.site} ended with status {end.status}")
    return wrong, f"{counts['killed']} killed, {counts['lost']} lost, by a typed error"


def excused(story: Story, life: Life) -> bool:
    """Whether something was done that may end a site's taking part by such an error."""
    for when, fault in story.faults:
        since = life.failed - when - (fault.seconds or 0.0)
        hit = life.site in (fault.site, fault.other)
        if when > life.failed:
            continue
        if life.steps:
            severed = fault.kind in SEVERING and hit and since <= LOST_S
            if severed and life.error == "peer_lost":
                return True
        elif fault.kind != "slow" and since <= JOINING_S and life.error in NOT_IN:
            return True
    return False


def _was_killed(story: Story, site: str, at: float) -> bool:
    return any(
        fault.kind == "kill" and fault.site == site and 0 <= at - when <= KILL_S
        for when, fault in story.faults
    )


def progress(story: Story) -> tuple[list[str], str]:
    if story.hung:
        return [f"no progress: {', '.join(story.hung)}"], ""
    ends = sorted(ended(done) for done in by_step(story).values())
    longest = max((b - a for a, b in itertools.pairwise(ends)), default=0.0)
    return [], f"the longest time without a step: {longest:.1f} s"


def all_back(story: Story) -> tuple[list[str], str]:
    finals = {life.site: life.final for life in story.lives if life.final is not None}
    lacking = [site for site in SITES if site not in finals]
    if lacking:
        return [f"{', '.join(lacking)} did not finish"], ""
    losses = set(finals.values())
    if len(losses) > 1:
        return [f"their losses differ: {finals}"], ""
    epochs = max(life.steps[-1]["epoch"] for life in story.lives if life.steps)
    return [], f"loss {losses.pop():.4f} at each; {epochs} changes of epoch"


def processes(story: Story) -> list[Life]:
    """Each with all that it did, however often it joined."""
    whole: dict[int, Life] = {}
    for life in story.lives:
        first = whole.setdefault(life.pid, replace(life, steps=[]))
        first.steps += life.steps
    return list(whole.values())


def long_lives(story: Story) -> list[Life]:
    return [
        life
        for life in processes(story)
        if len(warm(life)) >= 6 and warm(life)[-1]["at"] - warm(life)[0]["at"] >= LONG_S
    ]


def warm(life: Life) -> list[Step]:
    """Of a process that has changed over and lived long after it, what came then: the first epoch
    holds the buffers of measuring, which would hide a growth."""
    samples = [s for s in life.samples if s["at"] >= life.steps[0]["at"] + WARM_UP_S]
    later = [s for s in samples if s["epoch"] > life.steps[0]["epoch"]]
    return later if later and later[-1]["at"] - later[0]["at"] >= LONG_S else samples


def thirds(life: Life) -> tuple[list[Step], list[Step]]:
    """The samples of its first third in time, and of its last."""
    samples = warm(life)
    begin, end = samples[0]["at"], samples[-1]["at"]
    third = (end - begin) / 3
    early = [sample for sample in samples if sample["at"] <= begin + third]
    return early, [sample for sample in samples if sample["at"] >= end - third]


def rss_by_thirds(life: Life) -> tuple[float, float]:
    early, late = (median(s["rss_bytes"] for s in third) for third in thirds(life))
    return early, late


def memory(story: Story) -> tuple[list[str], str]:
    wrong, most = [], 0.0
    for life in long_lives(story):
        early, late = rss_by_thirds(life)
        most = max(most, late - early)
        if late - early > RSS_SLACK_BYTES:
            grown = f"{early / 1e6:.1f} to {late / 1e6:.1f} MB"
            wrong.append(f"{life.site} (process {life.pid}): {grown}")
    return wrong, f"{most / 1e6:+.1f} MB at most, in {len(long_lives(story))} long lives"


def descriptors(story: Story) -> tuple[list[str], str]:
    """The usual count of a third, with all sites in: now and then somebody comes or goes."""
    wrong: list[str] = []
    for life in long_lives(story):
        early, late = (_usual(third) for third in thirds(life))
        grown = [f"{k} {early[k]} to {late[k]}" for k in early if late.get(k, 0) > early[k]]
        if grown:
            wrong.append(f"{life.site} (process {life.pid}): {', '.join(grown)}")
    return wrong, f"in {len(long_lives(story))} long lives"


def _usual(samples: Sequence[Step]) -> dict[str, Any]:
    whole = [sample for sample in samples if len(sample["shares"]) == len(SITES)]
    if not whole:
        return {}
    kinds = ("threads", "fds", "sockets")
    return {kind: median_low(s[kind] for s in whole) for kind in kinds}


def tokens(story: Story, begin: float, end: float) -> int:
    """Of all contributions to steps that were done in that time."""
    total = 0
    for done in by_step(story).values():
        if begin <= ended(done) < end:
            total += len(done[0][1]["shares"]) * story.tokens
    return total


def rate(story: Story, begin: float, end: float) -> float:
    return tokens(story, begin, end) / (end - begin)


def kept(story: Story) -> float:
    """Tokens under faults, by those that the same time without faults would have brought."""
    calm = sum(tokens(story, *stretch) for stretch in story.calm)
    seconds = sum(end - begin for begin, end in story.calm)
    return rate(story, *story.chaos) / (calm / seconds) if calm else 0.0


def step_s(story: Story, begin: float, end: float) -> float:
    """What a step takes in that time; 0: there was none."""
    ends = [ended(done) for done in by_step(story).values()]
    count = sum(begin <= at < end for at in ends)
    return (end - begin) / count if count else 0.0


def throughput(story: Story) -> Verdict:
    share = kept(story)
    steps = " and ".join(f"{step_s(story, *stretch):.3f} s" for stretch in story.calm)
    text = f"{share:.1%} of the fault-free tokens; at least {LEAST_TOKENS:.0%} is asked"
    text += f"; without faults a step took {steps}"
    return Verdict("tokens", share >= LEAST_TOKENS, text)


def loss(final: float, references: Sequence[float]) -> Verdict:
    """Three runs differ by chance, and a fourth is as often above all three as not: so one that is
    no further above them than they are apart is of their kind."""
    highest, spread = max(references), max(references) - min(references)
    runs = ", ".join(f"{each:.4f}" for each in references)
    text = f"{final:.4f}; without faults {runs}, so at most {highest + spread:.4f}"
    return Verdict("final loss", final <= highest + spread, text)
