"""What to set, and how long a step will take: pure, by the core's own prediction.

A step is predicted as DDP runs it: a third of the computation is the forward pass, and buckets
leave from then on; the last one leaves when the backward pass ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isthmus import _core
from isthmus.codecs import parse
from isthmus.doctor import limits
from isthmus.doctor.limits import Cause
from isthmus.doctor.measurements import Link, Survey
from isthmus.doctor.wording import count, duration, mbit
from isthmus.links import PAYLOAD_SHARE, Links

codecs = ("f32", "bf16", "int8", "int4", "int2")
lossless_enough = ("f32", "bf16", "int8", "int4")  # docs/convergence.md: no loss to speak of
bucket_elements = 25 * 2**20 // 4  # DDP's default
forward_share = 1 / 3
hidden_within = 1.05  # a step this much longer than its computation
most_streams = 32
rails_from_rate = 1.25e9  # 10 Gbit/s: what one gateway's processor can encode, sum and send


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """All gradients of a step through one codec. step_s: None without a time of computation."""

    codec: str
    schedule: str
    wire_bytes: int  # of one site's gradients
    exchange_s: float
    last_bucket_s: float
    step_s: float | None

    @property
    def hidden_from_s(self) -> float:
        """What a step must compute at least so that nearly all of the exchange hides behind it."""
        hiding = hidden_within - forward_share
        return max(self.exchange_s / hiding, self.last_bucket_s / (hidden_within - 1))


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """What to tell a site; None: nothing, for the reason."""

    site: str
    mbit: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Advice:
    """links: None where some pair could not be measured, and then nothing is forecast."""

    parameters: int
    compute_s: float | None
    links: Links | None
    forecasts: tuple[Forecast, ...]
    codec: str
    codec_reason: str
    schedule_reason: str
    streams: int | None  # None: isthmus's own choice is right
    streams_reason: str
    rails: int
    rails_reason: str
    uplinks: tuple[Uplink, ...]


def advise(survey: Survey, *, parameters: int, compute_s: float | None) -> Advice:
    links = links_of(survey)
    forecasts = () if links is None else forecast_all(links, parameters, compute_s)
    codec, codec_reason = choose_codec(forecasts, compute_s)
    streams, streams_reason = choose_streams(survey)
    rails, rails_reason = choose_rails(survey)
    return Advice(
        parameters=parameters,
        compute_s=compute_s,
        links=links,
        forecasts=forecasts,
        codec=codec,
        codec_reason=codec_reason,
        schedule_reason=explain_schedule(links, forecasts, codec),
        streams=streams,
        streams_reason=streams_reason,
        rails=rails,
        rails_reason=rails_reason,
        uplinks=tuple(choose_uplink(survey, site) for site in survey.sites),
    )


def links_of(survey: Survey) -> Links | None:
    """As the core takes them; None where a pair is missing."""
    measured = {(link.origin, link.target): link for link in survey.links()}
    if any(not link.rate or link.round_trip_s is None for link in measured.values()):
        return None

    def matrix(value: str, own: float) -> tuple[tuple[float, ...], ...]:
        def cell(origin: str, target: str) -> float:
            if origin == target:
                return own
            link = measured[origin, target]
            return (link.rate or 0.0) if value == "rate" else (link.round_trip_s or 0.0) / 2

        return tuple(tuple(cell(a, b) for b in survey.sites) for a in survey.sites)

    uplink = tuple(survey.uplink(site) or 0.0 for site in survey.sites)
    downlink = tuple(survey.downlink(site) or 0.0 for site in survey.sites)
    return Links(
        sites=survey.sites,
        uplink=uplink,
        downlink=downlink,
        pair=matrix("rate", max(uplink)),
        delay=matrix("delay", 0.0),
    )


def forecast_all(links: Links, parameters: int, compute_s: float | None) -> tuple[Forecast, ...]:
    return tuple(forecast(links, name, parameters, compute_s) for name in codecs)


def forecast(links: Links, codec: str, parameters: int, compute_s: float | None) -> Forecast:
    """Through the network alone: encoding and adding are not in it."""
    bucket = min(parameters, bucket_elements)
    whole, last = links.plan(parameters, codec), links.plan(bucket, codec)
    step_s = None
    if compute_s is not None:
        step_s = max(compute_s + last.seconds, forward_share * compute_s + whole.seconds)
    return Forecast(
        codec=codec,
        schedule=last.schedule,
        wire_bytes=_core.wire_size(parse(codec).up, parameters),
        exchange_s=whole.seconds,
        last_bucket_s=last.seconds,
        step_s=step_s,
    )


def choose_codec(forecasts: tuple[Forecast, ...], compute_s: float | None) -> tuple[str, str]:
    """The most exact one that hides behind the computation, else int4."""
    if not forecasts:
        return "int4", "the one to begin with; without all links nothing can be forecast"
    known = {forecast.codec: forecast for forecast in forecasts}
    int4 = known["int4"]
    if compute_s is None:
        return "int4", (
            "the one to begin with; it hides behind a step that computes for "
            f"{duration(int4.hidden_from_s)} or longer (say yours by --step-seconds)"
        )
    for name in lossless_enough:
        step_s = known[name].step_s
        if step_s is not None and step_s <= hidden_within * compute_s:
            less = "" if name == "f32" else ", and nothing more exact does"
            return name, f"it hides behind {duration(compute_s)} of computation{less}"
    int2 = known["int2"]
    return "int4", (
        f"the least bytes without a loss to speak of; of {duration(int4.step_s or 0.0)} a step, "
        f"{duration((int4.step_s or 0.0) - compute_s)} wait for the network (int2: "
        f"{duration((int2.step_s or 0.0) - compute_s)}, at some loss of quality)"
    )


def explain_schedule(links: Links | None, forecasts: tuple[Forecast, ...], codec: str) -> str:
    chosen = next((it.schedule for it in forecasts if it.codec == codec), None)
    if links is None or chosen is None:
        return "isthmus chooses"
    text = f"isthmus takes {chosen!r} for a bucket of 25 MiB"
    plan = links.plan(bucket_elements, codec)
    shares = plan.shares
    if chosen == "ring":
        text += f", round by {', '.join(links.sites[rank] for rank in plan.order)}"
    if chosen == "direct" and max(shares) > 1.1 * min(shares):
        owned = zip(links.sites, shares, strict=True)
        told = ", ".join(f"{site} {100 * share:.0f} %" for site, share in owned)
        text += f", with uneven shares: {told}"
    return text


def choose_streams(survey: Survey) -> tuple[int | None, str]:
    """As many as the neediest link needs, for its part of the uplink."""
    needs = [(need, link) for link in survey.links() if (need := needed_streams(survey, link)) > 0]
    if not needs:
        return None, "isthmus's own choice carries what the links can get"
    most, link = max(needs, key=lambda it: it[0])
    one = limits.stream_rate(survey, link)
    return most, f"on {link}, a stream carries {mbit(one)}, and the link has room for {most}"


def needed_streams(survey: Survey, link: Link) -> int:
    """0: no more than isthmus takes by itself."""
    cause = limits.stream_limit(survey, link)
    if cause is None or link.many is None or link.one is None or link.one.rising:
        return 0
    uplink = survey.uplink(link.origin) or 0.0
    # All links of a site have work at once, and share its uplink.
    part = min(link.many.rate, uplink / (len(survey.sites) - 1) * 1.25)
    needed = math.ceil(part / max(1.0, limits.stream_rate(survey, link)))
    standing = max(
        (it.streams for it in survey.report(link.origin).standings if it.peer == link.target),
        default=1,
    )
    return min(most_streams, needed) if needed > standing else 0


def choose_rails(survey: Survey) -> tuple[int, str]:
    fastest = max((survey.uplink(site) or 0.0 for site in survey.sites), default=0.0)
    if all(report.loopback for report in survey.reports):
        return 1, "no network was seen"
    if fastest >= rails_from_rate or any(
        report.busy > limits.busy_processors for report in survey.reports
    ):
        return 2, (
            f"{mbit(fastest)} is more than one gateway's processor may fill; give each rail a "
            "gateway, and if the provider limits a machine, one on another machine"
        )
    return 1, f"one gateway fills {mbit(fastest)}"


def choose_uplink(survey: Survey, site: str) -> Uplink:
    """The best that was seen, and headers: rather too much than too little (0008)."""
    links = [link for link in survey.links() if link.origin == site]
    causes = {limits.limit_of(survey, link).cause for link in links}
    rate = survey.uplink(site)
    if rate is None or causes <= {Cause.unknown, Cause.hole}:
        return Uplink(site=site, mbit=None, reason="nothing was measured")
    if survey.report(site).loopback or Cause.machine in causes:
        reason = "the machine was the limit, and not the network"
        return Uplink(site=site, mbit=None, reason=reason)
    if causes & {Cause.uplink, Cause.ends, Cause.path}:
        told = rounded_up(rate * 8 / 1e6 / PAYLOAD_SHARE)
        return Uplink(site=site, mbit=told, reason=f"{mbit(rate)} of data, and headers")
    if causes & {Cause.rising, Cause.loss}:
        reason = f"not found out: {mbit(rate)} at least"
        return Uplink(site=site, mbit=None, reason=reason)
    reason = f"not its limit: it carries {mbit(rate)} at least, and the others take no more"
    return Uplink(site=site, mbit=None, reason=reason)


def rounded_up(value: float) -> int:
    """To two digits and a half: 203 is 205, 1011 is 1050."""
    step: float = 10.0 ** max(0, math.floor(math.log10(max(1.0, value))) - 1) / 2
    return math.ceil(math.ceil(value / step) * step)


def model(advice: Advice) -> str:
    """What was asked for, in words."""
    text = f"{count(advice.parameters)} parameters"
    return (
        text if advice.compute_s is None else f"{text}, {duration(advice.compute_s)} of computation"
    )
