"""arrivals: in which order gradients come; DDP builds its buckets by it after the first step.

Buckets decide how gradients are cut into a codec's blocks, so a resumed run needs the buckets of
the one that it continues before its first step. Where DDP has not built them anew yet, it sees one
backward pass of nothing, in the order that the checkpoint names, and then does.
"""

from collections.abc import Callable, Sequence

import torch
from torch.nn.parallel import DistributedDataParallel


class Arrivals:
    """Of one model. `order`: places of the parameters; empty: not known, or not decisive."""

    def __init__(
        self, model: DistributedDataParallel, parameters: Sequence[torch.nn.Parameter]
    ) -> None:
        self.order: list[int] = []
        self._model = model
        self._parameters = parameters
        self._came: list[int] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        if not (model.find_unused_parameters or model.static_graph):
            self._handles = [
                each.register_post_accumulate_grad_hook(self._note(i))  # type: ignore
                for i, each in enumerate(parameters)
            ]

    def _note(self, place: int) -> Callable[[torch.Tensor], None]:
        return lambda _: self._came.append(place)

    def end_step(self) -> None:
        """The last bucket of a backward pass is here. Only the first such pass counts."""
        if not self._handles:
            return
        # Before it there may have been passes that DDP did not synchronise.
        self.order = self._came[-len(self._parameters) :]
        self.close()

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._came = [], []

    def rehearse(self, order: Sequence[int]) -> None:
        """REQUIRES: the hook lets buckets pass as they are meanwhile."""
        model = self._model
        known = sorted(order) == list(range(len(self._parameters)))
        if not self._handles or not known or model._has_rebuilt_buckets:
            return
        self.close()
        self.order = list(order)
        kept = [(parameter, parameter.grad) for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        with torch.enable_grad():
            model.reducer.prepare_for_forward()
            model.reducer.prepare_for_backward([])
            for place in order:
                (self._parameters[place].sum() * 0).backward()  # type: ignore[no-untyped-call]
        for parameter, gradient in kept:
            parameter.grad = gradient
