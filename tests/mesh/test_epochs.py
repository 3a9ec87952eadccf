"""Sites come into a run that goes on: members, newcomers and the coordinator, in simulated time."""

import random
from typing import Any

import pytest
from isthmus import _core

NAMES = ("amber", "birch", "cedar", "delta")
ALWAYS = [(0.0, 1e9)]
Outcome = dict[str, Any]


def site(name: str, **plan: Any) -> dict[str, Any]:
    return {"name": name, "sites": 4, "run": "run", "start": 0.0, "notice": 0.05, **plan}


def run(
    *sites: dict[str, Any],
    coordinators: list[tuple[float, float]] | None = None,
    end: float = 60.0,
    seed: int = 1,
) -> list[Outcome]:
    return _core.sim_epochs(
        sites=list(sites), coordinators=coordinators or ALWAYS, end=end, seed=seed
    )


def members(*, dying: dict[str, float], **plan: Any) -> list[dict[str, Any]]:
    return [site(n, **({"die": dying[n]} if n in dying else {}), **plan) for n in NAMES]


def in_one_epoch(outcomes: list[Outcome], names: tuple[str, ...] = NAMES) -> bool:
    """All that live, and these, are in the same epoch above 0, with each other."""
    alive = [o for o in outcomes if not o["dead"]]
    where = {(o["epoch"], tuple(o["roster"])) for o in alive}
    return (
        sorted(o["name"] for o in alive) == sorted(names)
        and where == {(alive[0]["epoch"], tuple(sorted(names)))}
        and alive[0]["epoch"] > 0
    )


def test_a_replacement_is_called_together_with_those_that_are_left() -> None:
    outcomes = run(*members(dying={"delta": 5.0}), site("delta", start=7.0), end=9.0)
    assert in_one_epoch(outcomes)
    assert outcomes[0]["epoch"] == 1


def test_two_newcomers_make_one_epoch() -> None:
    plans = members(dying={"delta": 5.0, "cedar": 5.0})
    outcomes = run(*plans, site("delta", start=7.0), site("cedar", start=7.1), end=10.0)
    assert in_one_epoch(outcomes)
    assert outcomes[0]["epoch"] == 1


def test_a_site_that_was_never_there_makes_the_run_larger() -> None:
    outcomes = run(*members(dying={}), site("ember", sites=5, start=3.0), end=6.0)
    assert in_one_epoch(outcomes, (*NAMES, "ember"))


@pytest.mark.parametrize("first", ["newcomer", "members"])
def test_a_coordinator_that_starts_anew_learns_who_takes_part(first: str) -> None:
    newcomer = site("delta", start=6.0 if first == "newcomer" else 15.0)
    outcomes = run(
        *members(dying={"delta": 5.0}), newcomer, coordinators=[(0.0, 4.0), (10.0, 1e9)], end=18.0
    )
    assert in_one_epoch(outcomes)


