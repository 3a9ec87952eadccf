"""Faults as sentences, when they happen, and what the simulator makes of them."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from isthmus import _core
from isthmus.chaos import Fault, Injector, Loopback, corrupt, cut, freeze, kill, slow, troubles
from isthmus.errors import Refused

NAMES = ["a-site", "b-site", "c-site", "d-site"]  # of the simulator
LARGE = {"collective": "all_reduce", "algorithm": "direct", "elements": 300_000}
SUM = {"collective": "all_reduce", "algorithm": "direct", "elements": 4000}


@dataclass
class Told:
    """A world that only remembers."""

    now: float = 0.0
    faults: list[str] = field(default_factory=list)

    def inject(self, fault: Fault) -> float:
        self.faults.append(str(fault))
        return self.now


def test_a_fault_says_itself_as_it_was_said() -> None:
    assert str(kill("gcp").at(step=12)) == "kill gcp at step 12"
    assert str(cut("aws", "gcp").for_seconds(20)) == "cut aws from gcp for 20 s"
    assert str(freeze("gcp").for_seconds(3).at(seconds=1.5)) == "freeze gcp after 1.5 s for 3 s"
    assert str(slow("gcp", 2)) == "slow gcp 2 times"
    assert str(corrupt("aws", "gcp")) == "corrupt aws to gcp"


def test_what_cannot_be_is_refused_with_the_fault_s_name() -> None:
    for make in (
        lambda: kill("gcp").for_seconds(3),
        lambda: kill("gcp").at(),
        lambda: kill("gcp").at(step=1, seconds=2),
        lambda: kill("gcp").at(step=-1),
        lambda: cut("gcp", "gcp"),
        lambda: freeze("gcp").for_seconds(0),
        lambda: slow("gcp", 0.5),
        lambda: Loopback({"gcp": []}).inject(cut("gcp")),
        lambda: Loopback({"gcp": []}).inject(kill("aws")),
        lambda: troubles([kill("gcp")], NAMES),
        lambda: troubles([kill("a-site").at(step=2)], NAMES, [SUM]),
    ):
        with pytest.raises(Refused, match=r"gcp|aws|a-site"):
            make()


def test_each_fault_happens_once_and_not_before_its_step_or_time() -> None:
    world = Told()
    injector = Injector(
        world,
        [kill("gcp").at(step=3), cut("aws").at(seconds=10), slow("oci")],
        clock=lambda: world.now,
    )
    seen = []
    for world.now, step in ((100.0, 0), (104.0, 3), (105.0, 4), (110.0, 5), (120.0, 9)):
        before = len(world.faults)
        injector.reached(step)
        seen.append(world.faults[before:])
    assert seen == [["slow oci 4 times"], ["kill gcp at step 3"], [], ["cut aws after 10 s"], []]
    assert injector.left == []
    assert [when for when, _ in injector.done] == [100.0, 104.0, 110.0]


def simulate(*faults: Fault, operations: list[dict[str, Any]]) -> Any:
    return _core.simulate(
        1,
        sites=4,
        carry_on=True,
        bits_per_s=20_000_000,
        close_after=20.0,
        operations=operations,
        troubles=troubles(faults, NAMES, operations),
    )


def test_the_simulator_kills_at_the_step_that_is_said() -> None:
    operations = [{**SUM, "submit": [step * 1.0] * 4} for step in range(4)]
    report = simulate(kill("c-site").at(step=2), operations=operations)
    assert not report["broken"]
    sizes = [len(work["contributors"]) for work in report["sites"][0]["works"]]
    assert sizes[:2] == [4, 4] and sizes[3] == 3


@pytest.mark.parametrize(
    ("fault", "gone"),
    [
        (cut("b-site").at(seconds=0.1), ["b-site"]),
        (cut("a-site", "c-site").at(seconds=0.1), ["c-site"]),
        (freeze("d-site").at(seconds=0.1), ["d-site"]),
        (freeze("d-site").at(seconds=0.1).for_seconds(0.5), []),
        (slow("b-site", 3).at(seconds=0.1).for_seconds(2), []),
    ],
)
def test_the_simulator_takes_the_same_sentences(fault: Fault, gone: list[str]) -> None:
    report = simulate(fault, operations=[LARGE, SUM])
    assert not report["broken"]
    left = [name for name in NAMES if name not in gone]
    roster = next(site["roster"] for site in report["sites"] if site["name"] == left[0])
    assert roster == left


def test_a_changed_byte_is_found_in_the_simulator_and_what_it_was_in_is_sent_again() -> None:
    survived = 0
    for moment in range(60):
        at = 0.1 + 0.0071 * moment
        report = _core.simulate(
            moment,
            sites=2,
            torn=True,
            bits_per_s=20_000_000,
            operations=[LARGE],
            troubles=troubles([corrupt("a-site", "b-site").at(seconds=at)], NAMES[:2]),
        )
        assert not report["broken"], moment  # no sum is wrong
        codes = {site["works"][0]["code"] for site in report["sites"]}
        again = sum(site["frames_again"] for site in report["sites"])
        assert codes == {"ok"} or "wire_error" in codes, moment
        survived += codes == {"ok"} and again > 0
    assert survived > 10
