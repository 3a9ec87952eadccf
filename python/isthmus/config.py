"""Settings, from arguments and ISTHMUS_* variables. The only reader of the environment.

An argument wins over its variable. Whatever is wrong is named with its value and what is expected.
"""

import math
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

from isthmus.errors import Refused

max_sites = 64
max_streams = 32
max_codec_threads = 64
max_rails = 16
losses = ("raise", "continue", "wait")  # what a lost site means to the others
max_name = 64
emulated_port = 29600  # of the rendezvous inside `isthmus wan`


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class OnLoss:
    """What a lost site means to the others; the same at all sites (docs/losses.md)."""

    then: str = "raise"  # or "continue", or "wait": so, but too few to continue wait for others
    min_sites: int = 1  # fewer do not continue
    favourite: str = ""  # the site with which half of the sites may continue; empty: none
    rejoin_timeout: float = 300.0  # seconds that too few wait


@dataclass(frozen=True)
class JoinSettings:
    """What `join` hands to the native core."""

    rendezvous: Address
    site: str
    sites: int
    run: str
    serve: bool
    listen: Address
    advertise: Address | None
    streams: int  # 0: isthmus chooses
    timeout: float
    heartbeat: float
    uplink_mbit: float  # 0: not known
    congestion: str
    relay: bool  # by way of a third site, and for others
    measure: bool  # the links, before anything else
    codec_threads: int
    rails: int
    rail: int  # of this gateway
    on_loss: OnLoss
    emulated: bool  # inside `isthmus wan`, whose links never leave the machine


def parse_address(text: str, what: str, *, any_port: bool) -> Address:
    """ "host:port", IPv6 in brackets. `any_port`: port 0 is allowed and means any free one."""
    expected = '"host:port", as in "10.0.0.1:29600" or "[::1]:29600"'
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Refused(f"{what} is {text!r}: write an IPv6 address in brackets; {expected}")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise Refused(f"{what} is {text!r}; expected {expected}")
    if not (0 if any_port else 1) <= int(port) <= 65535:
        least = "0 (any) or 1" if any_port else "1"
        raise Refused(f"{what} is {text!r}; expected a port from {least} to 65535")
    return Address(host, int(port))


