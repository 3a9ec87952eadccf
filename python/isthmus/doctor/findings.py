"""From measurements to sentences: what is wrong or worth knowing, and what to change, where.

Pure. One function a topic; `find` calls them in the order of the report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from isthmus.doctor import limits, sockets
from isthmus.doctor.limits import Cause, StreamCause
from isthmus.doctor.measurements import Link, Survey
from isthmus.doctor.wording import binary, mbit, milliseconds, names, percent

Grade = Literal["problem", "note"]

clocks_apart_s = 0.1
usual_mtu = 1500
# Payload of a full TCP packet and its MTU differ by the headers, with timestamps, in IPv6.
most_header_bytes = 72


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence. sites: who has to act, or to know. change: what to do; commands: as root."""

    grade: Grade
    sites: tuple[str, ...]
    text: str
    change: str = ""
    commands: tuple[str, ...] = ()


def find(survey: Survey) -> list[Finding]:
    """Problems first."""
    topics = (unreachable, unmeasured, holes, thin, congestion, streams, loss, queues, mtu)
    found = [finding for topic in topics for finding in topic(survey)]
    found += [*idle(survey), *clocks(survey), *processors(survey), *loopback(survey)]
    return sorted(found, key=lambda finding: finding.grade != "problem")


def unreachable(survey: Survey) -> Iterator[Finding]:
    failed = {
        (report.site, reach.peer): reach
        for report in survey.reports
        for reach in report.reaches
        if reach.failure
    }
    for (site, peer), reach in failed.items():
        port = reach.address.rpartition(":")[2]
        both = (peer, site) in failed
        other = (
            f" Neither can {peer} reach {site}, so nothing is known of the two but what the "
            "session's own link tells."
            if both
            else f" {peer} reached {site}, and dialled instead."
        )
        yield Finding(
            grade="problem" if both else "note",
            sites=(peer,),
            text=f"{site} cannot reach {peer} at {reach.address}: {reach.failure}.{other}",
            change=f"at {peer}, open TCP port {port} for {site}, or choose one that is open by "
            "--probe-port; training itself needs only the port of ISTHMUS_LISTEN",
        )


def unmeasured(survey: Survey) -> Iterator[Finding]:
    known = {
        (report.site, reach.peer)
        for report in survey.reports
        for reach in report.reaches
        if reach.failure
    }
    for link in pairs(survey):
        both_failed = {(link.origin, link.target), (link.target, link.origin)} <= known
        if link.failure and not both_failed:
            yield Finding(
                grade="problem",
                sites=(link.origin, link.target),
                text=f"{link.origin} and {link.target} were not fully measured: {link.failure}",
                change="run the doctor again; if it stays so, look at both sites' output",
            )


def holes(survey: Survey) -> Iterator[Finding]:
    for link in survey.links():
        if limits.is_hole(link):
            yield Finding(
                grade="problem",
                sites=(link.origin,),
                text=f"{link}: small packets pass, and nothing of full size does. The MTU of a "
                "tunnel on the way is smaller than its ends know, and the ICMP messages that would "
                "tell are dropped",
                change=f"at {link.origin}, lower the MTU of the interface to {link.target}, or let "
                "TCP find out",
                commands=("sysctl -w net.ipv4.tcp_mtu_probing=1",),
            )


def thin(survey: Survey) -> Iterator[Finding]:
    """Who carries much less than the others holds up everybody."""
    places: dict[str, list[Link]] = {}
    for link in limits.thin_links(survey):
        place = {
            Cause.uplink: f"the uplink of {link.origin}",
            Cause.downlink: f"the downlink of {link.target}",
            Cause.line: f"the line between {names(sorted([link.origin, link.target]))}",
        }.get(limits.limit_of(survey, link).cause)
        if place is not None:
            places.setdefault(place, []).append(link)
    usual = max((link.rate or 0.0 for link in survey.links()), default=0.0)
    for place, links in places.items():
        carried = max(link.rate or 0.0 for link in links)
        yield Finding(
            grade="problem",
            sites=tuple(sorted({end for link in links for end in (link.origin, link.target)})),
            text=f"{place} is thin: {mbit(carried)}, where other links carry up to {mbit(usual)}; "
            "everybody waits for it",
            change="isthmus plans around it as far as it can; what helps is at the provider: a "
            "larger machine, another region, a private line",
        )


