"""A site dies in the middle of training; the others' hooks say what their steps were made of."""

import os
from typing import Any

import programs
from isthmus.testing import Place


def survive(session: Any, place: Place, victim: str, steps: int) -> list[dict[str, Any]]:
    """The events of this rank's session; the victim dies in the backward pass of step 2."""
    model, hook, optimizer = programs.start(session, place)
    for step in range(steps):
        loss = model(programs.batch(place, step)[0]).square().mean()
        if (place.site, step) == (victim, 2):
            last = model.module.layers[0].weight
            last.register_hook(lambda gradient: os._exit(0))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    events = hook.stats()["session"]["events"]
    hook.close()
    return list(events)
