"""What keeps a link from carrying more. Pure: from measurements to one cause and a sentence."""

from __future__ import annotations

import enum
import statistics
from dataclasses import dataclass

from isthmus.doctor.measurements import Link, Survey, Way, together_rate
from isthmus.doctor.wording import mbit

# Rates closer than this are the same: TCP itself wavers so much in tests of a second.
alike = 0.8
# A stream that waits longer than this part of its time waits for a cause.
waiting_share = 0.2
# So many processors in use: one of the probe's threads may have had too little.
busy_processors = 0.8
# Several streams carry so much more than one: then one has a limit of its own.
more_by_many = 1.4
# Full-sized packets that never arrive.
silent_rate = 10e3


class Cause(enum.Enum):
    unknown = "not measured"
    machine = "processor"
    loss = "lost packets"
    hole = "lost packets of full size"
    rising = "not found out"
    uplink = "uplink"
    downlink = "downlink"
    ends = "uplink and downlink"
    line = "line"
    path = "path"


class StreamCause(enum.Enum):
    """What limits one stream, where several carry more: the words for it in a finding."""

    send_buffer = "the sender's buffer holds a single stream back"
    receive_buffer = "the receiver's buffer holds a single stream back"
    loss = "lost packets hold a single stream back"
    other = (
        "no buffer is full, but a single stream is slower: the path limits each connection, or the "
        "test was too short for it"
    )


@dataclass(frozen=True, kw_only=True)
class Limit:
    cause: Cause
    text: str


def limit_of(survey: Survey, link: Link) -> Limit:
    """Of all streams of a link together."""
    best = link.best
    if best is None:
        return Limit(cause=Cause.unknown, text=link.failure or "no test came to its end")
    if is_hole(link):
        text = "small packets pass, and nothing of full size does"
        return Limit(cause=Cause.hole, text=text)
    busy = [end for end in (link.origin, link.target) if survey.report(end).busy > busy_processors]
    if busy:
        text = f"the processor of {busy[0]}, as the probe used {survey.report(busy[0]).busy:.1f} of"
        return Limit(cause=Cause.machine, text=f"{text} its cores: the network may carry more")
    congestion = survey.report(link.origin).kernel.congestion
    if congestion != "bbr" and not is_clean(link):
        text = f"{congestion} at {link.origin}, which slows down for every lost packet"
        return Limit(cause=Cause.loss, text=f"{text}: {mbit(best.rate)}")
    if is_full(best, link) and not best.rising:
        return limit_of_path(survey, link, best.rate)
    # Alone, the link had not come to its end; but training is all sites at once.
    at_once = together_rate(survey.links_from(link.origin))
    if len(survey.sites) > 2 and at_once > best.rate:
        text = f"the uplink of {link.origin}, {mbit(at_once)} with all sites at once; alone, the "
        text += "link did not come so far in the time of its test"
        return Limit(cause=Cause.uplink, text=text)
    text = f"nothing found: the test was too short, and carried {mbit(best.rate)} in the end"
    return Limit(cause=Cause.rising, text=text)


def limit_of_path(survey: Survey, link: Link, rate: float) -> Limit:
    """Which of uplink, line and downlink is full, by what else the two sites carry."""
    if len(survey.sites) == 2:
        text = f"the path, {mbit(rate)}: the uplink of {link.origin}, the line or the downlink of "
        return Limit(cause=Cause.path, text=text + f"{link.target} (two sites cannot tell which)")
    uplink, downlink = survey.uplink(link.origin), survey.downlink(link.target)
    assert uplink is not None and downlink is not None  # each is at least this link's rate
    up, down = rate >= alike * uplink, rate >= alike * downlink
    sending = f"the uplink of {link.origin}, {mbit(uplink)} in all"
    receiving = f"the downlink of {link.target}, {mbit(downlink)} in all"
    if up and down and min(uplink, downlink) > 0.9 * max(uplink, downlink):
        return Limit(cause=Cause.ends, text=f"{sending}, or {receiving}")
    if up and down:  # the narrower one
        up = uplink < downlink
    if up:
        return Limit(cause=Cause.uplink, text=sending)
    if down:
        return Limit(cause=Cause.downlink, text=receiving)
    text = f"the line between the two, {mbit(rate)}: both carry more to and from other sites"
    return Limit(cause=Cause.line, text=text)


def is_hole(link: Link) -> bool:
    """Full-sized packets vanish: a tunnel's MTU is smaller than its ends know."""
    return (
        link.one is not None
        and link.round_trip_s is not None
        and link.one.rate < silent_rate
        and link.one.sending.retransmitted > 0
    )


def stream_limit(survey: Survey, link: Link) -> StreamCause | None:
    """Of a single stream; None where it carries about as much as several."""
    one, many = link.one, link.many
    if one is None or many is None or not is_slower(one, many):
        return None
    kernel, sending = survey.report(link.origin).kernel, one.sending
    if sending.receive_window_s > waiting_share * sending.busy_s:
        return StreamCause.receive_buffer
    # By the kernel's own account seldom, as most of the time it has something to send.
    most = kernel.send_buffer_bytes / max(1e-6, link.round_trip_s or 0.0)
    if sending.send_buffer_s > waiting_share * sending.busy_s or many.rate > more_by_many * most:
        return StreamCause.send_buffer
    if kernel.congestion != "bbr" and not is_clean(link):
        return StreamCause.loss
    # One that would have gone on to speed up, or fills a queue, has no limit of its own; nor has
    # one whose way back was full, as both ways were tested at once.
    back = survey.link(link.target, link.origin)
    both = back.one is not None and back.many is not None and is_slower(back.one, back.many)
    return StreamCause.other if both and not one.rising and not stands(one, link) else None


def is_slower(one: Way, many: Way) -> bool:
    return many.rate >= more_by_many * one.rate


def stream_rate(survey: Survey, link: Link) -> float:
    """What a single stream can carry, once it is up to speed."""
    measured = link.one.rate if link.one is not None else 0.0
    if stream_limit(survey, link) is not StreamCause.send_buffer or not link.round_trip_s:
        return measured
    return max(measured, survey.report(link.origin).kernel.send_buffer_bytes / link.round_trip_s)


def path_loss(link: Link) -> float:
    """Share of packets lost while no queue was full, unless it could be an accident."""
    calm = [way for way in (link.calm, link.many) if way is not None and not stands(way, link)]
    lost = sum(way.sending.retransmitted for way in calm)
    return lost / sum(way.sending.segments for way in calm) if lost >= 3 else 0.0


def is_clean(link: Link) -> bool:
    """Whether nothing was lost at half rate: then what is lost at full rate fell off a queue."""
    return link.calm is not None and link.calm.sending.retransmitted == 0


def stands(way: Way, link: Link) -> bool:
    """Whether packets stood in a queue: the round trip was longer than on the idle path."""
    return way.sending.round_trip_s > 1.15 * (link.round_trip_s or 0.0) + 0.002


def thin_links(survey: Survey) -> list[Link]:
    """Links that carry less than half of what is usual between these sites, by themselves."""
    rates = [link.rate for link in survey.links() if link.rate is not None]
    if len(rates) < 4:
        return []
    usual = statistics.median(rates)
    return [link for link in survey.links() if link.rate is not None and link.rate < usual / 2]


def is_full(way: Way, link: Link) -> bool:
    """A full path shows it: packets stand in a queue, or are dropped in numbers."""
    return stands(way, link) or way.loss > 0.01


def overflows(way: Way, link: Link) -> bool:
    """Whether the test filled a queue until it dropped packets."""
    return way.loss > 0.01 and stands(way, link)
