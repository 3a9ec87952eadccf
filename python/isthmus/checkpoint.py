"""checkpoint: a hook's state in torch.distributed.checkpoint.

That keeps one value for each name and loads only what it is given a place for; but each rank of a
site has a state of its own, and a new hook has no residuals yet. So each rank's state goes as bytes
under a name of its own.
"""

import io
from typing import Any

import torch

from isthmus.errors import Refused
from isthmus.hook import Hook


class PerRank:
    """A value of a state_dict: dcp.save({"model": …, "isthmus": PerRank(hook)}), and dcp.load of
    the same. Each site keeps a checkpoint of its own, written by its own process group."""

    def __init__(self, hook: Hook, *, strict: bool = True) -> None:
        self._hook = hook
        self._strict = strict

    def state_dict(self) -> dict[str, Any]:
        state = self._hook.state_dict()
        written = io.BytesIO()
        torch.save(state, written)
        return {f"rank {state['rank']}": written.getvalue()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises what Hook.load_state_dict raises."""
        (name,) = self.state_dict()
        if name not in state:
            raise Refused(f"the checkpoint has nothing of {name}: it has {', '.join(state)}")
        self._hook.load_state_dict(
            torch.load(io.BytesIO(state[name]), weights_only=True), strict=self._strict
        )
