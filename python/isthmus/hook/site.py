"""site: the ranks of one site among themselves, through torch's own process groups.

Rank r of the DDP model's group is the gateway of rail r; rank 0 also speaks for the site. The calls
in one group must come in the same order at every rank while several threads make them: `reduces` is
used by the backward pass alone, `broadcasts` by one lane thread alone, and the words of each rail,
which must not wait for another rail's, by one thread alone in a group of their own.
Errors here are those of torch.distributed; `share` passes isthmus errors from rank 0 to all.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from isthmus import errors

_introduction = timedelta(minutes=30)  # the gateway may be waiting for other sites meanwhile


@dataclass(frozen=True)
class Word:
    """From a gateway to its site. error: what every rank shall have; None: all is well.

    finite: whether the result that follows is. text: whatever else there is to say.
    """

    error: errors.IsthmusError | None = None
    finite: bool = True
    text: str = ""


class Site:
    """The ranks of one site. A site of one rank makes no groups and every call is free."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self.name = ""  # known once rank 0 has said it, and so the next
        self.sites: tuple[str, ...] = ()
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        self.rails = 1
        self._ranks = dist.get_process_group_ranks(group)  # in the default group
        self._groups: list[dist.ProcessGroup] = []
        self._unheard: list[object] = []  # words on their way, for which nobody waits

    @property
    def speaks(self) -> bool:
        """Whether this rank is the one that speaks for the site."""
        return self.rank == 0

    @property
    def is_gateway(self) -> bool:
        return self.rank < self.rails

    def open_words(self) -> None:
        """Enough for `share` and `gather`, before it is known how long one may have to wait."""
        if self.size > 1:
            self._words = [self._new_group("gloo", _introduction)]

    def open(self, *, timeout: float, rails: int) -> None:
        """Make the groups. `timeout`: of one WAN operation, for which the site must wait."""
        self.rails = rails
        if self.size == 1:
            return
        wait = timedelta(seconds=2 * timeout + 30)
        self._words = [self._new_group("gloo", wait) for _ in range(rails)]
        self._reduces = self._new_group(None, wait)
        self._broadcasts = self._new_group(None, wait)

    def _new_group(self, backend: str | None, wait: timedelta) -> dist.ProcessGroup:
        everybody = len(self._ranks) == dist.get_world_size()
        made: dist.ProcessGroup | None = dist.new_group(
            self._ranks,
            timeout=wait,
            backend=backend or dist.get_backend(self._group),
            use_local_synchronization=not everybody,
        )
        assert made is not None
        self._groups.append(made)
        return made

    def start_reduce(self, flat: torch.Tensor, rail: int) -> dist.Work | None:
        """Begin to sum `flat` into the gateway's; None where there is nothing to wait for."""
        if self.size == 1:
            return None
        work: dist.Work | None = dist.reduce(
            flat, self._ranks[rail], op=dist.ReduceOp.SUM, group=self._reduces, async_op=True
        )
        return work

    def start_broadcast(self, tensor: torch.Tensor, rail: int) -> dist.Work | None:
        """Begin to give the gateway's `tensor` to all ranks; any dtype, contiguous."""
        if self.size == 1 or tensor.numel() == 0:
            return None
        data = tensor.detach().view(-1).view(torch.uint8)
        work: dist.Work | None = dist.broadcast(
            data, self._ranks[rail], group=self._broadcasts, async_op=True
        )
        return work

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Rank 0's `tensor` to all ranks."""
        work = self.start_broadcast(tensor, 0)
        if work is not None:
            work.wait()

    def spread(self, data: torch.Tensor) -> None:
        """Rank 0's host bytes to all ranks, before or beside everything else."""
        if self.size > 1:
            dist.broadcast(data, self._ranks[0], group=self._words[0])

    def send_word(self, word: Word, rail: int = 0, *, wait: bool = True) -> None:
        """From the gateway of a rail. Reaches all ranks that live, and then raises if one does not:

        so messages of their own, where a broadcast might end at the first that is gone. wait: until
        all have heard it. In a broken site nobody may listen, and who waited there for others that
        wait would keep them all: it is for those that raise to end, and so to end the others' wait.
        """
        text = word.text
        if word.error is not None:
            text = json.dumps([word.error.code, str(word.error), word.error.peer])
        body = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        length = len(text.encode())
        head = torch.tensor(
            [int(word.error is not None), int(word.finite), length], dtype=torch.int64
        )
        gone: Exception | None = None
        works: list[dist.Work | None] = []
        for rank in [rank for rank in self._ranks if rank != self._ranks[rail]]:
            for message in (head, body) if length else (head,):
                try:
                    works.append(dist.isend(message, rank, group=self._words[rail]))
                except Exception as error:
                    gone = error
        if not wait:
            self._unheard += [head, body, *works]
            return
        for work in works:
            try:
                if work is not None:
                    work.wait()
            except Exception as error:
                gone = error
        if gone is not None:
            raise gone

    def receive_word(self, rail: int = 0) -> Word:
        """At the other ranks: what send_word sent."""
        head = torch.zeros(3, dtype=torch.int64)
        dist.recv(head, self._ranks[rail], group=self._words[rail])
        failed, finite, length = (int(v) for v in head)
        body = torch.zeros(length, dtype=torch.uint8)
        if length:
            dist.recv(body, self._ranks[rail], group=self._words[rail])
        text = bytes(body.tolist()).decode()
        if failed:
            return Word(errors.make(*json.loads(text)), finite=bool(finite))
        return Word(None, finite=bool(finite), text=text)

    def share(self, make: Callable[[], Any]) -> Any:
        """`make()` runs at rank 0; every rank gets its JSON value, or raises its error."""
        if self.speaks:
            try:
                value = make()
            except errors.IsthmusError as error:
                self.send_word(Word(error))
                raise
            except Exception as error:
                self.send_word(Word(errors.InternalError(f"{type(error).__name__}: {error}")))
                raise
            self.send_word(Word(text=json.dumps(value)))
            return value
        word = self.receive_word()
        if word.error is not None:
            raise word.error
        return json.loads(word.text)

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value (of those that JSON knows), by rank, at every rank."""
        if self.size == 1:
            return [value]
        texts: list[Any] = [None] * self.size
        dist.all_gather_object(texts, json.dumps(value), group=self._words[0])
        return [json.loads(text) for text in texts]

    def close(self) -> None:
        """Forget the groups, if torch.distributed still stands."""
        groups, self._groups = self._groups, []
        for group in groups:
            if dist.is_initialized():
                dist.destroy_process_group(group)