def congestion(survey: Survey) -> Iterator[Finding]:
    for report in survey.reports:
        kernel = report.kernel
        if report.loopback or not kernel.wanted_congestion:
            continue
        if kernel.congestion != kernel.wanted_congestion:
            module = f"tcp_{kernel.wanted_congestion}"
            keep = f"echo {module} > /etc/modules-load.d/{module}.conf"
            yield Finding(
                grade="problem",
                sites=(report.site,),
                text=f"{report.site} uses {kernel.congestion}, as its kernel does not offer "
                f"{kernel.wanted_congestion} (it has {names(kernel.available_congestion)})",
                change=f"at {report.site}, load it",
                commands=(f"modprobe {module}", keep),
            )


def streams(survey: Survey) -> Iterator[Finding]:
    """Where several streams carry more than one, and whether a buffer is to blame."""
    causes: dict[StreamCause, list[Link]] = {}
    for link in survey.links():
        cause = limits.stream_limit(survey, link)
        if cause is not None:
            causes.setdefault(cause, []).append(link)
    several = "ISTHMUS_STREAMS, below, says whether training needs more of them"
    for cause, links in causes.items():
        text = f"{cause.value}: {few([compared(link) for link in links])}"
        small = [link for link in links if has_small_send_buffer(survey, link)]
        if cause is StreamCause.receive_buffer:
            yield receive_buffer(links, text)
        elif cause is StreamCause.send_buffer and small:
            asked = sockets.send_buffer_bytes
            sites = sorted({link.origin for link in small})
            yield Finding(
                grade="problem",
                sites=tuple(sites),
                text=text,
                change=f"at {names(sites)}, allow the {binary(asked)} that isthmus asks for",
                commands=(f"sysctl -w net.core.wmem_max={asked}",),
            )
        else:
            sites = sorted({link.origin for link in links})
            yield Finding(grade="note", sites=tuple(sites), text=text, change=several)


def receive_buffer(links: list[Link], text: str) -> Finding:
    """Half of a receive buffer is the kernel's own; twice the path's product leaves room."""
    sites = sorted({link.target for link in links})
    product = max(link.many.rate * (link.round_trip_s or 0.0) for link in links if link.many)
    return Finding(
        grade="problem",
        sites=tuple(sites),
        text=text,
        change=f"at {names(sites)}, let receive buffers grow",
        commands=(f'sysctl -w net.ipv4.tcp_rmem="4096 131072 {power(4 * product)}"',),
    )


def has_small_send_buffer(survey: Survey, link: Link) -> bool:
    """The kernel's limit can be raised up to what the core asks for; from there streams help."""
    return survey.report(link.origin).kernel.send_buffer_bytes < sockets.send_buffer_bytes


def compared(link: Link) -> str:
    assert link.one is not None and link.many is not None  # stream_limit() looked
    return f"{link} ({mbit(link.one.rate)}; {link.many.streams} streams {mbit(link.many.rate)})"


def few(words: list[str], most: int = 4) -> str:
    """Some of a long list."""
    return names(words) if len(words) <= most else f"{', '.join(words[:most])} and others"


def loss(survey: Survey) -> Iterator[Finding]:
    """What is lost at half rate has fallen into no queue of ours."""
    lossy: dict[str, list[Link]] = {}
    for link in survey.links():
        if limits.path_loss(link) > 0:
            lossy.setdefault(survey.report(link.origin).kernel.congestion, []).append(link)
    for control, links in lossy.items():
        lost = [f"{link} ({percent(limits.path_loss(link))})" for link in links]
        sites = tuple(sorted({link.origin for link in links}))
        text = f"packets are lost while no queue is full on {few(lost)}"
        if control == "bbr":
            text += ". BBR does not slow down for that; each costs a round trip of waiting"
            yield Finding(grade="note", sites=sites, text=text)
            continue
        most = max(lasting_rate(control, link) for link in links)
        ready = all("bbr" in survey.report(site).kernel.available_congestion for site in sites)
        yield Finding(
            grade="problem",
            sites=sites,
            text=f"{text}. In the long run a stream of {control} then gets no more than about "
            f"{mbit(most)}, whatever it showed in a short test",
            change=f"at {names(sites)}, set ISTHMUS_CONGESTION=bbr, which does not take a lost "
            "packet for a full queue",
            commands=() if ready else ("modprobe tcp_bbr",),
        )


def lasting_rate(control: str, link: Link) -> float:
    """Bytes a second of one stream that backs off for losses.

    Segments a round trip: 1.22 / sqrt(p) (Mathis et al., The macroscopic behavior of the TCP
    congestion avoidance algorithm, 1997), and for cubic, where that is more, 1.054 (RTT/p)^(3/4)
    (RFC 9438, section 5.1, C = .4, beta = .7).
    """
    share, trip = limits.path_loss(link), link.round_trip_s or 1.0
    window = 1.22 / math.sqrt(share)
    if control == "cubic":
        window = max(window, 1.054 * (trip / share) ** 0.75)
    size = link.calm.sending.segment_bytes if link.calm is not None else 0
    return window * size / trip


