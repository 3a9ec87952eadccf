"""The demo's report: one page that shows what was measured."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from demo_steps import make_steps
from isthmus.demo.report import Run, render
from isthmus.page.svg import Bar, Line, bar_chart, line_chart, ticks

LINKS = {"aws-gcp": 400_000_000, "aws-azure": 300_000_000, "azure-gcp": 200_000_000}


def page(*, links: dict[str, int] = LINKS) -> str:
    ours = Run(name="isthmus", steps=make_steps(4, step_s=2.0, wan_bytes=53_300_000), links=links)
    gloo = Run(name="gloo", steps=make_steps(4, step_s=5.0, wan_bytes=60_100_000), links=links)
    return render([ours, gloo], {"Network": "80 ms & 200 Mbit/s", "Codec": "f32"})


class Closing(HTMLParser):
    """Fails on an element that is closed by another's tag."""

    EMPTY = frozenset({"meta", "line", "circle", "rect", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open_: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.EMPTY:
            self.open_.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open_.pop() == tag


def test_the_page_is_well_formed() -> None:
    parser = Closing()
    parser.feed(page())
    assert parser.open_ == []


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert not re.search(r"(src|href)=|@import|url\(|<script|https?:", page())


def test_the_page_has_the_ratio_the_losses_and_the_speeds() -> None:
    text = page()
    assert "2.50 times as many tokens per second" in text
    for figure in ("1024", "410", "2.00 s", "5.00 s", "53.3 MB", "60.1 MB", "5.0000"):
        assert figure in text


def test_the_page_splits_the_step_and_counts_each_links_bytes() -> None:
    text = page()
    assert "0.60 s + 1.40 s = 2.00 s" in text
    for name, a_step in (("aws-gcp", "100.0 MB"), ("aws-azure", "75.0 MB")):
        assert f"{name}, isthmus" in text
        assert f"{a_step} a step" in text


def test_on_loopback_the_page_says_that_links_are_not_known() -> None:
    assert "Not known on loopback" in page(links={})


def test_facts_are_escaped_and_all_there() -> None:
    assert "80 ms &amp; 200 Mbit/s" in page()
    assert "<script>" not in render(
        [Run(name="isthmus", steps=make_steps(1), links={})], {"<script>": "x"}
    )


def test_one_run_alone_makes_a_page() -> None:
    text = render([Run(name="isthmus", steps=make_steps(1), links={})], {})
    assert "nothing to compare with" in text


def test_a_line_chart_keeps_all_points_inside() -> None:
    line = Line(name="a", style="c0", points=[(0.5, 8.3), (40.0, 5.1), (90.0, 6.0)])
    svg = ElementTree.fromstring(line_chart([line], x_name="s", y_name="loss", height=300))
    circles = svg.findall("circle")
    assert len(circles) == 3
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= 640
        assert 0 <= float(circle.attrib["cy"]) <= 300


def test_one_point_makes_a_chart() -> None:
    line = Line(name="a", style="c0", points=[(0.0, 1.0)])
    assert "NaN" not in line_chart([line], x_name="s", y_name="loss").replace("nan", "NaN")


def test_bars_are_as_long_as_their_parts() -> None:
    bars = [
        Bar(name="a", parts=[("c0", 1.0, "x"), ("s0", 3.0, "y")], label="4"),
        Bar(name="b", parts=[("c1", 2.0, "z")], label="2"),
    ]
    widths = [
        float(r.attrib["width"]) for r in ElementTree.fromstring(bar_chart(bars)).findall("rect")
    ]
    assert widths == pytest.approx([159.0, 479.0, 319.0])


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert all(5.1 <= t <= 8.4 for t in ticks(5.1, 8.4))
    assert 3 <= len(ticks(5.1, 8.4)) <= 8
