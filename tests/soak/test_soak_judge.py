"""The judge of a soak: finds whatever is wrong in the records, and nothing where all is well."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from isthmus.chaos import Fault, cut, freeze, kill, slow
from isthmus.soak import judge
from isthmus.soak.records import End, Life, Story, life
from isthmus.soak.settings import KEEPER, SITES
from isthmus.soak.site import LOST

VICTIM = SITES[2]
OTHERS = [site for site in SITES if site != VICTIM]
LOST_AT, BACK_AT, STEPS = 100, 120, 300  # a step takes a second


def step(number: int, **changed: Any) -> dict[str, Any]:
    names = OTHERS if LOST_AT <= number < BACK_AT else SITES
    return {
        "step": number,
        "at": float(number),
        "hash": f"bits of {number}",
        "loss": 1.0,
        "shares": {name: 1 / len(names) for name in names},
        "contributors": list(names),
        "sites": list(SITES),
        "epoch": int(number >= BACK_AT),
        "rss_bytes": 400_000_000 + number % 7 * 100_000,
        "threads": 8 + number % 3,
        "fds": 20,
        "sockets": 9,
    } | changed


def lived(site: str, pid: int, begin: int, end: int, **of: Any) -> Life:
    steps = [step(number) for number in range(begin, end)]
    return Life(site=site, pid=pid, begun=begin - 5.0, joined=begin - 1.0, steps=[*steps], **of)


def well() -> Story:
    """One site was killed and came back; another one ended because it was given up."""
    lives = [lived(site, pid, 0, STEPS, final=1.5) for pid, site in enumerate(OTHERS)]
    lives += [lived(VICTIM, 7, 0, LOST_AT), lived(VICTIM, 9, BACK_AT, STEPS, final=1.5)]
    gone = {"error": "peer_lost", "text": "given up", "failed": 107.0}
    lives.append(Life(site=VICTIM, pid=8, begun=105.0, **gone))
    ends = [End(VICTIM, 7, judge.KILLED, LOST_AT - 0.4), End(VICTIM, 8, LOST, 107.0)]
    ends += [End(each.site, each.pid, 0, STEPS) for each in lives if each.final is not None]
    return Story(
        lives=lives,
        ends=ends,
        faults=[(LOST_AT - 0.5, kill(VICTIM))],
        calm=[(10.0, 60.0)],
        chaos=(60.0, 260.0),
        tokens=100,
    )


def broken(story: Story) -> list[str]:
    return [verdict.invariant for verdict in judge.judge(story) if not verdict.holds]


def test_a_soak_in_which_all_went_well_breaks_nothing() -> None:
    assert broken(well()) == []


def changed_step(number: int, **what: Any) -> Callable[[Story], Story]:
    def change(story: Story) -> Story:
        story.lives[0].steps[number] = step(number, **what)
        return story

    return change


def growing(**by: float) -> Callable[[Story], Story]:
    """So much a step, in the process that lives throughout."""

    def change(story: Story) -> Story:
        first = story.lives[0]
        for i, each in enumerate(first.steps):
            first.steps[i] = {**each, **{k: int(each[k] + by[k] * i) for k in by}}
        return story

    return change


def ended(status: int, *, site: str = SITES[1], at: float = 200.0) -> Callable[[Story], Story]:
    return lambda story: replace(story, ends=[*story.ends, End(site, 99, status, at)])


def without_a_step(story: Story) -> Story:
    del story.lives[0].steps[50]
    return story


def never_back(story: Story) -> Story:
    story.lives[4].final = None
    return story


def other_final(story: Story) -> Story:
    story.lives[4].final = 1.6
    return story


def newcomer_ended_by(error: str, failed: float = 107.0) -> Callable[[Story], Story]:
    def change(story: Story) -> Story:
        story.lives[5].error, story.lives[5].failed = error, failed
        return story

    return change


def given_up(error: str, *faults: tuple[float, Fault]) -> Callable[[Story], Story]:
    """A site that trains says at 150 that it takes part no more, and joins again."""

    def change(story: Story) -> Story:
        site = story.lives[1].site
        lives = [*story.lives, lived(site, story.lives[1].pid, 160, STEPS, final=1.5)]
        lives[1] = lived(site, lives[1].pid, 0, 150, error=error, failed=150.0)
        return replace(story, lives=lives, faults=[*story.faults, *faults])

    return change


HALF = {SITES[0]: 0.5, SITES[1]: 0.25, SITES[2]: 0.25}
MUTATIONS: list[tuple[str, Callable[[Story], Story]]] = [
    ("same bits at all sites", changed_step(30, hash="other bits")),
    ("who is in a step, and with what weight", changed_step(30, shares=HALF)),
    ("who is in a step, and with what weight", changed_step(110, shares=step(30)["shares"])),
    ("who is in a step, and with what weight", changed_step(30, shares={SITES[1]: 1.0})),
    ("who is in a step, and with what weight", changed_step(30, contributors=[SITES[0]] * 2)),
    ("no step is left out", without_a_step),
    ("processes end well, or say why", ended(139)),
    ("processes end well, or say why", ended(1)),
    ("processes end well, or say why", ended(judge.KILLED)),
    ("processes end well, or say why", ended(judge.KILLED, site=VICTIM, at=LOST_AT + 20)),
    ("processes end well, or say why", ended(LOST, site=KEEPER)),
    ("processes end well, or say why", newcomer_ended_by("internal_error")),
    ("processes end well, or say why", newcomer_ended_by("cancelled")),
    ("processes end well, or say why", newcomer_ended_by("peer_lost", failed=90.0)),
    ("processes end well, or say why", newcomer_ended_by("peer_lost", failed=190.0)),
    ("processes end well, or say why", given_up("peer_lost")),
    ("processes end well, or say why", given_up("peer_lost", (148.0, slow(OTHERS[1])))),
    ("processes end well, or say why", given_up("peer_lost", (148.0, kill(OTHERS[0])))),
    ("processes end well, or say why", given_up("peer_lost", (148.0, freeze(OTHERS[0])))),
    ("processes end well, or say why", given_up("peer_lost", (120.0, freeze(OTHERS[1])))),
    ("processes end well, or say why", given_up("refused", (148.0, freeze(OTHERS[1])))),
    ("nobody hangs", lambda story: replace(story, hung=[SITES[1]])),
    ("all are back at the end", never_back),
    ("all are back at the end", other_final),
    ("memory does not grow", growing(rss_bytes=100_000)),
    ("threads, sockets, files do not", growing(threads=0.01)),
    ("threads, sockets, files do not", growing(fds=0.02)),
    ("threads, sockets, files do not", growing(sockets=0.02)),
]


@pytest.mark.parametrize(("invariant", "mutate"), MUTATIONS)
def test_a_record_that_is_wrong_is_found(invariant: str, mutate: Callable[[Story], Story]) -> None:
    assert broken(mutate(well())) == [invariant]


@pytest.mark.parametrize(
    "fault",
    [
        freeze(OTHERS[1]).for_seconds(3),
        cut(OTHERS[1]).for_seconds(3),
        cut(VICTIM, OTHERS[1]).for_seconds(3),
    ],
    ids=str,
)
def test_a_site_that_was_cut_off_or_stood_still_may_be_lost_and_join_again(fault: Fault) -> None:
    assert broken(given_up("peer_lost", (145.0, fault))(well())) == []


@pytest.mark.parametrize("error", ["peer_lost", "timeout", "refused"])
def test_a_newcomer_may_give_up_after_a_fault(error: str) -> None:
    assert broken(newcomer_ended_by(error)(well())) == []


def test_what_grows_each_time_that_a_process_joins_again_is_found() -> None:
    story = given_up("peer_lost", (145.0, freeze(OTHERS[1]).for_seconds(3)))(well())
    again = story.lives[-1]
    for i, each in enumerate(again.steps):
        again.steps[i] = {**each, "rss_bytes": each["rss_bytes"] + (9 << 20)}
    assert broken(story) == ["memory does not grow"]


def test_what_the_first_epoch_holds_does_not_hide_a_growth() -> None:
    story = growing(rss_bytes=100_000)(well())
    first = story.lives[0]
    for i, each in enumerate(first.steps[:BACK_AT]):
        first.steps[i] = {**each, "rss_bytes": 700_000_000}
    assert broken(story) == ["memory does not grow"]


def test_nothing_done_is_not_well() -> None:
    story = replace(well(), lives=[], ends=[])
    assert {"no step is left out", "all are back at the end"} <= set(broken(story))


def test_tokens_are_those_of_contributors_and_are_compared_with_the_calm() -> None:
    story = well()
    assert judge.tokens(story, 95, 105) == 5 * 400 + 5 * 300
    assert judge.kept(story) == pytest.approx((180 * 4 + 20 * 3) / (200 * 4))
    assert judge.throughput(story).holds
    assert "a step took 1.000 s" in judge.throughput(story).text
    assert not judge.throughput(replace(story, chaos=(100.0, 120.0))).holds


def test_a_loss_may_be_above_the_others_by_no_more_than_they_are_apart() -> None:
    assert judge.loss(2.52, [2.5, 2.51, 2.49]).holds
    assert judge.loss(2.3, [2.5, 2.51, 2.49]).holds
    assert not judge.loss(2.54, [2.5, 2.51, 2.49]).holds


def test_a_life_is_read_from_its_lines_also_when_it_ended_early() -> None:
    lines = [{"site": "site1", "pid": 5, "begun": 1.0}, {"joined": 2.0, "epoch": 0}, step(0)]
    read = life([*lines, {"error": "peer_lost", "text": "why", "at": 9.0}])
    assert read is not None and read.joined == 2.0 and len(read.steps) == 1
    assert (read.error, read.failed, read.final) == ("peer_lost", 9.0, None)
    assert life([]) is None
