"""What the processes of test_delay.py run: see programs.py.

The measure of delay=1 is a loop that delays by hand what a hook without delay brings: the same
exchanges, so the same bits.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import isthmus
import torch
from isthmus.testing import Place
from programs import Net, batch, caught, digest, start
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Convolution(nn.Module):
    """A parameter that does not lie in memory as its shape says."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.head = nn.Linear(4 * 2 * 2, 1)
        self.register_buffer("mark", torch.randn(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x.view(-1, 3, 4, 4)).flatten(1))


variants: dict[str, dict[str, Any]] = {
    "f32": {},
    "bucket views": {"ddp": {"gradient_as_bucket_view": True}},
    "no_sync": {"accumulate": True},
    "static_graph": {"ddp": {"static_graph": True}},
    "channels last": {"make": Convolution},
    "int4": {"codec": "int4"},
    "rules": {"codec": {"branches.*": "int8", "*.weight": "int4", "*": "f32"}},
    "topk, static_graph": {"codec": "topk-128-int8", "ddp": {"static_graph": True}},
}


class ByHand:
    """Between backward and the optimizer: this step's gradients out, the last step's in."""

    def __init__(self, model: nn.Module, scaler: torch.amp.GradScaler | None = None) -> None:
        self.parameters = list(model.parameters())
        self.held = [torch.zeros_like(p) for p in self.parameters]
        self.scaler = scaler
        self.scale = self.scale_now()

    def scale_now(self) -> float:
        return 1.0 if self.scaler is None else self.scaler.get_scale()

    def exchange(self) -> None:
        now = self.scale_now()
        for i, parameter in enumerate(self.parameters):
            assert parameter.grad is not None
            fresh = parameter.grad.clone()
            parameter.grad.copy_(self.held[i] * (now / self.scale))
            self.held[i] = fresh
        self.scale = now


def train_late(
    session: Any, place: Place, steps: int, by_hand: bool, accumulate: bool = False, **options: Any
) -> str:
    model, hook, optimizer = start(session, place, delay=0 if by_hand else 1, **options)
    hand = ByHand(model.module) if by_hand else None
    for step in range(steps):
        if accumulate:
            with model.no_sync():
                model(batch(place, 500 + step)[0]).square().mean().backward()
        model(batch(place, step)[0]).square().mean().backward()
        if hand is not None:
            hand.exchange()
        optimizer.step()
        optimizer.zero_grad()
    if hand is None:
        assert hook.flush()
        assert not hook.flush(), "nothing was held any more"
    else:
        for parameter, mean in zip(hand.parameters, hand.held, strict=True):
            parameter.grad = mean
    optimizer.step()
    hook.check()
    hook.close()
    return digest(model.module)


def both_ways(session: Any, place: Place, steps: int) -> dict[str, tuple[str, str]]:
    return {
        name: (
            train_late(session, place, steps, by_hand=False, **how),
            train_late(session, place, steps, by_hand=True, **how),
        )
        for name, how in variants.items()
    }


def scaled_late(session: Any, place: Place, by_hand: bool) -> list[tuple[float, str]]:
    """Scale and parameters after each step; at step 2 one rank of all has an infinite loss, and
    the scale grows every second step."""
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    given = {} if by_hand else {"delay": 1, "scaler": scaler}
    model, hook, optimizer = start(session, place, **given)
    hand = ByHand(model.module, scaler) if by_hand else None
    seen = []
    for step in range(8):
        loss = model(batch(place, step)[0]).float().square().mean()
        if step == 2 and place.first + place.rank == 1:
            loss = loss * float("inf")
        scaler.scale(loss).backward()
        if hand is not None:
            hand.exchange()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        seen.append((scaler.get_scale(), digest(model.module)))
    hook.close()
    return seen


def scaled_both_ways(session: Any, place: Place) -> list[list[tuple[float, str]]]:
    return [scaled_late(session, place, by_hand) for by_hand in (False, True)]


