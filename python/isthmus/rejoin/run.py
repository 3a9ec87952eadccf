"""run: the training loop's steps, at whose boundaries sites come in.

In the background the next epoch's sites join each other. At every boundary each site tells whether
it is ready for it, and one step later all have read what all said: then they change over together,
or go on together. Who comes in is handed the others' state.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from isthmus import _core, config
from isthmus.epochs import Epochs
from isthmus.errors import IsthmusError, PeerLost, Refused
from isthmus.events import came_in, stuck
from isthmus.hook import Hook
from isthmus.hook.site import Site
from isthmus.memory import fresh
from isthmus.rejoin.handover import (
    Handed,
    Standing,
    Whole,
    difference,
    hand_over,
    put,
)
from isthmus.rejoin.state import Digests, Stateful, TrainingState
from isthmus.seat import Seat
from isthmus.session import Follower, Session


class NextEpoch(Protocol):
    """Joins the next epoch in the background (isthmus.epochs.Epochs)."""

    @property
    def ready(self) -> int: ...
    def take(self) -> _core.Session: ...
    def wait(self, timeout: float) -> bool: ...
    def close(self) -> None: ...


@dataclass
class Pause:
    """How long one change over kept this site from training, and why, in seconds."""

    step: int
    epoch: int
    sites: tuple[str, ...]
    donor: str
    takers: tuple[str, ...]
    bytes: int
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Run:
    """One site's training, at every rank of the site. Steps count from 0, or where the others are.

    session: what `join` returned. model: DDP, after `register`. optimizer, scheduler, scaler, data
    and others: anything with state_dict() and load_state_dict(); a site that comes in takes the
    others'. Optimizer, scheduler and scaler must be the same at all sites; data (the position in
    it) and others need not.

    random_state: a site that comes in also takes the donor's generators (Python's, NumPy's, torch's
    own and that of its device). check_every: every so many steps all sites compare hashes of their
    parameters and optimizers; 0: only when a site comes in. step: the first one, of a run that is
    resumed.

    The sites must all use a Run, or none. While on_loss is "raise", or there are rails, no site can
    come in, and a Run counts steps and compares states.
    """

    def __init__(
        self,
        session: Session | Follower,
        *,
        model: DistributedDataParallel,
        optimizer: Stateful | None = None,
        scheduler: Stateful | None = None,
        scaler: Stateful | None = None,
        data: Stateful | None = None,
        others: Mapping[str, Stateful] | None = None,
        random_state: bool = True,
        check_every: int = 0,
        step: int = 0,
        epochs: NextEpoch | None = None,
    ) -> None:
        hook = getattr(model, "isthmus_hook", None)
        if not isinstance(hook, Hook):
            raise Refused("Run takes a DDP model that was given to isthmus.register")
        if check_every < 0:
            raise Refused(f"check_every is {check_every}; expected a number of steps, or 0")
        named = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
        self._state = TrainingState(
            model.module,
            hook,
            shared={name: part for name, part in named.items() if part is not None},
            own={**({} if data is None else {"data": data}), **(others or {})},
            random_state=random_state,
        )
        self._session = session
        self._hook = hook
        self._check_every = check_every
        self._step = step
        self._site = Site(model.process_group)
        self._site.open_words()
        self._epochs = epochs
        self._word: _core.Work | None = None  # what was said at the boundary before
        self._holders: tuple[int, ...] | None = None  # by rank, after a change over
        self._digests: Digests | None = None  # of the state at the boundary before
        self._begun = 0.0
        self.pauses: list[Pause] = []
        """Of each change over, this site's."""

    @property
    def step(self) -> int:
        """The number of the step that is under way, or follows."""
        return self._step

    def steps(self, total: int) -> Iterator[int]:
        """The numbers of the steps up to `total`, each behind its boundary.

        Raises what the session raises, at every rank of the site; Refused where the others' state
        does not fit this site's; InternalError where the sites' states differ.
        """
        self._begun = time.monotonic()
        self._together(self._come_in)
        while self._step < total:
            while self._together(self._decide):
                self._hook.rest()
                self._together(self._change_over)
            yield self._step
            self._step += 1

    def close(self) -> None:
        """Step no more. The session stays open; close it next."""
        self._give_up()
        self._site.close()

    def _give_up(self) -> None:
        if self._epochs is not None:
            self._epochs.close()

    # What follows runs at the gateway; its outcome, or its error, is every rank's.

    def _together(self, act: Any) -> bool:
        """`act` at the gateway; whatever it was handed goes on to the site's other ranks."""
        taken: list[Whole] = []
        failed: list[Exception] = []

        def speak() -> Any:
            try:
                outcome = act()
            except Exception as error:
                failed.append(error)
                raise
            if not isinstance(outcome, Handed):
                return {"yes": bool(outcome)}
            whole = outcome.taken
            if whole is not None:
                taken.append(whole)
            return {
                "yes": True,
                "step": outcome.step,
                "sizes": None if whole is None else [whole.text_bytes, whole.data.numel()],
                "sites": self._session.sites,
                "rank": self._session.rank,
            }

        try:
            said = self._site.share(speak)
        except IsthmusError:
            raise
        except RuntimeError as error:  # of the site's own process group
            raise failed[0] if failed else self._rank_gone(error) from error
        if "step" in said:
            self._follow(said, taken[0] if taken else None)
        return bool(said["yes"])

    def _rank_gone(self, error: Exception) -> PeerLost:
        """The site is not whole any more: it leaves, and the others need not find out."""
        if isinstance(self._session, Session):
            self._give_up()
            self._session.close()
        seen = f"a rank of this site is gone, seen by rank {self._site.rank}"
        return PeerLost(f"{seen}: {error}", self._site.name)

    def _follow(self, said: dict[str, Any], whole: Whole | None) -> None:
        self._step = said["step"]
        self._hook.change_sites(said["sites"])
        if isinstance(self._session, Follower):
            self._session.sites, self._session.rank = tuple(said["sites"]), said["rank"]
        if said["sizes"] is None or self._site.size == 1:
            return
        text_bytes, size = said["sizes"]
        data = torch.from_numpy(fresh(size, np.uint8)) if whole is None else whole.data
        try:
            self._site.spread(data)
        except RuntimeError as error:
            raise self._rank_gone(error) from error
        if whole is None:
            put(self._state, Whole(data, text_bytes))

    @property
    def _gateway(self) -> Session:
        assert isinstance(self._session, Session)
        return self._session

    def _come_in(self) -> Handed | bool:
        session = self._gateway
        if not self._admits:
            return False
        handed: Handed | bool = False
        if session.is_newcomer:
            handed = self._hand_over(Standing(has_state=False), time.monotonic(), None)
            session.is_newcomer = False
        if self._epochs is None:
            self._epochs = Epochs(session.settings, session.seat.native, lambda: session.links)
        return handed

    @property
    def _admits(self) -> bool:
        settings = self._gateway.settings
        return settings.on_loss.then != "raise" and settings.rails == 1

    def _decide(self) -> bool:
        """Whether to change over at this boundary; else what this site says is on its way."""
        try:
            if self._word is None:
                change = self._holders is not None and self._has_waited(self._holders)
            else:
                change = self._read(self._word)
            self._word = self._holders = None
            if change:
                return True
            self._say()
        except IsthmusError:
            self._give_up()
            raise
        return False

    def _read(self, word: _core.Work) -> bool:
        words = word.gathered()
        members = tuple(word.contributors)
        verdict, _, odd = _core.decide_boundary(words)
        if verdict == "differ":
            digests = self._digests or self._state.digests()
            raise difference(self._gateway, digests, odd, self._step - 1)
        return self._has_waited(members) or bool(verdict == "change_over")

    def _has_waited(self, members: tuple[int, ...]) -> bool:
        """Whether those who contributed were too few to go on: decided by what all of them see."""
        seat = self._gateway.seat
        fewer = len(members) < len(seat.sites)
        if not fewer or not set(seat.native.lawful) - set(members):
            return False
        self._wait_for_others(members)
        return True

    def _wait_for_others(self, members: tuple[int, ...]) -> None:
        """Too few sites are left to go on."""
        session = self._gateway
        names = [session.sites[rank] for rank in members]
        patience = session.settings.on_loss.rejoin_timeout
        session.events.add(stuck(names, patience))
        if not self._others_come(patience):
            if not session.seat.native.stuck:
                session.barrier()  # raises why it has failed
            raise PeerLost(
                f"only {', '.join(names)} left, which is too few to go on, and nobody came within "
                f"{patience:g} s (rejoin_timeout): start all sites from a checkpoint"
            )

    def _others_come(self, patience: float) -> bool:
        """Whether there is a next epoch in time. A session that fails is called no more."""
        end = time.monotonic() + patience
        while self._epochs is not None and self._gateway.seat.native.stuck:
            left = end - time.monotonic()
            if left <= 0 or self._epochs.wait(min(left, 1.0)):
                return left > 0
        return False

    def _say(self) -> None:
        self._hook.sent()
        ready = 0
        if self._epochs is not None and self._hook.buckets_are_settled:
            ready = self._epochs.ready
        self._digests = None
        if self._check_every and self._step % self._check_every == 0:
            self._digests = self._state.digests()
        number = 0 if self._digests is None else self._digests.number
        word = _core.boundary_word(step=self._step, epoch=ready, digest=number)
        self._word = self._gateway.seat.native.all_gather(word)

    def _change_over(self) -> Handed:
        begun = time.monotonic()
        session = self._gateway
        assert self._epochs is not None
        standing = Standing(
            has_state=True,
            step=self._step,
            epoch=session.epoch,
            members=tuple(session.seat.native.present),  # of the whole step: nothing is in flight
            lawful=tuple(session.seat.native.lawful),
            busy=self._busy(),
            sites=tuple(session.sites),
        )
        left = session.change_over(self._epochs.take())
        try:
            return self._hand_over(standing, begun, left)
        except IsthmusError:
            self._give_up()
            raise

    def _busy(self) -> int:
        """In thousandths: the time in which this site did not wait for others to begin."""
        stats = self._gateway.stats()
        waited = stats["late_seconds"] / max(time.monotonic() - self._begun, 1e-3)
        return max(0, min(1000, round(1000 * (1 - float(waited)))))

    def _hand_over(self, standing: Standing, begun: float, left: Seat | None) -> Handed:
        session = self._gateway
        copies = config.ranks_on_machine(self._site.size)
        try:
            handed = hand_over(session, self._state, standing, copies=copies)
        except IsthmusError:
            with contextlib.suppress(IsthmusError):
                session.close()
            raise
        finally:
            if left is not None:  # all have left it by now: they answered in the new epoch
                threading.Thread(target=left.close, name="isthmus-left", daemon=True).start()
        self._holders = handed.holders
        self._begun = time.monotonic()
        pause = Pause(
            step=handed.step,
            epoch=session.epoch,
            sites=session.sites,
            donor=handed.donor,
            takers=handed.takers,
            bytes=handed.bytes,
            seconds=time.monotonic() - begun,
            parts=handed.parts,
        )
        self.pauses.append(pause)
        session.events.add(
            came_in(pause.epoch, pause.step, pause.takers, pause.donor, pause.bytes, pause.seconds)
        )
        return handed
