"""What the doctor prints. Pure: from measurements, findings and advice to text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from isthmus.doctor import advice as advising
from isthmus.doctor import limits
from isthmus.doctor.advice import Advice
from isthmus.doctor.findings import Finding
from isthmus.doctor.measurements import Link, Survey, Way
from isthmus.doctor.wording import binary, duration, milliseconds, names, percent, short_mbit, size

width = 100


def full(survey: Survey, findings: Sequence[Finding], advice: Advice) -> str:
    """Everything, for the first site."""
    parts = [
        *rates(survey),
        *paths(survey),
        *sites(survey),
        *limits_of_links(survey),
        *told(findings),
        *settings(survey, advice),
        *forecasts(advice),
    ]
    return "\n".join(parts)


def own(survey: Survey, findings: Sequence[Finding], advice: Advice, site: str) -> str:
    """What one of the other sites has to know and to do."""
    mine = [finding for finding in findings if site in finding.sites]
    parts = [
        *told(mine),
        *settings(survey, advice, only=site),
        f"all measurements and the forecast: at {survey.sites[0]}, or by --json",
    ]
    return "\n".join(parts)


def heading(text: str) -> list[str]:
    return ["", text, "─" * min(width, len(text))]


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be; the first one left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        yield "  " + "  ".join(cells).rstrip()


def matrix(survey: Survey, cell: Callable[[Link], str]) -> Iterator[str]:
    """From the rows' sites to the columns'."""
    rows = [["", *survey.sites]]
    for origin in survey.sites:
        cells = [
            "·" if target == origin else cell(survey.link(origin, target))
            for target in survey.sites
        ]
        rows.append([origin, *cells])
    return table(rows)


def rates(survey: Survey) -> Iterator[str]:
    def cell(link: Link) -> str:
        if link.one is None and link.many is None:
            return "?"
        return " / ".join(rate_of(way) for way in (link.one, link.many, link.together))

    many = max((link.many.streams for link in survey.links() if link.many), default=0)
    yield from heading(
        f"Mbit/s, from row to column: one stream / {many} streams / all sites at once"
    )
    yield from matrix(survey, cell)
    if any(way.rising for link in survey.links() for way in (link.one, link.many) if way):
        yield "  > the rate still rose as the test ended: at least so much"


def rate_of(way: Way | None) -> str:
    if way is None:
        return "?"
    return (">" if way.rising else "") + short_mbit(way.rate)


def paths(survey: Survey) -> Iterator[str]:
    def cell(link: Link) -> str:
        lost = "?" if link.calm is None else percent(link.calm.loss)
        again = "?" if link.many is None else percent(link.many.loss)
        return f"{milliseconds(link.round_trip_s)}, {lost}, {again}"

    yield from heading("round trip, packets lost at half rate, packets sent again at full rate")
    yield from matrix(survey, cell)
    sizes = sorted({link.one.sending.path_mtu for link in survey.links() if link.one})
    if sizes:
        on = "on all links" if len(sizes) == 1 else "by link"
        yield f"  path MTU {' to '.join(map(str, sizes[:1] + sizes[1:][-1:]))} bytes {on}"


def sites(survey: Survey) -> Iterator[str]:
    yield from heading("sites")
    first = survey.sites[0]
    rows = [["", "uplink", "downlink", "clock", "control", "send buffer", "receive buffer"]]
    for report in survey.reports:
        offset = 0.0 if report.site == first else survey.link(first, report.site).clock_offset_s
        clock = "?" if offset is None else f"{offset * 1e3:+.1f} ms"
        rows.append(
            [
                report.site,
                short_mbit(survey.uplink(report.site)),
                short_mbit(survey.downlink(report.site)),
                clock,
                report.kernel.congestion,
                binary(report.kernel.send_buffer_bytes),
                binary(report.kernel.receive_buffer_bytes),
            ]
        )
    yield from table(rows)
    yield f"  rates: Mbit/s of data, the most that was seen at once; clocks: against {first}'s"


def limits_of_links(survey: Survey) -> Iterator[str]:
    """Links of the same limit share a line."""
    yield from heading("what limits each link")
    groups: dict[str, list[str]] = {}
    for link in survey.links():
        groups.setdefault(limits.limit_of(survey, link).text, []).append(str(link))
    for text, links in groups.items():
        yield from wrapped(f"{', '.join(links)}: {text}")


def told(findings: Sequence[Finding]) -> Iterator[str]:
    yield from heading("findings")
    if not findings:
        yield "  nothing to change"
    for finding in findings:
        mark = "!" if finding.grade == "problem" else "·"
        yield from wrapped(f"{mark} {finding.text}", hanging=4)
        if finding.change:
            yield from wrapped(f"→ {finding.change}", indent=4, hanging=6)
        yield from (f"      {command}" for command in finding.commands)


def settings(survey: Survey, advice: Advice, only: str | None = None) -> Iterator[str]:
    yield from heading("settings")
    if only is None:
        yield from wrapped(f'codec "{advice.codec}": {advice.codec_reason}')
        yield from wrapped(f'schedule "auto": {advice.schedule_reason}')
    streams = "not set" if advice.streams is None else str(advice.streams)
    yield from wrapped(f"ISTHMUS_STREAMS {streams}: {advice.streams_reason}")
    if only is None:
        yield from wrapped(f"rails {advice.rails}: {advice.rails_reason}")
    for uplink in advice.uplinks:
        if only in (None, uplink.site):
            value = "not set" if uplink.mbit is None else str(uplink.mbit)
            yield from wrapped(f"{uplink.site}: ISTHMUS_UPLINK_MBIT {value}: {uplink.reason}")
    exports = list(exported(advice, survey.sites if only is None else (only,)))
    if exports:
        yield ""
        yield from exports


def exported(advice: Advice, sites: Sequence[str]) -> Iterator[str]:
    """Lines for the shell of each site."""
    for uplink in advice.uplinks:
        words = [f"ISTHMUS_UPLINK_MBIT={uplink.mbit}"] if uplink.mbit is not None else []
        words += [f"ISTHMUS_STREAMS={advice.streams}"] if advice.streams is not None else []
        if words and uplink.site in sites:
            yield f"  export {' '.join(words)}  # at {uplink.site}"


def forecasts(advice: Advice) -> Iterator[str]:
    yield from heading(f"forecast for {advising.model(advice)}")
    if not advice.forecasts:
        yield "  none: some link could not be measured"
        return
    last = "step" if advice.compute_s is not None else "hidden from"
    rows = [["codec", "a site's gradients", "exchange", "last bucket", last, "schedule"]]
    for it in advice.forecasts:
        ending = it.hidden_from_s if it.step_s is None else it.step_s
        rows.append(
            [
                it.codec,
                size(it.wire_bytes),
                duration(it.exchange_s),
                duration(it.last_bucket_s),
                duration(ending),
                it.schedule,
            ]
        )
    yield from table(rows)
    if advice.compute_s is None:
        yield from wrapped(
            "hidden from: seconds that a step must compute so that waiting adds no more than 5 %"
        )
    yield from wrapped(
        "by the network alone, paced: encoding and adding are not in it, and real steps need "
        "about a tenth more (bench/wan.py)"
    )


def wrapped(text: str, indent: int = 2, hanging: int = 4) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(survey: Survey) -> str:
    return f"isthmus doctor: {len(survey.sites)} sites, {names(survey.sites)}"
