"""Where the tokens went: each second that a fault cost is found once, under its cause."""

from dataclasses import replace
from typing import Any

import pytest
from isthmus.chaos import cut, kill
from isthmus.soak import judge
from isthmus.soak.records import End, Life, Story
from isthmus.soak.settings import KEEPER, SITES
from isthmus.soak.spent import (
    AWAY,
    BUILDS,
    CHANGES,
    DYING,
    FIRST,
    IMPORTS,
    JOINS,
    RECOVERS,
    STARTS,
    TAKES,
    TOGETHER,
    kind_of,
    spent,
)

VICTIM = SITES[1]
# A step takes a second; step 50 is done .5 s late without the victim, which is back for step 60:
# that ends 1.5 s late, .9 s of which they changed over, and .6 were its own.
LATE_S, CHANGE_S, FIRST_S = 0.5, 0.9, 0.6


def at(number: int) -> float:
    return number + (LATE_S if number >= 50 else 0) + (CHANGE_S + FIRST_S if number >= 60 else 0)


def step(number: int) -> dict[str, Any]:
    there = [site for site in SITES if site != VICTIM or not 50 <= number < 60]
    return {
        "step": number,
        "at": at(number),
        "shares": {site: 1 / len(there) for site in there},
        "epoch": int(number >= 60),
        "generation": 2 if 50 <= number < 60 else 1,
    }


def story() -> Story:
    pause = {"epoch": 1, "seconds": CHANGE_S, "takers": (VICTIM,), "at": 61.0}
    lives = [
        Life(site, pid, -5.0, steps=[step(n) for n in range(100)], pauses=[pause])
        for pid, site in enumerate(SITES)
        if site != VICTIM
    ]
    lives.append(Life(VICTIM, 7, -5.0, steps=[step(n) for n in range(50)]))
    back = Life(VICTIM, 8, 52.5, imported=54.5, built=55.5, joined=58.5)
    back.steps = [step(n) for n in range(60, 100)]
    return Story(
        lives=[*lives, back],
        ends=[End(VICTIM, 7, judge.KILLED, 50.5)],
        faults=[(49.2, kill(VICTIM))],
        calm=[(10.0, 40.0)],
        chaos=(40.5, 95.0),
        tokens=100,
    )


def test_a_killed_site_costs_what_all_waited_and_a_quarter_of_the_time_without_it() -> None:
    costs = spent(story())
    by = {cause: costs.of.get(("kill", cause), 0.0) for cause in (*TOGETHER, *AWAY)}
    assert by[RECOVERS] == pytest.approx(LATE_S)
    assert by[CHANGES] == pytest.approx(CHANGE_S)
    assert by[FIRST] == pytest.approx(FIRST_S)
    # Steps 50 to 59: one second each, of which the site's part is a quarter; step 50 took 1.5 s.
    dying = 1 / 4 * (1.5 - 0.0) / 1.5
    assert by[DYING] == pytest.approx(dying, abs=0.01)
    assert by[STARTS] == pytest.approx(2 / 4)
    assert by[IMPORTS] == pytest.approx(2 / 4)
    assert by[BUILDS] == pytest.approx(1 / 4)
    assert by[JOINS] == pytest.approx(3 / 4)
    assert by[TAKES] == pytest.approx(1 / 4)
    assert costs.faults == {"kill": 1}


def test_what_was_spent_is_what_is_missing() -> None:
    costs = spent(story())
    missing = sum(costs.of.values())
    assert missing == pytest.approx(LATE_S + CHANGE_S + FIRST_S + 10 / 4)
    assert judge.kept(story()) == pytest.approx(1 - missing / 54.5, abs=0.02)
    assert costs.seconds == pytest.approx(at(92) - at(41))


def test_without_faults_nothing_is_spent() -> None:
    calm = replace(story(), chaos=(5.0, 45.0), faults=[])
    assert sum(spent(calm).of.values()) == pytest.approx(0)


def test_a_run_that_did_nothing_has_spent_nothing() -> None:
    costs = spent(replace(story(), lives=[], ends=[]))
    assert not costs.of and costs.seconds == 0


def test_kinds_are_named_as_the_plan_names_them() -> None:
    assert kind_of(cut(SITES[1], SITES[2])) == "cut pair"
    assert kind_of(cut(SITES[1])) == "cut"
    assert kind_of(kill(KEEPER)) == KEEPER
