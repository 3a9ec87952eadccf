"""A bench's rows: nothing measured is lost, and nothing is measured twice without need."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench_rows import ROWS, TIMING
from isthmus.bench.rows import Entry, Ledger, Row, here, parse, read


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.bench)
def test_a_row_comes_back_from_its_line(row: Row) -> None:
    entry = Entry(origin=here("isthmus bench x"), row=row)
    assert parse(entry.line()) == entry


def test_without_isthmus_a_row_says_nothing_of_it() -> None:
    line = Entry(origin=here("x"), row=replace(TIMING, isthmus_s=None)).line()
    assert "isthmus_s" not in line
    assert parse(line).row == replace(TIMING, isthmus_s=None)


@pytest.mark.parametrize("line", ['{"bench": "wan"}', '{"bench": "elsewhere"}', "[]", "{"])
def test_a_line_of_something_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse(line)


def test_a_row_is_on_disk_as_soon_as_it_is_added(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new", "wan", command="a")
    ledger.add(TIMING)
    assert [entry.row for entry in read(ledger.path)] == [TIMING]


def test_a_new_row_takes_the_place_of_the_same_case_only(tmp_path: Path) -> None:
    other = replace(TIMING, codec="int4")
    Ledger(tmp_path, "wan", command="a").add(TIMING)
    Ledger(tmp_path, "wan", command="a").add(other)
    faster = replace(TIMING, isthmus_s=1.3)
    Ledger(tmp_path, "wan", command="b").add(faster)
    assert [entry.row for entry in read(tmp_path / "wan.jsonl")] == [other, faster]


def test_another_processors_row_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "wan", command="a")
    elsewhere = replace(here("a"), processor="another one")
    ledger.path.write_text(Entry(origin=elsewhere, row=TIMING).line())
    ledger.add(TIMING)
    assert len(read(ledger.path)) == 2


def test_a_resumed_run_leaves_out_what_the_same_command_measured_today(tmp_path: Path) -> None:
    Ledger(tmp_path, "wan", command="a").add(TIMING)
    resumed = Ledger(tmp_path, "wan", command="a", resume=True)
    assert resumed.has(*TIMING.key)
    assert resumed.rows == [TIMING]  # and shows it
    assert not resumed.has(TIMING.case, "int4")
    assert not Ledger(tmp_path, "wan", command="b", resume=True).has(*TIMING.key)
    assert not Ledger(tmp_path, "wan", command="a").has(*TIMING.key)


def test_yesterdays_row_is_measured_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "wan", command="a", resume=True)
    before = replace(here("a"), when="2001-01-01T00:00:00Z")
    ledger.path.write_text(Entry(origin=before, row=TIMING).line())
    assert not ledger.has(*TIMING.key)


def test_the_committed_results_are_rows() -> None:
    folder = Path(__file__).parents[2] / "bench" / "results"
    files = sorted(folder.glob("*.jsonl"))
    assert files
    for file in files:
        entries = read(file)
        assert entries
        assert all(entry.row.bench == file.stem for entry in entries)
