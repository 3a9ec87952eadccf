"""The command line of `isthmus doctor`: what training is told, and what to predict."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus import config
from isthmus.errors import Refused

_scales = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, kw_only=True)
class Options:
    join: config.JoinSettings
    parameters: int
    step_s: float | None  # what a step computes, without communication
    json: Path | None
    probe_port: int | None


def parameters(text: str) -> int:
    """A model's size: "350M", "1.3B", "7e9". Refused: it is none."""
    match = re.fullmatch(r"(\d+\.?\d*(?:e\d+)?)\s*([KMBT]?)", text.strip(), re.IGNORECASE)
    count = float(match[1]) * _scales[match[2].upper()] if match else 0.0
    if not 1 <= count <= 1e13:
        raise Refused(f'--parameters is {text!r}; expected a number of parameters, as in "1.3B"')
    return round(count)


def parser() -> argparse.ArgumentParser:
    it = argparse.ArgumentParser(
        prog="isthmus doctor",
        description="Measure the links between the sites of a run, say what limits them and what "
        "to change, and predict the time of a step. Run it at every site, with the ISTHMUS_* "
        "variables (or options) of the training; each site tells what concerns it, the first one "
        "everything.",
        allow_abbrev=False,
    )
    add = it.add_argument
    add("--parameters", default="1.3B", metavar="N", help="of the model: 350M, 1.3B (default), 7e9")
    add("--step-seconds", type=float, metavar="S", help="what a step computes, without waiting")
    add("--json", type=Path, metavar="FILE", help="write all measurements, findings and advice")
    add(
        "--probe-port",
        type=int,
        metavar="PORT",
        help="where this site takes probes (default: the one after the port of --listen)",
    )
    join = it.add_argument_group("as in training", "by default the ISTHMUS_* variables")
    add = join.add_argument
    add("--rendezvous", metavar="HOST:PORT")
    add("--site", metavar="NAME")
    add("--sites", type=int, metavar="N")
    add("--run", metavar="NAME")
    add("--serve", action="store_true", default=None, help="keep the roster at this site")
    add("--listen", metavar="HOST:PORT")
    add("--advertise", metavar="HOST:PORT")
    add("--streams", type=int, metavar="N")
    add("--congestion", metavar="NAME")
    add("--timeout", type=float, metavar="S")
    return it


def parse(arguments: Sequence[str]) -> Options:
    """Refused says what is wrong with which setting."""
    given = parser().parse_args(arguments)
    if given.step_seconds is not None and not 0 < given.step_seconds < 1e6:
        raise Refused(f"--step-seconds is {given.step_seconds:g}; expected seconds, above 0")
    if given.probe_port is not None and not 1 <= given.probe_port <= 65535:
        raise Refused(f"--probe-port is {given.probe_port}; expected a port from 1 to 65535")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise Refused(f"--json is {str(given.json)!r}: no such folder")
    return Options(
        join=config.join_settings(
            rendezvous=given.rendezvous,
            site=given.site,
            sites=given.sites,
            run=given.run,
            serve=given.serve,
            listen=given.listen,
            advertise=given.advertise,
            streams=given.streams,
            timeout=given.timeout,
            congestion=given.congestion,
            measure=False,  # that is done here, and by connections of our own
        ),
        parameters=parameters(given.parameters),
        step_s=given.step_seconds,
        json=given.json,
        probe_port=given.probe_port,
    )
