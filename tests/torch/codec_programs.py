"""What the processes of test_codecs_in_training.py run: see programs.py."""

from typing import Any

import isthmus
import torch
from isthmus.codecs import Feedback, Int4
from isthmus.testing import Place
from programs import batch, digest, start, train

mixed_rules = {"branches.*.weight": "int8", "*.weight": "int4", "*": "f32"}
ways: dict[str, dict[str, Any]] = {
    "int4": {"codec": "int4"},
    "int4 bf16 residual": {"codec": "int4", "feedback": Feedback(dtype="bfloat16")},
    "int4 stochastic": {"codec": Int4(rounding="stochastic")},
    "int8": {"codec": "int8"},
    "int2": {"codec": "int2"},
    "sign": {"codec": "sign"},
    "topk": {"codec": "topk-128-int8"},
    "rules": {"codec": mixed_rules},
}


def losses_by_codec(session: Any, place: Place, steps: int) -> dict[str, dict[str, Any]]:
    """Of a regression that can be learned: the first and the last loss, and who holds what."""
    answers = {}
    for name, options in ways.items():
        model, hook, _ = start(session, place, **options)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        losses = []
        for step in range(steps):
            x = batch(place, step)[0]
            loss = (model(x) - x.sum(1, keepdim=True) / 7).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        state = hook.state_dict()
        answers[name] = {
            "digest": digest(model.module),
            "first": sum(losses[:3]) / 3,
            "last": sum(losses[-3:]) / 3,
            "residuals": {
                key: (tuple(value.shape), str(value.dtype), float(value.float().norm()))
                for key, value in state["residuals"].items()
            },
            "bytes_sent": hook.stats()["bytes_sent"],
        }
        hook.close()
    return answers


def one_backward(model: Any, place: Place, step: int, scale: float = 1.0) -> None:
    (model(batch(place, step)[0]).square().mean() * scale).backward()


def residuals_of(hook: Any) -> dict[str, torch.Tensor]:
    return hook.state_dict()["residuals"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def life_of_residuals(session: Any, place: Place) -> dict[str, Any]:
    """Through the rebuilding of buckets, a step with an infinity, a checkpoint, and refusals."""
    model, hook, optimizer = start(session, place, codec="int4")
    seen: dict[str, Any] = {
        "at first": residuals_of(hook) == {}
        or all(not t.any() for t in residuals_of(hook).values())
    }
    one_backward(model, place, 0)
    first = residuals_of(hook)
    seen["after one bucket"] = sorted(first)
    model.zero_grad()
    # The second step has other buckets; a step that ends badly must leave all residuals alone,
    # those that have just moved among them.
    one_backward(model, place, 1, scale=float("inf") if place.site == "site00" else 1.0)
    seen["not finite"] = all(
        not torch.isfinite(p.grad).all() for n, p in model.module.named_parameters()
    )
    seen["kept"] = same(first, residuals_of(hook))
    model.zero_grad()
    one_backward(model, place, 2)
    seen["moved on"] = not same(first, residuals_of(hook))

    saved, weights = hook.state_dict(), {k: v.clone() for k, v in model.state_dict().items()}
    model.zero_grad()
    one_backward(model, place, 3)
    optimizer.step()
    wanted = digest(model.module)
    hook.close()
    again, hook, optimizer = start(session, place, codec="int4")
    for each in range(2):  # so that the new one has the same buckets
        one_backward(again, place, each)
        again.zero_grad()
    again.load_state_dict(weights)
    hook.load_state_dict(saved)
    seen["loaded"] = same(saved["residuals"], residuals_of(hook))
    one_backward(again, place, 3)
    optimizer.step()
    seen["resumed"] = digest(again.module) == wanted
    return seen | refused_states(hook, saved)


def refused_states(hook: Any, saved: dict[str, Any]) -> dict[str, Any]:
    """Only a gateway looks at residuals; the others say "nothing"."""

    def loading(residuals: dict[str, Any], site: str | None = None) -> str:
        state = {**saved, "residuals": residuals, "site": saved["site"] if site is None else site}
        try:
            hook.load_state_dict(state)
        except isthmus.Refused as error:
            return str(error)
        return "nothing"

    before = residuals_of(hook)
    seen = {
        "unknown": loading({"nobody": torch.zeros(3)}),
        "shape": loading({"head.weight": torch.zeros(3)}),
        "another site": loading({"head.weight": torch.ones(1, 48)}, site="elsewhere"),
    }
    seen["unchanged"] = same(before, residuals_of(hook))
    return seen


def train_with(session: Any, place: Place, steps: int, how: dict[str, Any]) -> str:
    return train(session, place, steps=steps, **how)["digest"]