def queues(survey: Survey) -> Iterator[Finding]:
    """At full rate TCP overruns the queue in front of the narrow place, unless isthmus paces."""
    drops = [
        (link.many, link.origin)
        for link in survey.links()
        if link.many and limits.overflows(link.many, link)
    ]
    if drops:
        sites = sorted({site for _, site in drops})
        worst = max((way for way, _ in drops), key=lambda way: way.loss)
        slowest = max(way.sending.round_trip_s for way, _ in drops)
        yield Finding(
            grade="note",
            sites=tuple(sites),
            text=f"when {names(sites)} sent all that TCP would, the queue before the narrowest "
            f"place overflowed: round trips grew to {milliseconds(slowest)}, and up to "
            f"{percent(worst.loss)} was sent twice",
            change="nothing: isthmus sends no faster than its uplink (below), once it knows it",
        )


def mtu(survey: Survey) -> Iterator[Finding]:
    low = [link for link in survey.links() if link.one and link.one.sending.path_mtu < usual_mtu]
    for size, links in by_mtu(low).items():
        if size == 0:
            continue  # a kernel too old to tell
        yield Finding(
            grade="note",
            sites=tuple(sorted({link.origin for link in links})),
            text=f"the path MTU is {size} on {names([str(link) for link in links])}, which is "
            "usual for a VPN, and costs "
            f"{percent(max(0.0, 1 - (size - 52) / size - (1 - (usual_mtu - 52) / usual_mtu)))}",
        )
    for link in survey.links():
        if link.one is None or limits.is_hole(link):
            continue
        sending = link.one.sending
        if 0 < sending.segment_bytes < sending.path_mtu - most_header_bytes:
            yield Finding(
                grade="note",
                sites=(link.origin,),
                text=f"{link} has a path MTU of {sending.path_mtu}, but segments carry only "
                f"{sending.segment_bytes} bytes: {link.target}'s MTU is smaller, or something on "
                "the way cuts the segment size (an MSS clamp)",
                change="nothing, if a VPN does so on purpose",
            )


def by_mtu(links: list[Link]) -> dict[int, list[Link]]:
    found: dict[int, list[Link]] = {}
    for link in links:
        assert link.one is not None
        found.setdefault(link.one.sending.path_mtu, []).append(link)
    return found


def idle(survey: Survey) -> Iterator[Finding]:
    """Training is silent while it computes; then a kernel may forget what the path carries."""
    sites = [
        report.site
        for report in survey.reports
        if report.kernel.slow_start_after_idle
        and report.kernel.congestion != "bbr"
        and not report.loopback
    ]
    if sites:
        yield Finding(
            grade="problem",
            sites=tuple(sites),
            text=f"{names(sites)} would begin slowly after each pause between two steps",
            change=f"at {names(sites)}, keep what was learnt of the path",
            commands=("sysctl -w net.ipv4.tcp_slow_start_after_idle=0",),
        )


def clocks(survey: Survey) -> Iterator[Finding]:
    first = survey.sites[0]
    for site in survey.sites[1:]:
        offset = survey.link(first, site).clock_offset_s
        if offset is not None and abs(offset) > clocks_apart_s:
            way = "ahead of" if offset > 0 else "behind"
            yield Finding(
                grade="note",
                sites=(site,),
                text=f"the clock of {site} is {milliseconds(abs(offset))} {way} that of {first}; "
                "isthmus does not mind, but logs will not line up",
                change=f"at {site}, run an NTP client (chrony, systemd-timesyncd)",
            )


def processors(survey: Survey) -> Iterator[Finding]:
    sites = [report.site for report in survey.reports if report.busy > limits.busy_processors]
    if sites:
        yield Finding(
            grade="note",
            sites=tuple(sites),
            text=f"the probe kept a processor of {names(sites)} busy throughout: rates there are "
            "what the machine does, and the network may carry more",
        )


def loopback(survey: Survey) -> Iterator[Finding]:
    if all(report.loopback for report in survey.reports):
        yield Finding(
            grade="note",
            sites=survey.sites,
            text="all sites are on this machine's loopback: rates are those of the machine, which "
            "the probes shared, and no network was seen",
            change="`isthmus wan` gives sites a network on one machine",
        )


def pairs(survey: Survey) -> Iterator[Link]:
    """One link of every pair."""
    for origin, target in itertools.combinations(survey.sites, 2):
        yield survey.link(origin, target)


def power(count: float) -> int:
    """The next power of two, from 1 MiB on."""
    return int(max(2**20, 2 ** math.ceil(math.log2(max(1.0, count)))))
