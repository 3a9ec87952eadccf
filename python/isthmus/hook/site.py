"""site: the ranks of one site among themselves, through torch's own process groups.

Rank 0 of the DDP model's group is the gateway. Three groups, since the calls in one group must
come in the same order at every rank while several threads make them: `reduces` is used by the
backward pass alone, `broadcasts` and `words` by one lane thread alone.
Errors here are those of torch.distributed; `share` passes isthmus errors from the gateway to all.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from isthmus import errors

_gateway = 0
_introduction = timedelta(minutes=30)  # the gateway may be waiting for other sites meanwhile


class Site:
    """The ranks of one site. A site of one rank makes no groups and every call is free."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        self.is_gateway = self.rank == _gateway
        ranks = dist.get_process_group_ranks(group)
        self._source = ranks[_gateway]
        self._groups: list[dist.ProcessGroup] = []

    def open_words(self) -> None:
        """Enough for `share`, before it is known how long one may have to wait."""
        if self.size > 1:
            self._words = self._new_group("gloo", _introduction)

    def open(self, *, timeout: float) -> None:
        """Make the groups. `timeout`: of one WAN operation, for which followers must wait."""
        if self.size == 1:
            return
        wait = timedelta(seconds=2 * timeout + 30)
        self._words = self._new_group("gloo", wait)
        self._reduces = self._new_group(None, wait)
        self._broadcasts = self._new_group(None, wait)

    def _new_group(self, backend: str | None, wait: timedelta) -> dist.ProcessGroup:
        ranks = dist.get_process_group_ranks(self._group)
        everybody = len(ranks) == dist.get_world_size()
        made: dist.ProcessGroup | None = dist.new_group(
            ranks,
            timeout=wait,
            backend=backend or dist.get_backend(self._group),
            use_local_synchronization=not everybody,
        )
        assert made is not None
        self._groups.append(made)
        return made

    def start_reduce(self, flat: torch.Tensor) -> dist.Work | None:
        """Begin to sum `flat` into the gateway's; None where there is nothing to wait for."""
        if self.size == 1:
            return None
        work: dist.Work | None = dist.reduce(
            flat, self._source, op=dist.ReduceOp.SUM, group=self._reduces, async_op=True
        )
        return work

    def broadcast(self, tensor: torch.Tensor) -> None:
        """The gateway's `tensor` to all ranks; any dtype, contiguous."""
        if self.size > 1 and tensor.numel() > 0:
            data = tensor.detach().view(-1).view(torch.uint8)
            dist.broadcast(data, self._source, group=self._broadcasts)

    def send_word(self, error: errors.IsthmusError | None, text: str = "") -> None:
        """From the gateway: all is well (and a text), or the error that every rank shall have."""
        if self.size == 1:
            return
        if error is not None:
            text = json.dumps([error.code, str(error), error.peer])
        data = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else None
        length = 0 if data is None else data.numel()
        word = torch.tensor([int(error is not None), length], dtype=torch.int64)
        dist.broadcast(word, self._source, group=self._words)
        if data is not None:
            dist.broadcast(data, self._source, group=self._words)

    def receive_word(self) -> tuple[errors.IsthmusError | None, str]:
        """At the other ranks: what send_word sent."""
        word = torch.zeros(2, dtype=torch.int64)
        dist.broadcast(word, self._source, group=self._words)
        failed, length = (int(v) for v in word)
        data = torch.zeros(length, dtype=torch.uint8)
        if length:
            dist.broadcast(data, self._source, group=self._words)
        text = bytes(data.tolist()).decode()
        return (errors.make(*json.loads(text)), "") if failed else (None, text)

    def share(self, make: Callable[[], Any]) -> Any:
        """`make()` runs at the gateway; every rank gets its JSON value, or raises its error."""
        if self.is_gateway:
            try:
                value = make()
            except errors.IsthmusError as error:
                self.send_word(error)
                raise
            except Exception as error:
                self.send_word(errors.InternalError(f"{type(error).__name__}: {error}"))
                raise
            self.send_word(None, json.dumps(value))
            return value
        failure, text = self.receive_word()
        if failure is not None:
            raise failure
        return json.loads(text)

    def close(self) -> None:
        """Forget the groups, if torch.distributed still stands."""
        groups, self._groups = self._groups, []
        for group in groups:
            if dist.is_initialized():
                dist.destroy_process_group(group)
