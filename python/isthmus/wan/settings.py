"""What a user asks of the emulated WAN, checked before anything is made."""

from __future__ import annotations

import argparse
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

MOST_SITES = 64
# Set aside for measuring networks (RFC 2544): no cloud's and no office's addresses clash with it.
DEFAULT_NETWORK = "198.18.0.0/24"


class SettingsError(ValueError):
    """A setting that cannot be: says which, and what it may be."""


@dataclass(frozen=True, kw_only=True)
class SiteLimits:
    """What one site sends and receives in all; 0 is unlimited."""

    up_mbit: float = 0.0
    down_mbit: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PairLimits:
    """One pair of sites, the same in both directions; a rate of 0 is unlimited."""

    rtt_ms: float = 50.0
    rate_mbit: float = 0.0
    loss: float = 0.0
    queue_ms: float = 100.0


@dataclass(frozen=True, kw_only=True)
class Cut:
    """After `after_s`, for `for_s` (None: for good), nothing passes between `site` and `other`.

    `other` None: between `site` and anybody.
    """

    site: int
    other: int | None
    after_s: float
    for_s: float | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. `pairs` has the key (a, b) for every a < b."""

    command: tuple[str, ...]
    sites: tuple[SiteLimits, ...]
    pairs: Mapping[tuple[int, int], PairLimits]
    cuts: tuple[Cut, ...] = ()
    queue_ms: float = 100.0
    network: ipaddress.IPv4Network = field(
        default_factory=lambda: ipaddress.IPv4Network(DEFAULT_NETWORK)
    )
    congestion_control: str | None = None
    tcp_buffer_kib: int | None = None
    stats: Path | None = None
    control: Path | None = None
    restart: Path | None = None
    seed: int = 1
    timeout_s: float = 600.0

    def pair(self, a: int, b: int) -> PairLimits:
        return self.pairs[min(a, b), max(a, b)]

    @property
    def addresses(self) -> tuple[ipaddress.IPv4Address, ...]:
        return tuple(self.network[i + 1] for i in range(len(self.sites)))


def parse_cut(text: str, sites: int) -> Cut:
    """AFTER_S:SITE[:FOR_S] or AFTER_S:A-B[:FOR_S]."""
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    match = re.fullmatch(rf"{number}:(\d+)(?:-(\d+))?(?::{number})?", text)
    if not match:
        raise SettingsError(f"--cut {text!r}: not AFTER_S:SITE[:FOR_S] or AFTER_S:A-B[:FOR_S]")
    site, other = int(match[2]), int(match[3]) if match[3] else None
    for named in (site, other):
        if named is not None and named >= sites:
            raise SettingsError(f"--cut {text!r}: no site {named}; sites are 0 to {sites - 1}")
    if site == other:
        raise SettingsError(f"--cut {text!r}: site {site} has no link to itself")
    return Cut(
        site=site,
        other=other,
        after_s=float(match[1]),
        for_s=float(match[4]) if match[4] else None,
    )


def parse_links(
    text: str, *, sites: tuple[SiteLimits, ...], pair: PairLimits
) -> tuple[tuple[SiteLimits, ...], dict[tuple[int, int], PairLimits]]:
    """The limits of all sites and pairs: those given, changed as a links file says.

    The file is a JSON object: "A-B" overrides a pair's rtt_ms, rate_mbit, loss, queue_ms; "A" a
    site's up_mbit, down_mbit, or both as site_mbit.
    """
    count = len(sites)
    pairs = {(a, b): pair for a in range(count) for b in range(a + 1, count)}
    changed_sites, changed_pairs = list(sites), dict(pairs)
    for key, values in read_object(text).items():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", key)
        named = [int(group) for group in match.groups() if group] if match else []
        if not named or len(set(named)) < len(named) or max(named) >= count:
            raise SettingsError(f"{key!r} is no site or pair of sites 0 to {count - 1}")
        if len(named) == 2:
            a, b = min(named), max(named)
            if changed_pairs[a, b] is not pair:
                raise SettingsError(f"{key!r}: this pair is given twice")
            known = ("rtt_ms", "rate_mbit", "loss", "queue_ms")
            changed_pairs[a, b] = replace(pair, **read_numbers(key, values, known))
        else:
            numbers = read_numbers(key, values, ("up_mbit", "down_mbit", "site_mbit"))
            both = numbers.pop("site_mbit", None)
            if both is not None:
                numbers = {"up_mbit": both, "down_mbit": both} | numbers
            changed_sites[named[0]] = replace(changed_sites[named[0]], **numbers)
    return tuple(changed_sites), changed_pairs


def read_object(text: str) -> dict[str, Any]:
    try:
        # The last of equal keys would win in silence.
        document = json.loads(text, object_pairs_hook=refuse_twins)
    except json.JSONDecodeError as error:
        raise SettingsError(f"no JSON: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError("not a JSON object of sites and pairs")
    return document


def refuse_twins(items: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in items}) < len(items):
        raise SettingsError(f"a key is given twice among {[key for key, _ in items]}")
    return dict(items)


def read_numbers(key: str, values: Any, known: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(values, dict) or not set(values) <= set(known):
        raise SettingsError(f"{key!r}: {values!r} is not an object with keys out of {list(known)}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SettingsError(f"{key!r}: {name} is {value!r}, not a number")
        check_number(f"{key!r}: {name}", value, most=1.0 if name == "loss" else math.inf)
    return {name: float(value) for name, value in values.items()}


def check_number(name: str, value: float, *, most: float = math.inf) -> None:
    if not math.isfinite(value) or not 0 <= value <= most:
        bound = "" if most == math.inf else f" and at most {most:g}"
        raise SettingsError(f"{name} is {value:g}; it must be a number, at least 0{bound}")


def check_network(text: str, sites: int) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise SettingsError(f"--network {text!r}: {error}") from None
    if network.num_addresses < sites + 2:
        raise SettingsError(f"--network {text!r} has too few addresses for {sites} sites")
    return network


def settings_of(options: argparse.Namespace, command: list[str]) -> Settings:
    """SettingsError for what cannot be."""
    if not command:
        raise SettingsError("give the command to run after --, as in: isthmus wan --sites 3 -- CMD")
    if not 2 <= options.sites <= MOST_SITES:
        raise SettingsError(f"--sites is {options.sites}; it must be 2 to {MOST_SITES}")
    for name in ("rtt_ms", "rate_mbit", "site_mbit", "queue_ms", "timeout"):
        check_number("--" + name.replace("_", "-"), getattr(options, name))
    check_number("--loss", options.loss, most=1.0)
    if not 0 <= options.seed < 2**48:
        raise SettingsError(f"--seed is {options.seed}; it must be 0 to 2^48 - 1")
    if options.tcp_buffer_kib is not None and not 16 <= options.tcp_buffer_kib <= 1 << 20:
        raise SettingsError(f"--tcp-buffer-kib is {options.tcp_buffer_kib}; it must be 16 to 2^20")
    if options.stats and not Path(options.stats).absolute().parent.is_dir():
        raise SettingsError(f"--stats {options.stats!r}: no such folder")
    limits = SiteLimits(up_mbit=options.site_mbit, down_mbit=options.site_mbit)
    pair = PairLimits(
        rtt_ms=options.rtt_ms,
        rate_mbit=options.rate_mbit,
        loss=options.loss,
        queue_ms=options.queue_ms,
    )
    try:
        text = Path(options.links).read_text() if options.links else "{}"
        sites, pairs = parse_links(text, sites=(limits,) * options.sites, pair=pair)
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise SettingsError(f"--links {options.links!r}: {error}") from None
    return Settings(
        command=tuple(command),
        sites=sites,
        pairs=pairs,
        cuts=tuple(parse_cut(text, options.sites) for text in options.cut),
        queue_ms=options.queue_ms,
        network=check_network(options.network, options.sites),
        congestion_control=options.cc,
        tcp_buffer_kib=options.tcp_buffer_kib,
        stats=Path(options.stats) if options.stats else None,
        control=Path(options.control) if options.control else None,
        restart=Path(options.restart) if options.restart else None,
        seed=options.seed,
        timeout_s=options.timeout,
    )


class Parser(argparse.ArgumentParser):
    """argparse, with errors as exceptions, so that callers choose how to show them."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def parser() -> Parser:
    it = Parser(
        prog="isthmus wan",
        usage="%(prog)s [options] -- CMD ...",
        description="Run CMD once per site, with an emulated wide-area network between the sites. "
        "CMD finds its site's number in WAN_SITE, how many there are in WAN_SITES and their "
        "addresses in WAN_ADDRS, and must bind to its own. The status is the first non-zero one.",
        allow_abbrev=False,
    )
    pair, cut = PairLimits(), "AFTER_S:SITE[:FOR_S]|AFTER_S:A-B[:FOR_S]"
    add = it.add_argument
    add("--sites", type=int, default=2, help="how many (default 2)")
    add("--rtt-ms", type=float, default=pair.rtt_ms, help="round trip of a pair (default 50)")
    add("--site-mbit", type=float, default=0.0, help="what a site sends, and receives, in all")
    add("--rate-mbit", type=float, default=0.0, help="each direction of each pair; 0: unlimited")
    add("--loss", type=float, default=0.0, help="probability that a segment is lost")
    add("--queue-ms", type=float, default=pair.queue_ms, help="depth of each queue (default 100)")
    add("--links", metavar="FILE", help="JSON: overrides for single pairs and sites")
    add("--cut", metavar=cut, action="append", default=[], help="drop all of a site or pair")
    add("--cc", metavar="NAME", help="congestion control: cubic, bbr, …")
    add("--tcp-buffer-kib", type=int, metavar="KIB", help="the most that a connection's ends keep")
    add("--stats", metavar="FILE", help="write what became of each pair's segments, as JSON")
    add("--control", metavar="FILE", help="take orders of faults at this Unix socket")
    add("--restart", metavar="FILE", help="start a command again that fails; note each end there")
    add("--seed", type=int, default=1, help="of the losses (default 1)")
    add("--timeout", type=float, default=600.0, help="seconds until all is stopped (default 600)")
    add("--network", default=DEFAULT_NETWORK, help=f"addresses (default {DEFAULT_NETWORK})")
    return it


def parse(argv: list[str]) -> Settings:
    """The settings of a command line; SettingsError says what is wrong with it."""
    split = argv.index("--") if "--" in argv else len(argv)
    return settings_of(parser().parse_args(argv[:split]), argv[split + 1 :])
