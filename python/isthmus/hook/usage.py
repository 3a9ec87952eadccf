"""usage: gradients of parameters that only other sites used (find_unused_parameters).

DDP leaves the gradient of a parameter alone that no rank of its own group used. Here the group is
one site, so a parameter used only at another site would get its mean gradient there and none here,
and the sites would drift apart. So the sites also exchange which parameters they used, and after
DDP has finished, the gradients that it left alone are filled in.
"""

from collections.abc import Callable, Sequence

import torch
from torch._C._distributed_c10d import GradBucket
from torch.autograd import Variable
from torch.futures import Future


class Usage:
    """Of one model. All calls come from the backward pass."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = list(parameters)
        self._used = torch.zeros(len(self._parameters))
        self._results: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._index = {id(parameter): i for i, parameter in enumerate(self._parameters)}
        self._handles = [
            each.register_post_accumulate_grad_hook(self._mark)  # type: ignore[no-untyped-call]
            for each in self._parameters
        ]

    def _mark(self, parameter: torch.Tensor) -> None:
        self._used[self._index[id(parameter)]] = 1.0

    def add(self, bucket: GradBucket) -> None:
        self._results.extend(zip(bucket.parameters(), bucket.gradients(), strict=True))

    def finish(
        self,
        submit: Callable[[torch.Tensor], "Future[torch.Tensor]"],
        failed: Callable[[], bool],
    ) -> None:
        """After the last bucket: exchange who used what, and fill in when backward ends."""
        mine, self._used = self._used, torch.zeros(len(self._parameters))
        results, self._results = self._results, []
        asked = submit(mine.clone())

        def fill() -> None:
            anyone = asked.wait()
            if not failed():
                self._fill(mine, anyone, results)

        # DDP queues its own end of backward after this call. A callback that queues another one
        # comes after it.
        engine = Variable._execution_engine
        engine.queue_callback(lambda: engine.queue_callback(fill))

    def _fill(
        self,
        mine: torch.Tensor,
        anyone: torch.Tensor,
        results: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> None:
        for parameter, gradient in results:
            i = self._index[id(parameter)]
            if mine[i] == 0 and anyone[i] > 0:
                if parameter.grad is None:
                    parameter.grad = gradient.detach().clone().view(parameter.shape)
                else:
                    parameter.grad.copy_(gradient.view(parameter.shape))

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
