"""One run: three sites, one way of exchanging, one seed; resumes where it was interrupted.

Started by run.py:  python bench/convergence/train.py JOB-AS-JSON
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from exchange import Exchange, Floats
from model import CONTEXT, Model
from text import tokens

SITES = 3
BATCH = 4  # windows a site and step
RATE = 1.5e-3
WARM_UP = 100
EVERY = 25  # steps between points of the curve
SAVE_EVERY = 100


@dataclass(frozen=True)
class Job:
    """up: the codec of parameters with two dimensions or more; others are bf16 (f32: all are f32).

    inner: steps between exchanges; 1: gradients are exchanged, else pseudo-gradients. delay: steps
    by which the optimizer gets the mean gradient late, 0 or 1; the first step's is then zero.
    """

    name: str
    seed: int
    up: str = "f32"
    down: str | None = "f32"
    feedback: bool = False
    beta: float = 1.0
    inner: int = 1
    outer_rate: float = 1.0
    outer_momentum: float = 0.0
    steps: int = 1500
    rate: float = RATE
    delay: int = 0

    @property
    def key(self) -> str:
        """The name of its files."""
        return f"{self.name}-{self.steps}-{self.seed}"


class Sites:
    """What the sites exchange: all parameters as two flat vectors, large ones and the rest."""

    def __init__(self, job: Job, shapes: list[torch.Size]) -> None:
        self.large = [i for i, shape in enumerate(shapes) if len(shape) > 1]
        self.small = [i for i, shape in enumerate(shapes) if len(shape) <= 1]
        small = "f32" if job.up == "f32" else "bf16"
        self.exchanges = [
            Exchange(job.up, job.down, job.feedback, job.beta),
            Exchange(small, small),
        ]
        self.shapes = shapes

    def mean(self, by_site: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        result: list[torch.Tensor] = [torch.empty(0)] * len(self.shapes)
        for members, exchange in zip((self.large, self.small), self.exchanges, strict=True):
            flat: list[Floats] = [
                torch.cat([site[i].reshape(-1) for i in members]).numpy() for site in by_site
            ]
            mean = torch.from_numpy(exchange.mean(flat))
            begin = 0
            for i in members:
                size = self.shapes[i].numel()
                result[i] = mean[begin : begin + size].view(self.shapes[i])
                begin += size
        return result

    def wire_bytes(self) -> float:
        counts = [sum(self.shapes[i].numel() for i in m) for m in (self.large, self.small)]
        return sum(
            exchange.wire_bytes(count, SITES)
            for exchange, count in zip(self.exchanges, counts, strict=True)
        )


class Data:
    """Windows of a site's own third of the text, drawn by seed, site and step."""

    def __init__(self, cache: Path) -> None:
        self.training, self.validation = tokens(cache)

    def batch(self, job: Job, site: int, step: int) -> torch.Tensor:
        third = len(self.training) // SITES
        draw = np.random.default_rng([job.seed, site, step])
        begins = site * third + draw.integers(0, third - CONTEXT - 1, BATCH)
        rows = [self.training[b : b + CONTEXT + 1] for b in begins]
        return torch.from_numpy(np.stack(rows))

    @torch.no_grad()
    def loss(self, model: Model) -> float:
        rows = self.validation[: len(self.validation) // (CONTEXT + 1) * (CONTEXT + 1)]
        windows = torch.from_numpy(rows.reshape(-1, CONTEXT + 1))
        parts = windows.split(32)
        return float(sum(model(part).item() * len(part) for part in parts) / len(windows))


def rate_at(job: Job, step: int) -> float:
    if step < WARM_UP:
        return job.rate * (step + 1) / WARM_UP
    progress = (step - WARM_UP) / max(1, job.steps - WARM_UP)
    return job.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


class Run:
    """The state of a job. Sites that exchange gradients are always equal, so one model stands for
    all; with inner steps every site has its own."""

    def __init__(self, job: Job, data: Data) -> None:
        self.job, self.data = job, data
        copies = 1 if job.inner == 1 else SITES
        self.models = [Model(job.seed) for _ in range(copies)]
        self.optimizers = [
            torch.optim.AdamW(m.parameters(), lr=job.rate, betas=(0.9, 0.95), weight_decay=0.1)
            for m in self.models
        ]
        shapes = [p.shape for p in self.models[0].parameters()]
        self.sites = Sites(job, shapes)
        self.start = [p.detach().clone() for p in self.models[0].parameters()]
        self.momentum = [torch.zeros_like(p) for p in self.start]
        self.pending = [torch.zeros_like(p) for p in self.start]  # with a delay
        self.step = 0
        self.curve: list[list[float]] = []
        self.window: list[float] = []  # training losses since the last point
        self.seconds = 0.0

    def gradients(self, model: Model, site: int) -> list[torch.Tensor]:
        model.zero_grad(set_to_none=True)
        loss = model(self.data.batch(self.job, site, self.step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.window.append(loss.item())
        return [p.grad for p in model.parameters() if p.grad is not None]

    def advance(self) -> None:
        begin = time.monotonic()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(self.job, self.step)
        if self.job.inner == 1:
            self._exchange_gradients()
        else:
            for site, (model, optimizer) in enumerate(
                zip(self.models, self.optimizers, strict=True)
            ):
                self.gradients(model, site)
                optimizer.step()
            if (self.step + 1) % self.job.inner == 0:
                self._exchange_pseudo_gradients()
        self.step += 1
        self.seconds += time.monotonic() - begin
        if self.step % EVERY == 0:
            self.curve.append([self.step, sum(self.window) / len(self.window)])
            self.window = []

    def _exchange_gradients(self) -> None:
        by_site = [self.gradients(self.models[0], site) for site in range(SITES)]
        by_site = [[g.clone() for g in site] for site in by_site]
        mean = self.sites.mean(by_site)
        if self.job.delay:
            self.pending, mean = mean, self.pending
        for p, g in zip(self.models[0].parameters(), mean, strict=True):
            p.grad = g
        self.optimizers[0].step()

    @torch.no_grad()
    def _exchange_pseudo_gradients(self) -> None:
        """The outer step: SGD, with Nesterov's momentum if the job says so (DiLoCo)."""
        by_site = [
            [begin - p for begin, p in zip(self.start, model.parameters(), strict=True)]
            for model in self.models
        ]
        for i, delta in enumerate(self.sites.mean(by_site)):
            momentum = self.job.outer_momentum
            self.momentum[i].mul_(momentum).add_(delta)
            step = delta + momentum * self.momentum[i] if momentum else delta
            self.start[i].sub_(self.job.outer_rate * step)
        for model in self.models:
            for p, begin in zip(model.parameters(), self.start, strict=True):
                p.copy_(begin)

    def validation_loss(self) -> float:
        model = Model(self.job.seed)
        with torch.no_grad():
            source = self.start if self.job.inner > 1 else list(self.models[0].parameters())
            for p, value in zip(model.parameters(), source, strict=True):
                p.copy_(value)
        return self.data.loss(model)

    def state(self) -> dict[str, Any]:
        return {
            "job": asdict(self.job),
            "models": [m.state_dict() for m in self.models],
            "optimizers": [o.state_dict() for o in self.optimizers],
            "start": self.start,
            "momentum": self.momentum,
            "pending": self.pending,
            "residuals": [e.residuals for e in self.sites.exchanges],
            "step": self.step,
            "curve": self.curve,
            "window": self.window,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        for model, saved in zip(self.models, state["models"], strict=True):
            model.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.start, self.momentum = state["start"], state["momentum"]
        self.pending = state["pending"]
        for exchange, residuals in zip(self.sites.exchanges, state["residuals"], strict=True):
            exchange.residuals = residuals
        self.step, self.curve, self.window = state["step"], state["curve"], state["window"]
        self.seconds = state["seconds"]


def main() -> None:
    request = json.loads(sys.argv[1])
    job, folder, cache = Job(**request["job"]), Path(request["results"]), Path(request["cache"])
    torch.set_num_threads(1)
    run = Run(job, Data(cache))
    saved = cache / f"{job.key}.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=False)
        if state["job"] != asdict(job):
            raise SystemExit(f"{saved} is of another job: remove it, or change it back")
        run.load(state)
    while run.step < job.steps:
        run.advance()
        if run.step % SAVE_EVERY == 0:
            torch.save(run.state(), saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)
            print(f"{job.key}: step {run.step}, {run.seconds:.0f} s", flush=True)
    parameters = sum(shape.numel() for shape in run.sites.shapes)
    result = {
        "job": asdict(job),
        "validation_loss": run.validation_loss(),
        "bits_per_parameter_and_step": 8 * run.sites.wire_bytes() / parameters / job.inner,
        "parameters": parameters,
        "tokens": job.steps * SITES * BATCH * CONTEXT,
        "seconds": round(run.seconds, 1),
        "curve": [[step, round(loss, 5)] for step, loss in run.curve],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{job.key}.json").write_text(json.dumps(result) + "\n")
    saved.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
