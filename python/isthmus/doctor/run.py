"""`isthmus doctor`: join, measure, and tell; the effects at the rim of the pure parts."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from isthmus.doctor import options, report, survey
from isthmus.doctor.advice import Advice, advise
from isthmus.doctor.findings import Finding, find
from isthmus.doctor.measurements import Survey
from isthmus.session import Session


def main(arguments: Sequence[str]) -> int:
    """0: measured, whatever was found. 1, from isthmus's command: an error that it prints."""
    asked = options.parse(arguments)
    begin = time.monotonic()

    def tell(text: str) -> None:
        print(f"isthmus doctor at {asked.join.site}: {text}", file=sys.stderr, flush=True)

    tell(f"waits for {asked.join.sites} sites at {asked.join.rendezvous}")
    with Session(asked.join) as session:
        found = survey.examine(session, asked.join, probe_port=asked.probe_port, tell=tell)
        first = session.rank == 0
    findings = find(found)
    advice = advise(found, parameters=asked.parameters, compute_s=asked.step_s)
    if first:
        text = f"{report.summary(found)}, {time.monotonic() - begin:.0f} s"
        text += "\n" + report.full(found, findings, advice)
    else:
        text = f"isthmus doctor at {asked.join.site}"
        text += "\n" + report.own(found, findings, advice, asked.join.site)
    # In one piece, as several sites may share a terminal.
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()
    if asked.json is not None:
        save(asked.json, found, findings, advice)
    return 0


def save(path: Path, found: Survey, findings: Sequence[Finding], advice: Advice) -> None:
    record = {
        "survey": dataclasses.asdict(found),
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "advice": dataclasses.asdict(advice),
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
