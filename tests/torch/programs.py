"""What the processes of the torch tests run: fn(session, place, ...), see isthmus.testing.

A program trains the same model on the same data whether it is plain DDP over one torch world
(session None) or isthmus over several, so that their results can be compared.
"""

import gc
import hashlib
import os
import pathlib
import time
import weakref
from collections.abc import Callable
from typing import Any

import isthmus
import torch
from isthmus.testing import Place
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

_width = 48


class Net(nn.Module):
    """Several buckets, a buffer, and a branch of its own for each of three kinds of batches."""

    def __init__(self, dtypes: tuple[torch.dtype, ...] = (torch.float32,) * 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(_width, _width, dtype=t) for t in dtypes)
        self.branches = nn.ModuleList(nn.Linear(_width, _width) for _ in range(3))
        self.head = nn.Linear(_width, 1)
        self.register_buffer("mark", torch.randn(3))

    def forward(self, x: torch.Tensor, branch: int | None = None) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x.to(layer.weight.dtype))).float()
        for i, kind in enumerate(self.branches):
            if branch is None or branch == i:
                x = x + kind(x)
        return self.head(x)


def digest(model: nn.Module) -> str:
    """Of all parameters, buffers and gradients."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(name.encode())
        sha.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    for parameter in model.parameters():
        if parameter.grad is not None:
            sha.update(parameter.grad.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def batch(place: Place, step: int) -> tuple[torch.Tensor, int]:
    """A different one for each rank of all sites; and which branch it takes, if it takes one.

    At some steps no rank takes branch 2, at some only one does.
    """
    generator = torch.Generator().manual_seed(1000 * step + place.first + place.rank)
    x = torch.randn(8, _width, generator=generator)
    return x, (place.first + place.rank + step // 2) % 3


def start(
    session: Any,
    place: Place,
    *,
    make: Callable[[], nn.Module] = Net,
    codec: Any = "f32",
    feedback: Any = True,
    ddp: dict[str, Any] | None = None,
    **registering: Any,
) -> tuple[DDP, Any, torch.optim.Optimizer]:
    torch.manual_seed(place.first + place.rank)  # only the first rank's numbers may survive
    model = DDP(make(), bucket_cap_mb=0.02, **(ddp or {}))
    hook = (
        None
        if session is None
        else isthmus.register(model, session, codec=codec, feedback=feedback, **registering)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    return model, hook, optimizer


def train(
    session: Any,
    place: Place,
    *,
    steps: int,
    branches: bool = False,
    accumulate: bool = False,
    **options: Any,
) -> dict[str, Any]:
    model, hook, optimizer = start(session, place, **options)
    for step in range(steps):
        if accumulate:
            with model.no_sync():
                model(batch(place, 500 + step)[0]).square().mean().backward()
        x, branch = batch(place, step)
        model(x, branch if branches else None).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert model.module.mark.abs().sum() > 0
    answer = {
        "digest": digest(model.module),
        "state": torch.cat([p.detach().double().view(-1) for p in model.parameters()]).tolist(),
    }
    if hook is not None:
        answer["hook"] = hook.state_dict()
        answer["stats"] = hook.stats()
        hook.close()
    return answer


mixed = (torch.bfloat16, torch.float64, torch.float32)


def mixed_net() -> nn.Module:
    return Net(mixed)


variants: dict[str, dict[str, Any]] = {
    "plain": {},
    "bucket views": {"ddp": {"gradient_as_bucket_view": True}},
    "no_sync": {"accumulate": True},
    "static_graph": {"ddp": {"static_graph": True}},
    "find_unused": {"branches": True, "ddp": {"find_unused_parameters": True}},
    "find_unused, bucket views": {
        "branches": True,
        "accumulate": True,
        "ddp": {"find_unused_parameters": True, "gradient_as_bucket_view": True},
    },
}


def train_variants(session: Any, place: Place, steps: int) -> dict[str, dict[str, Any]]:
    return {name: train(session, place, steps=steps, **how) for name, how in variants.items()}


def train_dtypes(session: Any, place: Place, steps: int) -> dict[str, dict[str, Any]]:
    half = {"make": mixed_net}
    return {
        "mixed": train(session, place, steps=steps, **half),
        "bf16": train(session, place, steps=steps, **({"codec": "bf16"} if session else {})),
    }


def scaled_steps(session: Any, place: Place) -> list[tuple[float, str]]:
    """Scale and parameters after each step; at step 2 one rank of all has an infinite loss."""
    model, _, optimizer = start(session, place)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=100)
    seen = []
    for step in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(batch(place, step)[0]).float().square().mean()
        if step == 2 and place.first + place.rank == 1:
            loss = loss * float("inf")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        seen.append((scaler.get_scale(), digest(model.module)))
    return seen


def overlapped_step(session: Any, place: Place, folder: str) -> bool:
    """The second site begins its backward only once the first is deep in its own.

    So the first can only get there if handing over a bucket does not wait for the other site.
    """
    model, hook, _ = start(session, place)
    sign = pathlib.Path(folder) / "deep"
    for step in range(2):  # one bucket in the first step, several in the second
        loss = model(batch(place, step)[0]).square().mean()
        if step == 1 and place.first == 0:
            before = hook.stats()["buckets"]

            def reached(gradient: torch.Tensor, before: int = before) -> None:
                assert hook.stats()["buckets"] > before, "no bucket was handed over yet"
                sign.touch()

            model.module.layers[0].weight.register_hook(reached)
        if step == 1 and place.first > 0:
            while not sign.exists():
                time.sleep(0.01)
        loss.backward()
    hook.check()
    hook.close()
    return sign.exists()


def caught(call: Callable[[], Any]) -> tuple[str, str | None, str]:
    try:
        call()
    except isthmus.IsthmusError as error:
        return type(error).__name__, error.peer, str(error)
    return "nothing", None, ""


def lose_a_site(session: Any, place: Place, victim: str) -> dict[str, Any]:
    model, hook, optimizer = start(session, place)
    for step in range(6):
        loss = model(batch(place, step)[0]).square().mean()
        if step == 3 and place.site == victim:
            os._exit(0)
        loss.backward()
        if step < 3:
            optimizer.step()
            optimizer.zero_grad()
            continue
        before = digest(nn.ModuleList([model.module]).eval().requires_grad_(True))
        outcome = {
            "step": caught(optimizer.step),
            "forward": caught(lambda: model.train()(batch(place, 0)[0])),
            "check": caught(hook.check),
            "evaluation": tuple(model.eval()(batch(place, 0)[0]).shape),
            "untouched": before == digest(nn.ModuleList([model.module])),
        }
        hook.close()
        return outcome
    raise AssertionError("not reached")


def lose_a_rank(session: Any, place: Place, victim: str) -> dict[str, Any]:
    """The second rank of the victim site dies; its gateway and the other sites must all stop."""
    model, _, optimizer = start(session, place)
    for step in range(3):
        loss = model(batch(place, step)[0]).square().mean()
        if step == 1 and place.site == victim and place.rank == 1:
            os._exit(0)
        loss.backward()
        if step == 1:
            return {"step": caught(optimizer.step)}
        optimizer.step()
        optimizer.zero_grad()
    raise AssertionError("not reached")


class Branches(nn.Module):
    """Branches taken in an order that the test chooses, so that DDP's new buckets differ."""

    def __init__(self, backward: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(_width, _width) for _ in range(3))
        self.order = [2, 1, 0] if backward else [0, 1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in self.order:
            x = torch.tanh(self.parts[i](x))
        return x.sum(1, keepdim=True)


def other_order(session: Any, place: Place) -> tuple[str, str | None, str]:
    model, _, optimizer = start(
        session, place, make=lambda: Branches(backward=place.site == "site01")
    )
    for step in range(3):
        model(batch(place, step)[0]).square().mean().backward()
        outcome = caught(optimizer.step)
        if outcome[0] != "nothing":
            return outcome
    return outcome


def closed_and_let_go(session: Any) -> tuple[str, str | None, str]:
    """A hook that has failed and is closed must hold neither DDP, with its buckets, nor itself."""

    def used() -> weakref.ref[DDP]:
        model = DDP(nn.Linear(4, 2))
        hook = isthmus.register(model, session)
        model(torch.ones(1, 4)).sum().backward()
        hook.close()
        assert caught(lambda: model(torch.ones(1, 4)))[0] == "Cancelled"
        return weakref.ref(model)

    left = used()
    gc.collect()
    return "nothing" if left() is None else "kept", None, ""


def closed_before_backward(session: Any) -> tuple[str, str | None, str]:
    model = DDP(nn.Linear(4, 2))
    hook = isthmus.register(model, session)
    loss = model(torch.ones(1, 4)).sum()
    hook.close()
    return caught(loss.backward)


def stepped_after_a_failure(session: Any) -> tuple[str, str | None, str]:
    """With this site's own gradients, which a failed exchange left where the mean should be."""
    model = DDP(nn.Linear(4, 2))
    hook = isthmus.register(model, session)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.ones(1, 4)).sum().backward()
    hook._fail(RuntimeError("made up"))
    hook.close()
    optimizer.step()
    same = all(map(torch.equal, before, model.parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)  # of another hook, by now
    hook.close()
    kept = all(parameter.grad is not None for parameter in model.parameters())
    return "nothing" if same and kept else f"same {same}, kept {kept}", None, ""


def refusals(session: Any, place: Place) -> dict[str, tuple[str, str | None, str]]:
    """register with things that cannot work, all over one session, which must survive them."""
    other = place.site == "site01"

    def registering(model: nn.Module, **options: Any) -> tuple[str, str | None, str]:
        return caught(lambda: isthmus.register(DDP(model), session, **options))

    def sized(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, width))

    good = DDP(sized(2))
    hook = isthmus.register(good, session)
    saved = hook.state_dict()
    seen = {
        "shape": registering(sized(3 if other else 2)),
        "number": registering(nn.Linear(4, 2, bias=other)),
        "dtype": registering(sized(2).double() if other else sized(2)),
        "codec": registering(sized(2), codec="bf16" if other else "f32"),
        "sparse": registering(nn.Sequential(nn.Embedding(4, 4, sparse=True))),
        "complex": registering(nn.Linear(4, 2, dtype=torch.complex64)),
        "twice": caught(lambda: isthmus.register(good, session)),
        "bare": caught(lambda: isthmus.register(sized(2), session)),  # type: ignore[arg-type]
        "no session": caught(lambda: isthmus.register(DDP(sized(2)), None)),
        "own state": caught(lambda: hook.load_state_dict(saved)),
        "other codec": caught(lambda: hook.load_state_dict({**saved, "codec": "int4"})),
        "other layout": caught(lambda: hook.load_state_dict({**saved, "layout": "00"})),
        "no state": caught(lambda: hook.load_state_dict({})),
    }
    good(torch.ones(1, 4)).sum().backward()
    optimizer = torch.optim.SGD(good.parameters(), lr=0.1)
    seen["good step"] = caught(optimizer.step)
    hook.close()
    hook.close()
    seen["closed"] = caught(lambda: good(torch.ones(1, 4)))
    seen["closed step"] = caught(optimizer.step)
    seen["let go"] = closed_and_let_go(session)
    seen["closed backward"] = closed_before_backward(session)
    seen["failed step"] = stepped_after_a_failure(session)
    again = isthmus.register(DDP(good.module), session)
    again.load_state_dict(saved)
    again.close()
    return seen
