"""What `isthmus bench kills` makes of the sites' notes."""

from typing import Any

from isthmus.bench.kills import SITES, Notes, after, differences
from isthmus.bench.rows import Recovery
from isthmus.bench.table import recoveries

ALL, LEFT = SITES, SITES[:3]
VICTIM = SITES[3]


def step(number: int, *contributors: list[str], digest: str = "") -> dict[str, Any]:
    return {
        "step": number,
        "end": float(number),
        "contributors": list(contributors),
        "digest": digest or f"bits of {number}",
    }


def notes(**changed: Any) -> Notes:
    steps = [step(0, ALL, ALL), step(1, ALL, LEFT), step(2, LEFT, LEFT)]
    return {site: steps for site in LEFT} | {VICTIM: steps[:1]} | changed


def test_a_step_that_the_lost_site_is_still_a_part_of_is_not_recovery() -> None:
    assert {site: [s["step"] for s in steps] for site, steps in after(notes(), VICTIM).items()} == {
        site: [2] for site in LEFT
    }


def test_survivors_that_differ_in_bits_or_contributors_are_found() -> None:
    assert differences(notes(), VICTIM) == []
    odd_bits = [step(0, ALL, ALL), step(1, ALL, LEFT, digest="others")]
    odd_contributors = [step(0, ALL, ALL), step(1, LEFT, LEFT)]
    for odd in (odd_bits, odd_contributors):
        assert differences(notes(**{LEFT[0]: odd}), VICTIM) == [1]
        assert differences(notes(**{VICTIM: odd}), VICTIM) == []


def test_the_table_has_median_and_maximum_of_a_series() -> None:
    rows = [
        Recovery(
            case="4 sites",
            fault="kill",
            seed=seed,
            heartbeat_s=2,
            step_s=0.2,
            recovery_s=seconds,
            identical=seed != 1,
        )
        for seed, seconds in enumerate((0.3, 0.9, 0.4))
    ]
    (cells,) = recoveries(rows).rows
    assert cells[4:] == ["3", "0.400 s", "0.900 s", "2 of 3"]
