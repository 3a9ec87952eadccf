"""What the processes of test_rails.py run: see programs.py."""

import os
from dataclasses import replace
from typing import Any

import isthmus
import torch
import torch.distributed as dist
from codec_programs import one_backward, residuals_of
from delay_programs import train_late
from isthmus.session import Session
from isthmus.testing import Place
from programs import batch, caught, digest, start, train_variants
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Wide(nn.Module):
    """Matrices of more than one shard's smallest piece, so that a cut goes through them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(48, 256), nn.Linear(256, 96), nn.Linear(96, 1)
        self.register_buffer("mark", torch.ones(1))

    def forward(self, x: torch.Tensor, branch: int | None = None) -> torch.Tensor:
        return self.head(torch.tanh(self.down(torch.tanh(self.up(x)))))


def train_and_weigh(session: Any, place: Place, steps: int) -> dict[str, Any]:
    """Of every variant: the digest, and the bytes that this rank sent to other sites."""
    answers = train_variants(session, place, steps)
    return {name: (a["digest"], a["stats"]["bytes_sent"]) for name, a in answers.items()}


def owed(model: nn.Module, hook: Any) -> tuple[dict[str, torch.Tensor], bool]:
    """What this site's ranks owe the sum together; and whether one of them has each element."""
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, residuals_of(hook))
    whole = {n: torch.zeros(p.numel()) for n, p in model.named_parameters() if p.dim() > 1}
    holders = {name: torch.zeros(values.numel()) for name, values in whole.items()}
    for state in states:
        for key, values in state.items():
            name, _, bounds = key.partition("[")
            begin = int(bounds.partition(":")[0]) if bounds else 0
            whole[name][begin : begin + values.numel()] += values.reshape(-1)
            holders[name][begin : begin + values.numel()] += 1
    return whole, all(bool((each == 1).all()) for each in holders.values())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def life_of_residuals(session: Any, place: Place) -> dict[str, Any]:
    """Through the rebuilding of buckets, a step with an infinity, and a checkpoint."""
    model, hook, optimizer = start(session, place, make=Wide, codec="int4")
    one_backward(model, place, 0)
    first, whole = owed(model.module, hook)
    seen: dict[str, Any] = {"at first": whole and any(bool(t.any()) for t in first.values())}
    model.zero_grad()
    # The second step has other buckets, so some elements have changed their rail.
    before = sorted(residuals_of(hook))
    one_backward(model, place, 1, scale=float("inf") if place.first == 0 else 1.0)
    kept, _ = owed(model.module, hook)  # a stray's new gateway has zeros for it, until it comes
    seen["not finite"] = not all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    seen["kept"] = same(first, kept)
    seen["strayed"] = before != sorted(residuals_of(hook))
    model.zero_grad()
    one_backward(model, place, 2)
    later, whole = owed(model.module, hook)
    seen["moved on"] = whole and not same(first, later)
    seen["home"] = sorted(residuals_of(hook))

    saved, weights = hook.state_dict(), {k: v.clone() for k, v in model.state_dict().items()}
    model.zero_grad()
    one_backward(model, place, 3)
    optimizer.step()
    wanted = digest(model.module)
    hook.close()
    again, hook, optimizer = start(session, place, make=Wide, codec="int4")
    for each in range(2):  # so that the new one has the same buckets
        one_backward(again, place, each)
        again.zero_grad()
    again.load_state_dict(weights)
    hook.load_state_dict(saved)
    one_backward(again, place, 3)
    optimizer.step()
    seen["resumed"] = digest(again.module) == wanted
    seen["left out"] = _load_of_another_rank(hook, saved)
    hook.close()
    return seen


def _load_of_another_rank(hook: Any, saved: dict[str, Any]) -> bool:
    before = residuals_of(hook)
    hook.load_state_dict({**saved, "rank": saved["rank"] + 1})
    after = residuals_of(hook)
    return before.keys() == after.keys() and same(before, after)


def save_a_debt(session: Any, place: Place, folder: str) -> float:
    """Two steps, and a checkpoint at every rank; how large the site's debt is, to look at."""
    model, hook, _ = start(session, place, make=Wide, codec="int4")
    for step in range(2):
        one_backward(model, place, step)
        model.zero_grad()
    torch.save(hook.state_dict(), os.path.join(folder, f"{place.site}-{place.rank}"))
    debt, _ = owed(model.module, hook)
    hook.close()
    return float(sum(each.abs().sum() for each in debt.values()))


