"""The benches' tables and their page: every row is there, beside its floor and its peers."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench_rows import CODING, ROWS, SCALING, TIMING, TRAINING
from isthmus.bench import report
from isthmus.bench.rows import Entry, Ledger, Row, here
from isthmus.bench.table import amount, duration, tables
from isthmus.errors import Refused
from isthmus.page.document import figures, standalone
from isthmus.page.svg import Dots, Group, Line, line_chart, ratio_chart

GLOO = replace(TRAINING, way="gloo", tokens_per_s=328.0, peers={}, hidden_share=None)


def entries(rows: list[Row]) -> list[Entry]:
    return [Entry(origin=here(f"isthmus bench {row.bench}"), row=row) for row in rows]


def text_of(page: str) -> str:
    return re.sub(r"<[^>]*>", " ", page.partition("</style>")[2])


def test_the_page_has_every_row_with_floor_figure_and_peer() -> None:
    page = text_of(report.render(entries([*ROWS, GLOO, replace(TIMING, bench="exchange")])))
    for figure in ("100 MB, 4 sites, 100 ms", "1.250 s", "1.350 s", "9.090 s", "1.08", "6.73"):
        assert page.count(figure) >= 2, figure  # wan and exchange
    for figure in ("isthmus int4", "1200", "328", "1.600 s", "35%", "3.66"):
        assert figure in page
    for figure in ("avx512", "10.00", "0.800"):
        assert figure in page
    for figure in ("16", "8 B", "9.200 s", "9.600 s"):
        assert figure in page
    for figure in ("2 sites of 2+2 ranks", "0.420 s", "0.75", "0.770 s"):
        assert figure in page


def test_the_page_says_on_what_and_by_what_it_was_measured() -> None:
    origin = replace(here("isthmus bench wan --mb 100"), processor="A & B", kernel="6.0")
    page = report.render([Entry(origin=origin, row=TIMING)])
    assert "A &amp; B" in page
    assert "isthmus bench wan --mb 100" in page
    assert "Linux 6.0" in page


def test_the_page_has_a_case_once_and_codecs_of_every_machine() -> None:
    older = replace(here("old"), when="2026-01-01T00:00:00Z", processor="another")
    newer = replace(here("new"), when="2026-02-01T00:00:00Z")
    rows = [Entry(origin=origin, row=row) for origin in (newer, older) for row in (TIMING, CODING)]
    kept = [(entry.row.bench, entry.origin.command) for entry in report.newest(rows)]
    assert sorted(kept) == [("codecs", "new"), ("codecs", "old"), ("wan", "new")]


def test_the_page_leaves_out_what_was_not_measured() -> None:
    page = report.render(entries([CODING]))
    assert "Codecs" in page
    assert "Exchange across a WAN" not in page


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = report.render(entries(ROWS))
    assert not re.search(r"(src|href)=|@import|url\(|<script|https?:", page)


def test_the_cpu_of_small_operations_is_not_given_for_a_gigabyte() -> None:
    small = replace(TIMING, case="4 KB", bytes=4000)
    (table,) = tables([TIMING, small])
    assert [cells[-1] for cells in table.rows] == ["1.20 / 0.85", "-"]


class Closing(HTMLParser):
    """Fails on an element that is closed by another's tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open_: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open_.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open_.pop() == tag


def test_the_page_is_well_formed() -> None:
    parser = Closing()
    parser.feed(report.render(entries([*ROWS, GLOO])))
    assert parser.open_ == []


def test_report_of_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="isthmus bench all"):
        report.main(["--out", str(tmp_path)])


def test_report_reads_what_benches_kept(tmp_path: Path) -> None:
    for row in ROWS:
        Ledger(tmp_path, row.bench, command="isthmus bench").add(row)
    assert report.main(["--out", str(tmp_path)]) == 0
    assert "isthmus int4" in (tmp_path / "report.html").read_text()


def test_a_table_has_a_column_for_each_peer_there_is() -> None:
    (table,) = tables([TIMING, replace(TIMING, codec="int4", peers={"gloo": 9.0, "other": 2.0})])
    assert "gloo/isthmus" in table.head and "other/isthmus" in table.head
    first, second = table.text().splitlines()[1:3]
    assert "-" in first.split() and "2.000 s" in second


def test_without_peers_and_without_isthmus_a_table_is_whole() -> None:
    row = replace(TIMING, isthmus_s=None, peers={}, cpu_s_per_gb={})
    (table,) = tables([row])
    assert all(len(cells) == len(table.head) for cells in table.rows)
    assert "1.250 s" in table.text()


def test_planned_times_are_shown_where_there_are_some() -> None:
    (without,) = tables([TIMING])
    (planned,) = tables([TIMING, replace(TIMING, codec="int4", planned_s=1.3)])
    assert "planned" not in without.head
    assert "1.300 s" in planned.text()


def test_each_kind_of_row_has_its_own_table() -> None:
    rows: list[Row] = [TIMING, CODING, TRAINING, SCALING]
    assert [table.head[0] for table in tables(rows)] == ["case", "codec", "case", "codec"]


def test_quantities_are_written_as_one_says_them() -> None:
    assert [amount(n) for n in (400, 4000, 25_000_000)] == ["400 B", "4 KB", "25 MB"]
    assert [duration(s) for s in (1.25, 0.0523, None)] == ["1.250 s", "52.30 ms", "-"]


def test_rows_about_the_same_share_their_first_cell() -> None:
    made = figures(["case", "x"], [["a", "1"], ["a", "2"], ["b", "3"]])
    assert made.count(">a</th>") == 1
    assert 'rowspan="2">a' in made
    assert made.count("<tr>") == 4


def test_twice_as_much_is_always_as_far_away() -> None:
    line = Dots(name="f32", dots=[("c0", v, "") for v in (1.0, 2.0, 4.0, 8.0)], label="")
    svg = ElementTree.fromstring(ratio_chart([Group(title="a", rows=[line])], x_name="of floor"))
    at = [float(circle.attrib["cx"]) for circle in svg.findall("circle")]
    gaps = [b - a for a, b in pairwise(at)]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.2)
    assert gaps[0] > 50


def test_a_chart_can_stand_alone() -> None:
    line = Line(name="8 B", style="c1", points=[(2.0, 1.1), (16.0, 1.2)])
    text = standalone(line_chart([line], x_name="sites", y_name="of floor", legend=True))
    svg = ElementTree.fromstring(text)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "8 B" in "".join(svg.itertext())
