"""What a rank notes of each step, and what the steps of all ranks say together.

A rank writes one JSON line a step; whoever wants to show progress or a report reads the files.
Nothing of this crosses the WAN.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Iteration 0 is one bucket with the whole model; iteration 1 follows DDP's rebuilding of buckets.
WARM_UP = 2


@dataclass(frozen=True, kw_only=True)
class Record:
    """One rank, one step. `compute_s` ends when the last gradient is ready; the rest of `step_s`
    is waiting for the sum of the gradients, and the optimizer. `exchange_s`: from the first bucket
    that the hook got to its last result; None without isthmus. `cpu_s`: of the rank's process, all
    its threads: other load of the machine stretches every other time, but not this. `wan_bytes`:
    what the rank's site sent in this step; None where it cannot be told, and at all but the first
    rank of a site."""

    step: int
    loss: float
    tokens: int
    start_s: float
    step_s: float
    compute_s: float
    optimizer_s: float
    exchange_s: float | None
    cpu_s: float
    wan_bytes: int | None

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of all ranks: mean loss and times, sums of tokens and bytes."""

    step: int
    loss: float
    tokens: int
    end_s: float
    step_s: float
    compute_s: float
    optimizer_s: float
    exchange_s: float | None
    cpu_s: float
    wan_bytes: int | None

    @property
    def communication_s(self) -> float:
        """Time in which nothing was left to do but to wait for the other ranks' gradients."""
        return max(0.0, self.step_s - self.compute_s - self.optimizer_s)


def read(path: Path) -> list[Record]:
    """A rank's complete lines so far; a file that is not there yet has none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    return [Record(**json.loads(line)) for line in whole.splitlines()]


def merge(ranks: Sequence[Sequence[Record]]) -> list[Step]:
    """The steps that every rank has finished."""
    if not ranks or not all(ranks):
        return []
    begin = min(r[0].start_s for r in ranks)
    steps = []
    for together in zip(*ranks, strict=False):
        count = len(together)
        sent = [r.wan_bytes for r in together if r.wan_bytes is not None]
        exchanges = [r.exchange_s for r in together if r.exchange_s is not None]
        steps.append(
            Step(
                step=together[0].step,
                loss=sum(r.loss for r in together) / count,
                tokens=sum(r.tokens for r in together),
                end_s=max(r.start_s + r.step_s for r in together) - begin,
                step_s=sum(r.step_s for r in together) / count,
                compute_s=sum(r.compute_s for r in together) / count,
                optimizer_s=sum(r.optimizer_s for r in together) / count,
                exchange_s=mean(exchanges) if exchanges else None,
                cpu_s=sum(r.cpu_s for r in together) / count,
                wan_bytes=sum(sent) if sent else None,
            )
        )
    return steps


def warm(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps that count for speeds; all of them if there are no others."""
    return steps[WARM_UP:] or steps


def tokens_per_s(steps: Sequence[Step]) -> float:
    """Over the warm steps; 0 before the first."""
    seconds = sum(s.step_s for s in warm(steps))
    return sum(s.tokens for s in warm(steps)) / seconds if seconds else 0.0


def hidden_share(steps: Sequence[Step]) -> float | None:
    """The share of these steps' exchange that passed while backward still ran; None where there
    was no exchange of isthmus."""
    exchange = waiting = 0.0
    for s in steps:
        if s.exchange_s is not None:
            exchange += s.exchange_s
            waiting += min(s.communication_s, s.exchange_s)
    return 1 - waiting / exchange if exchange else None


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