def one_step(model: DDP, optimizer: torch.optim.Optimizer, place: Place, step: int) -> None:
    model(batch(place, step)[0]).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def resumed(session: Any, place: Place, make: Callable[[], nn.Module] = Net) -> dict[str, Any]:
    """Digests after seven steps: without a break, and with a checkpoint after four."""
    options: dict[str, Any] = {"make": make, "codec": "int4", "delay": 1}
    model, hook, optimizer = start(session, place, **options)
    for step in range(4):
        one_step(model, optimizer, place, step)
    saved = hook.state_dict()
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    moments = optimizer.state_dict()
    moments["state"] = {
        i: {k: v.clone() for k, v in each.items()} for i, each in moments["state"].items()
    }
    for step in range(4, 7):
        one_step(model, optimizer, place, step)
    through = digest(model.module)
    hook.close()

    model, hook, optimizer = start(session, place, **options)
    for step in range(2):  # so that its buckets, and so the codec's blocks, are the same
        one_step(model, optimizer, place, step)
    wrong = {**saved, "pending": {**saved["pending"], "means": {"nobody": torch.zeros(3)}}}
    refused = caught(lambda: hook.load_state_dict(wrong))
    model.module.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    hook.load_state_dict(saved)
    again = hook.state_dict()["pending"]["means"]
    means = saved["pending"]["means"]
    for step in range(4, 7):
        one_step(model, optimizer, place, step)
    after = digest(model.module)
    hook.close()
    return {
        "through": through,
        "resumed": after,
        "refused": refused,
        "loaded": all(torch.equal(means[name], again[name]) for name in means),
        "names": set(means) == {name for name, _ in model.module.named_parameters()},
        "any": sum(float(mean.abs().sum()) for mean in means.values()),
    }


def first_steps(session: Any, place: Place) -> list[tuple[bool, bool]]:
    """Whether the hook says it is warming, and whether the gradients are zeros, step by step; with
    a flush after the second."""
    model, hook, _ = start(session, place, delay=1)
    seen = []
    for step in range(4):
        model(batch(place, step)[0]).square().mean().backward()
        zeros = not any(p.grad.any() for p in model.parameters())
        seen.append((hook.warming, zeros))
        model.zero_grad()
        if step == 1:
            hook.flush()
    hook.close()
    return seen


def ahead_of_the_others(session: Any, place: Place, folder: str) -> bool:
    """The second site begins its backward only once the first has ended its own."""
    model, hook, optimizer = start(session, place, delay=1, codec="int4")
    for step in range(3):
        sign = pathlib.Path(folder) / f"ended {step}"
        loss = model(batch(place, step)[0]).square().mean()
        while place.first > 0 and not sign.exists():
            time.sleep(0.01)
        loss.backward()
        if place.first == 0:
            sign.touch()
        optimizer.step()
        optimizer.zero_grad()
    stats = hook.stats()
    hook.close()
    return stats["delay"] == 1 and stats["steps"] == 3


def lose_a_site(session: Any, place: Place, victim: str) -> dict[str, Any]:
    model, hook, optimizer = start(session, place, delay=1)
    for step in range(8):
        if step == 3 and place.site == victim:
            os._exit(0)
        outcome = caught(lambda step=step: model(batch(place, step)[0]).square().mean().backward())
        if outcome[0] == "nothing":
            outcome = caught(optimizer.step)
        if outcome[0] != "nothing":
            found = {
                "step": outcome,
                "flush": caught(hook.flush),
                "state": caught(hook.state_dict),
                "when": step,
            }
            hook.close()
            return found
        optimizer.zero_grad()
    raise AssertionError("not reached")


def refusals(session: Any, place: Place) -> dict[str, tuple[str, str | None, str]]:
    other = place.site == "site01"

    def registering(delay: int, **ddp: Any) -> tuple[str, str | None, str]:
        model = DDP(nn.Linear(4, 2), **ddp)
        return caught(lambda: isthmus.register(model, session, delay=delay))

    return {
        "two": registering(2),
        "unused": registering(1, find_unused_parameters=True),
        "differs": registering(int(other)),
    }