class _Source:
    """One setting at a time: the argument, else the variable, else None; with its name."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def has(self, variable: str) -> bool:
        return variable in self._environment

    def text(self, name: str, argument: object) -> tuple[str | None, str]:
        variable = f"ISTHMUS_{name.upper()}"
        if argument is not None:
            return str(argument), f"{name} (argument)"
        value = self._environment.get(variable, "").strip()
        return (value or None), f"{variable} (environment variable)"

    def required(self, name: str, argument: object, example: str) -> tuple[str, str]:
        value, what = self.text(name, argument)
        if not value:
            raise Refused(f"{name} is missing: pass {example} or set ISTHMUS_{name.upper()}")
        return value, what

    def integer(self, name: str, argument: object, *, least: int, most: int) -> int | None:
        value, what = self.text(name, argument)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if isinstance(argument, bool) or not least <= number <= most:
            raise Refused(f"{what} is {value!r}; expected a whole number from {least} to {most}")
        return number

    def number(self, name: str, argument: object, default: float, *, unit: str) -> float:
        value, what = self.text(name, argument)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if isinstance(argument, bool) or not (number > 0 and math.isfinite(number)):
            raise Refused(f"{what} is {value!r}; expected {unit}, a number above 0")
        return number

    def flag(self, name: str, argument: bool | None, *, default: bool = False) -> bool:
        if argument is not None and not isinstance(argument, bool):
            raise Refused(f"{name} (argument) is {argument!r}; expected True or False")
        value, what = self.text(name, argument)
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if value is None:
            return default
        if value.lower() not in words:
            raise Refused(f"{what} is {value!r}; expected 1 or 0")
        return words[value.lower()]

    def address(self, name: str, argument: object, *, any_port: bool) -> Address | None:
        value, what = self.text(name, argument)
        return None if value is None else parse_address(value, what, any_port=any_port)

    def spare_threads(self) -> int:
        ranks = self._environment.get("LOCAL_WORLD_SIZE", "")  # torchrun's
        return spare_threads(len(os.sched_getaffinity(0)), int(ranks) if ranks.isdigit() else 1)

    def name(self, name: str, value: str, what: str) -> str:
        if not value.isprintable() or len(value.encode()) > max_name:
            raise Refused(f"{what} is {value!r}; expected at most {max_name} printable bytes")
        return value


def spare_threads(cores: int, ranks: int) -> int:
    """How many threads a gateway may use for codecs beside its own: half of the cores that are left
    when each of the machine's ranks has one for its program and one for its communication."""
    return max(0, min(4, (cores - 2 * ranks) // 2))


def is_private(host: str) -> bool:
    """Whether bytes for this address stay on the machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def warn_if_exposed(settings: JoinSettings) -> None:
    if settings.emulated:
        return
    for address in (settings.rendezvous, settings.listen, settings.advertise):
        if address is not None and not is_private(address.host):
            warnings.warn(
                f"isthmus: traffic with {address} is NOT encrypted and peers are NOT "
                "authenticated; run it inside a VPN such as WireGuard",
                stacklevel=5,  # of join
            )
            return


def emulated_site(environment: Mapping[str, str]) -> dict[str, str]:
    """What a site inside `isthmus wan` need not be told: its name, its address, and that the first
    site keeps the roster. Nothing for who brings a rendezvous of his own."""
    addresses = environment.get("WAN_ADDRS", "").split(",")
    number = environment.get("WAN_SITE", "")
    given = environment.get("ISTHMUS_RENDEZVOUS", "").strip()
    if given or not number.isdigit() or int(number) >= len(addresses):
        return {}
    return {
        "ISTHMUS_RENDEZVOUS": f"{addresses[0]}:{emulated_port}",
        "ISTHMUS_SITE": f"site{number}",
        "ISTHMUS_SITES": str(len(addresses)),
        "ISTHMUS_SERVE": "1" if int(number) == 0 else "0",
        "ISTHMUS_LISTEN": f"{addresses[int(number)]}:0",
    }


def join_settings(
    *,
    rendezvous: str | None = None,
    site: str | None = None,
    sites: int | None = None,
    run: str | None = None,
    serve: bool | None = None,
    listen: str | None = None,
    advertise: str | None = None,
    streams: int | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    uplink_mbit: float | None = None,
    congestion: str | None = None,
    relay: bool | None = None,
    measure: bool | None = None,
    codec_threads: int | None = None,
    rails: int | None = None,
    on_loss: str | OnLoss | None = None,
    environment: Mapping[str, str] | None = None,
) -> JoinSettings:
    told = os.environ if environment is None else environment
    source = _Source(told if rendezvous is not None else {**emulated_site(told), **told})
    meeting = source.required("rendezvous", rendezvous, 'rendezvous="host:port"')
    site_name = source.required("site", site, 'site="aws"')
    source.required("sites", sites, "sites=3 (how many take part)")
    count = source.integer("sites", sites, least=1, most=max_sites)
    assert count is not None
    run_name, run_what = source.text("run", run)
    congestion_name, congestion_what = source.text("congestion", congestion)
    rendezvous_address = parse_address(*meeting, any_port=False)
    threads = source.integer("codec_threads", codec_threads, least=0, most=max_codec_threads)
    # Sites that meet on the loopback are all on this machine, and nobody else need reach them.
    anywhere = Address("127.0.0.1" if is_private(rendezvous_address.host) else "0.0.0.0", 0)
    settings = JoinSettings(
        rendezvous=rendezvous_address,
        site=source.name("site", *site_name),
        sites=count,
        run=source.name("run", run_name or "default", run_what),
        serve=source.flag("serve", serve),
        listen=source.address("listen", listen, any_port=True) or anywhere,
        advertise=source.address("advertise", advertise, any_port=True),
        streams=source.integer("streams", streams, least=1, most=max_streams) or 0,
        timeout=source.number("timeout", timeout, 60.0, unit="seconds"),
        heartbeat=source.number("heartbeat", heartbeat, 5.0, unit="seconds"),
        uplink_mbit=source.number("uplink_mbit", uplink_mbit, 0.0, unit="Mbit/s"),
        congestion=source.name("congestion", congestion_name or "bbr", congestion_what),
        relay=source.flag("relay", relay, default=True),
        measure=source.flag(
            "measure", measure, default=not is_private(rendezvous_address.host) and count > 1
        ),
        codec_threads=source.spare_threads() if threads is None else threads,
        rails=rails_of_site(rails, environment),
        rail=0,
        on_loss=_on_loss(source, on_loss, count),
        emulated=source.has("WAN_SITES"),
    )
    _check_rails(settings)
    return settings


def _check_rails(settings: JoinSettings) -> None:
    if settings.rails > 1 and settings.on_loss.then != "raise":
        raise Refused(
            f"on_loss is {settings.on_loss.then!r}, which needs one rail, and rails is "
            f"{settings.rails}: choose rails=1 where sites are to go on without a lost one and "
            'take it in again; or on_loss="raise", and start all sites anew from a checkpoint'
        )


def _on_loss(source: "_Source", asked: str | OnLoss | None, sites: int) -> OnLoss:
    whole = asked if isinstance(asked, OnLoss) else None
    then, what = source.text("on_loss", whole.then if whole else asked)
    if then not in (None, *losses):
        raise Refused(f"{what} is {then!r}; expected one of {', '.join(losses)}")
    least = source.integer("min_sites", whole and whole.min_sites, least=1, most=sites)
    favourite, what = source.text("favourite", whole and (whole.favourite or None))
    name = source.name("favourite", favourite, what) if favourite else ""
    patience = whole.rejoin_timeout if whole else None
    seconds = source.number("rejoin_timeout", patience, 300.0, unit="seconds")
    return OnLoss(then or losses[0], least or 1, name, seconds)


def rails_of_site(rails: int | None, environment: Mapping[str, str] | None = None) -> int:
    """How many ranks of the site are to be gateways."""
    source = _Source(os.environ if environment is None else environment)
    return source.integer("rails", rails, least=1, most=max_rails) or 1


def on_rail(settings: JoinSettings, rail: int) -> JoinSettings:
    """What the site's gateway of this rail joins with: a run and a port of its own, and its part
    of the uplink. Refused: the port or the run's name does not fit."""
    if settings.rails == 1:
        return settings

    def shifted(address: Address | None, what: str) -> Address | None:
        if address is None or address.port == 0:
            return address
        if address.port + rail > 65535:
            raise Refused(
                f"{what} is {address}, and rail {rail} needs port {address.port} + {rail}"
            )
        return Address(address.host, address.port + rail)

    # Rail 0 keeps the name, so that sites which differ in rails meet there and can say so.
    run = settings.run if rail == 0 else f"{settings.run}.rail-{rail}"
    return replace(
        settings,
        run=run,
        rail=rail,
        serve=settings.serve and rail == 0,
        listen=shifted(settings.listen, "listen") or settings.listen,
        advertise=shifted(settings.advertise, "advertise"),
        uplink_mbit=settings.uplink_mbit / settings.rails,
    )


def rank_in_site(environment: Mapping[str, str] | None = None) -> int:
    """This process's rank in its site's torch job; 0 where there is no such job.

    torchrun's variable counts before init_process_group, so that join may come first in a script.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    environment = os.environ if environment is None else environment
    if "TORCHELASTIC_RUN_ID" not in environment:
        return 0
    rank = environment.get("RANK", "0")
    return int(rank) if rank.isdigit() else 0


def ranks_on_machine(ranks: int, environment: Mapping[str, str] | None = None) -> int:
    """Of a site with so many; all of them where torchrun does not say."""
    local = (os.environ if environment is None else environment).get("LOCAL_WORLD_SIZE", "")
    return min(ranks, int(local)) if local.isdigit() and int(local) > 0 else ranks