def resume_with_zero_gradients(session: Any, place: Place, folder: str) -> dict[str, Any]:
    """A step whose gradients are nothing but the debts: their mean, over both sites, arrives."""
    model, hook, _ = start(session, place, make=Wide, codec="int4")
    hook.load_state_dict(torch.load(os.path.join(folder, f"{place.site}-{place.rank}")))
    before, _ = owed(model.module, hook)
    (model(batch(place, 0)[0]).sum() * 0).backward()
    after, whole = owed(model.module, hook)
    arrived = {n: p.grad.reshape(-1).clone() for n, p in model.module.named_parameters()}
    paid = {name: before[name] - after[name] for name in before}
    hook.close()
    return {"whole": whole, "arrived": {n: arrived[n] for n in paid}, "paid": paid}


def lose_a_rank(session: Any, place: Place, victim: tuple[str, int]) -> tuple[str, str | None, str]:
    model, _, optimizer = start(session, place)
    for step in range(5):
        loss = model(batch(place, step)[0]).square().mean()
        if step == 3 and (place.site, place.rank) == victim:
            os._exit(0)
        loss.backward()
        outcome = caught(optimizer.step)
        if outcome[0] != "nothing":
            return outcome
        optimizer.zero_grad()
    return outcome


def one_rail_refuses(
    session: Any, place: Place, rail: int
) -> dict[str, tuple[str, str | None, str]]:
    """At one rail alone a site's gateway exchanges something else: all rails must end for that."""
    model, hook, optimizer = start(session, place)
    one_backward(model, place, 0)
    seen = {"well": caught(optimizer.step)}
    if place.first == 0 and place.rank == rail:
        stray = torch.zeros(5)
        hook._session.all_reduce(stray)
    one_backward(model, place, 1)
    seen["step"] = caught(optimizer.step)
    return seen


def registering(session: Any, place: Place, drop: int) -> tuple[str, str | None, str]:
    """drop: the rank that forgets what join gave it; -1: none."""
    held = None if place.rank == drop else session
    return caught(lambda: isthmus.register(DDP(nn.Linear(4, 2)), held))


def late_both_ways(session: Any, place: Place, steps: int) -> dict[str, tuple[str, str]]:
    """With delay=1 and delayed by hand, where residuals change their rail."""

    def trained(codec: str, *, by_hand: bool) -> str:
        return train_late(session, place, steps, by_hand, make=Wide, codec=codec)

    return {
        codec: (trained(codec, by_hand=False), trained(codec, by_hand=True))
        for codec in ("f32", "int4", "topk")
    }


def measuring(
    session: Any, place: Place, at: tuple[str, ...], victim: tuple[str, int] | None, reason: str
) -> dict[str, Any]:
    """register, at sites that measure. At the victim measuring fails before anything is sent."""
    if isinstance(session, Session) and place.site in at:
        session._settings = replace(session._settings, measure=True)
    if (place.site, place.rank) == victim:
        Session.measure = _fails_for(reason)  # type: ignore[method-assign]
    seen: dict[str, Any] = {"register": caught(lambda: isthmus.register(DDP(Wide()), session))}
    rail = session if isinstance(session, Session) else session.opened
    links = None if rail is None else rail.links
    seen["links"] = None if links is None else (links.sites, min(links.uplink) > 0)
    if victim is None:  # another model over the same rails
        Session.measure = _fails_for("they are measured")  # type: ignore[method-assign]
        seen["again"] = caught(lambda: isthmus.register(DDP(Wide()), session))
    return seen


def _fails_for(reason: str) -> Any:
    def measure(self: Session) -> None:
        if reason == "lost":
            raise isthmus.PeerLost("the line is dead", "site00")
        if reason == "died":
            os._exit(0)
        raise ArithmeticError(reason)

    return measure


def load_a_state_of_before_rails(session: Any, place: Place) -> dict[str, Any]:
    _, hook, _ = start(session, place, make=Wide, codec="int4")
    saved = hook.state_dict()
    debt = {"up.weight": torch.ones(256, 48)} if place.rank == 0 else {}
    # As version 3 had it: only a gateway said its site, and nobody a rank.
    younger = ("rank", "sites", "order", "dither", "links")
    kept = {k: v for k, v in saved.items() if k not in younger}
    old = kept | {"version": 3, "residuals": debt}
    hook.load_state_dict(old if place.rank == 0 else {**old, "site": ""})
    seen = {"taken": same(debt, residuals_of(hook)), "number": len(residuals_of(hook))}
    seen["newer"] = caught(lambda: hook.load_state_dict({**saved, "version": 6}))
    hook.close()
    return seen
