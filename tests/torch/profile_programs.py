"""What the processes of test_profile.py run: see programs.py."""

from typing import Any

from isthmus.testing import Place
from programs import batch, start
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile


def ranges(session: Any, place: Place, *, all_threads: bool) -> dict[str, set[int]]:
    """The ranges of isthmus in a profile of two steps, and the threads that each was seen in."""
    model, hook, optimizer = start(session, place, codec="int4")

    def step(number: int) -> None:
        model(batch(place, number)[0]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(0)
    config = _ExperimentalConfig(profile_all_threads=all_threads)
    with profile(activities=[ProfilerActivity.CPU], experimental_config=config) as seen:
        step(1)
        step(2)
    hook.close()
    threads: dict[str, set[int]] = {}
    for event in seen.events() or []:
        if event.name.startswith("isthmus::"):
            threads.setdefault(event.name, set()).add(event.thread)
    return threads


def both_ways(session: Any, place: Place) -> tuple[set[str], set[str]]:
    """Names that a plain profile sees, and one of all threads."""
    plain, every = (
        ranges(session, place, all_threads=all_threads) for all_threads in (False, True)
    )
    return set(plain), set(every)


def measured(session: Any, place: Place, delay: int) -> dict[str, Any]:
    model, hook, optimizer = start(session, place, codec="int4", delay=delay)
    for number in range(4):
        model(batch(place, number)[0]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    hook.flush()
    stats = hook.stats()
    hook.close()
    return {**stats, "text": str(stats)}
