"""Training that saves half way, and training that goes on from there in other processes."""

import os
from typing import Any

import isthmus
import torch
import torch.distributed.checkpoint as dcp
from isthmus.checkpoint import PerRank
from isthmus.testing import Place
from programs import batch, caught, digest, start

CODEC = {
    "*layers*": isthmus.codecs.Int4(rounding="stochastic"),
    "*branches*": "topk",
    "*weight": "int4",
    "*": "bf16",
}


def one_step(model: Any, optimizer: Any, place: Place, step: int) -> None:
    model(batch(place, step)[0]).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def path(folder: str, place: Place) -> str:
    return os.path.join(folder, f"{place.site}-{place.rank}.pt")


def without_a_break(
    session: Any, place: Place, folder: str, half: int, steps: int, delay: int
) -> Any:
    """Train, saving on the way; with the digests of all later steps."""
    model, hook, optimizer = start(session, place, codec=CODEC, delay=delay)
    digests = []
    for step in range(steps):
        if step == half:
            everything = {
                "model": model.module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "isthmus": hook.state_dict(),
            }
            torch.save(everything, path(folder, place))
            model_only = {"isthmus": PerRank(hook)}
            dcp.save(model_only, checkpoint_id=os.path.join(folder, f"{place.site}-dcp"))
        one_step(model, optimizer, place, step)
        if step >= half:
            digests.append(digest(model.module))
    hook.close()
    return digests


def resumed(
    session: Any, place: Place, folder: str, half: int, steps: int, delay: int, distributed: bool
) -> Any:
    model, hook, optimizer = start(session, place, codec=CODEC, delay=delay)
    saved = torch.load(path(folder, place), weights_only=True)
    model.module.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    if distributed:
        dcp.load(
            {"isthmus": PerRank(hook)}, checkpoint_id=os.path.join(folder, f"{place.site}-dcp")
        )
    else:
        hook.load_state_dict(saved["isthmus"])
    digests = []
    for step in range(half, steps):
        one_step(model, optimizer, place, step)
        digests.append(digest(model.module))
    counted = hook.stats()["steps"]
    hook.close()
    return digests, counted


def without_the_state(session: Any, place: Place, folder: str, half: int, steps: int) -> Any:
    """What a resumed run would be if isthmus kept nothing; and what is refused, and how."""
    model, hook, optimizer = start(session, place, codec=CODEC)
    saved = torch.load(path(folder, place), weights_only=True)
    model.module.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    state = saved["isthmus"]
    refusals = {
        key: caught(lambda key=key, odd=odd: hook.load_state_dict({**state, key: odd}))
        for key, odd in (("codec", "f32"), ("layout", "00"), ("delay", 1), ("sites", ["mars"]))
    }
    hook.load_state_dict({**hook.state_dict(), "sites": ["mars"]}, strict=False)
    digests = []
    for step in range(half, steps):
        one_step(model, optimizer, place, step)
        digests.append(digest(model.module))
    hook.close()
    return digests, refusals
