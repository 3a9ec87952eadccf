"""What every rank of `isthmus bench rails` does: steps of a model that only exchanges."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from isthmus.hook import register
from isthmus.session import Follower, Session
from isthmus.testing import Place

_side = 1000  # of a square parameter
_warm_up = 2  # steps that build buckets and touch memory


@dataclass(frozen=True, kw_only=True)
class Step:
    """begin_s, end_s: by the machine's monotonic clock."""

    begin_s: float
    end_s: float
    cpu_s: float


class Weights(nn.Module):
    """Parameters whose gradients cost nothing: the loss is the sum of their first elements."""

    def __init__(self, mb: float) -> None:
        super().__init__()
        count = max(1, round(mb * 1e6 / 4 / _side**2))
        self.parts = nn.ParameterList(nn.Parameter(torch.zeros(_side, _side)) for _ in range(count))

    def forward(self, scale: float) -> torch.Tensor:
        return torch.stack([part.view(-1)[:1] * scale for part in self.parts]).sum()


def steps(
    session: Session | Follower | None, place: Place, mb: float, codec: str, count: int
) -> list[Step]:
    model = DistributedDataParallel(Weights(mb))
    hook = register(model, session, codec=codec)
    seen = []
    for step in range(_warm_up + count):
        begin_s, used_s = time.monotonic(), time.process_time()
        model(1.0 + place.rank).backward()
        hook.check()
        end_s = time.monotonic()
        if step >= _warm_up:
            seen.append(Step(begin_s=begin_s, end_s=end_s, cpu_s=time.process_time() - used_s))
        model.zero_grad()
    hook.close()
    return seen
