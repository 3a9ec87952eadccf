"""What the doctor prints."""

import re

from isthmus.doctor import report
from isthmus.doctor.advice import advise
from isthmus.doctor.findings import find
from made_up import Line, World, both_ways


def printed(world: World, *, site: str | None = None, compute_s: float | None = None) -> str:
    survey = world.survey()
    advice = advise(survey, parameters=10**8, compute_s=compute_s)
    if site is None:
        return report.full(survey, find(survey), advice)
    return report.own(survey, find(survey), advice, site)


THIN = World(lines=both_ways("a", "c", Line(one=48, many=49, together=48, growth=1.3)))


def test_the_matrix_has_every_link_once() -> None:
    text = printed(World(lines={("b", "a"): Line(one=11, many=22, together=5)}))
    rows = [line.split() for line in text.splitlines()]
    assert ["a", "b", "c"] in rows
    assert text.count("190 / 195 / 97") == 5
    assert re.search(r"^  b +11 / 22 / 5\.0 +· +190 / 195 / 97$", text, re.MULTILINE)


def test_rates_that_still_rose_are_marked() -> None:
    assert ">48 / >49 / >48" in printed(THIN)
    assert "still rose" in printed(THIN)
    assert "still rose" not in printed(World())


def test_links_of_one_limit_share_a_line() -> None:
    text = printed(World(sites="ab", line=Line(growth=1.3)))
    assert "a → b, b → a: nothing found" in text


def test_lines_fit_a_terminal_of_a_hundred_columns() -> None:
    unreachable = frozenset({("a", "b"), ("b", "a")})
    for world in (World(), THIN, World(unreachable=unreachable, line=Line(calm_lost=30))):
        assert all(len(line) <= 100 for line in printed(world, compute_s=2.0).splitlines())


def test_a_site_reads_what_concerns_it_alone() -> None:
    world = World(lines={("a", "b"): Line(calm_lost=30)})
    assert "packets are lost" in printed(world, site="a")
    assert "packets are lost" not in printed(world, site="c")
    assert "nothing to change" in printed(world, site="c")
    assert "# at c" in printed(world, site="c")
    assert "# at a" not in printed(world, site="c")


def test_every_site_gets_a_line_for_its_shell() -> None:
    text = printed(World())
    for site in "abc":
        assert f"  export ISTHMUS_UPLINK_MBIT=210  # at {site}" in text


def test_what_was_not_measured_is_a_question_mark() -> None:
    text = printed(World(unreachable=frozenset({("a", "b"), ("b", "a")})))
    assert re.search(r"^  a +· +\? +190 / 195 / 97$", text, re.MULTILINE)
    assert "81.0 ms, ?, ?" in text
    assert "none: some link could not be measured" in text


def test_the_forecast_is_of_steps_where_the_computation_is_known() -> None:
    assert "hidden from" in printed(World())
    told = printed(World(), compute_s=2.0)
    assert "forecast for 100M parameters, 2.00 s of computation" in told
    assert "hidden from" not in told