@pytest.mark.parametrize("block", range(4))
def test_whenever_the_coordinator_dies_the_newcomer_comes_in(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        draw = random.Random(seed)
        gap = 5.0 + draw.random() * 4
        back = gap + draw.random() * 3
        outcomes = run(
            *members(dying={"delta": 5.0 + draw.random()}),
            site("delta", start=6.5 + draw.random()),
            coordinators=[(0.0, gap), (back, 1e9)],
            end=50.0,
            seed=seed,
        )
        assert in_one_epoch(outcomes), f"seed {seed}: {outcomes}"


@pytest.mark.parametrize("block", range(4))
def test_whoever_dies_between_the_call_and_the_change_the_others_come_together(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        draw = random.Random(seed)
        doomed = draw.choice(["birch", "cedar"])
        moment = 7.0 + draw.random()
        plans = members(dying={"delta": 5.0, doomed: moment})
        outcomes = run(*plans, site("delta", start=7.0), end=50.0, seed=seed)
        assert in_one_epoch(outcomes, tuple(n for n in NAMES if n != doomed)), (
            f"seed {seed}: {outcomes}"
        )


@pytest.mark.parametrize("block", range(2))
def test_a_newcomer_that_dies_while_it_is_called_leaves_the_others_where_they_were(
    block: int,
) -> None:
    for seed in range(block * 25, block * 25 + 25):
        draw = random.Random(seed)
        plans = members(dying={"delta": 5.0})
        newcomer = site("delta", start=7.0, die=7.0 + draw.random() * 0.4)
        later = site("delta", start=12.0)
        outcomes = run(*plans, newcomer, later, end=40.0, seed=seed)
        assert in_one_epoch(outcomes), f"seed {seed}: {outcomes}"


@pytest.mark.parametrize("block", range(4))
def test_whatever_dies_while_an_epoch_is_made_those_that_train_go_on_and_all_that_live_meet(
    block: int,
) -> None:
    """Members, newcomers and the coordinator, several of them within a second of the call."""
    for seed in range(block * 50, block * 50 + 50):
        draw = random.Random(seed)

        def moment(draw: random.Random = draw) -> float:
            return 7.0 + draw.random()

        doomed = {"birch": moment()} if draw.random() < 0.5 else {}
        plans = members(dying={"delta": 5.0, **doomed})
        for name in ("delta", "ember"):
            if draw.random() < 0.5:
                plans.append(site(name, start=7.0, die=moment()))
            plans.append(site(name, start=9.0 + 2 * draw.random()))
        gone = moment()
        gap = [(0.0, gone), (gone + 2 * draw.random(), 1e9)] if draw.random() < 0.5 else ALWAYS
        outcomes = run(*plans, coordinators=gap, end=90.0, seed=seed)
        alive = tuple(n for n in (*NAMES, "ember") if n not in doomed)
        assert in_one_epoch(outcomes, alive), f"seed {seed}: {outcomes}"
        for trained in outcomes[:3]:
            assert trained["dead"] or trained["text"] == "", f"seed {seed}: {outcomes}"


def test_two_runs_at_one_coordinator_do_not_mix() -> None:
    plans = [
        *members(dying={"delta": 5.0}, run="one"),
        *members(dying={"amber": 5.0}, run="two"),
        site("delta", start=7.0, run="one"),
        site("amber", start=7.0, run="two"),
    ]
    outcomes = run(*plans, end=10.0)
    assert in_one_epoch([*outcomes[:4], outcomes[8]])
    assert in_one_epoch([*outcomes[4:8], outcomes[9]])


def test_a_second_site_of_a_name_that_lives_is_refused() -> None:
    outcomes = run(*members(dying={}), site("delta", start=7.0), end=13.0)
    assert outcomes[4]["refused"]
    assert 'site of this name already takes part in run "run"' in outcomes[4]["text"]
    assert {o["epoch"] for o in outcomes[:4]} == {0}


def test_who_is_not_called_in_time_is_told_who_takes_part() -> None:
    plans = members(dying={"delta": 5.0}, notice=1e6)  # the others never notice
    outcomes = run(*plans, site("delta", start=7.0), end=80.0)
    assert outcomes[4]["late"]
    for part in ('site "delta" waits', 'run "run"', "amber, birch, cedar", "site0:7000"):
        assert part in outcomes[4]["text"]


@pytest.mark.parametrize(
    ("stuck", "together"),
    [
        (("amber", "birch", "cedar", "delta"), True),
        (("amber", "birch", "cedar"), True),
        (("amber", "birch"), False),
    ],
)
def test_sites_that_are_stuck_are_called_when_most_of_them_are_there(
    stuck: tuple[str, ...], together: bool
) -> None:
    plans = [site(n, stuck=5.0) if n in stuck else site(n, die=5.0, notice=1e6) for n in NAMES]
    outcomes = run(*plans, end=10.0)
    assert in_one_epoch(outcomes, stuck) == together


def test_a_stuck_site_and_newcomers_are_not_called_while_two_others_may_be_going_on() -> None:
    """By what the newcomers' predecessors had agreed to; the two are not heard of, as by a
    coordinator that has just started."""
    plans = [
        site("amber", sites=5, stuck=5.0),
        site("birch", sites=5, die=5.0, notice=1e6),
        site("cedar", sites=5, die=5.0, notice=1e6),
        site("delta", sites=5, die=5.5, notice=1e6),
        site("ember", sites=5, die=5.5, notice=1e6),
    ]
    outcomes = run(
        *plans, site("birch", sites=5, start=8.0), site("cedar", sites=5, start=8.0), end=20.0
    )
    assert outcomes[0]["epoch"] == 0


def test_a_stuck_site_and_the_replacement_of_the_other_one_go_on() -> None:
    plans = [site("amber", sites=2, stuck=5.0), site("birch", sites=2, die=5.0, notice=1e6)]
    outcomes = run(*plans, site("birch", sites=2, start=8.0), end=12.0)
    assert in_one_epoch(outcomes, ("amber", "birch"))
