"""handover: in a new epoch, who has the state gives it to those who lack it, and all compare.

Every site of the epoch does this first, in the same order: an answer each (what it brings), the
bytes from the donor to the takers alone, a hash each. A donor that is lost on the way ends its own
transfers only; then all answer again, and another one gives.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from isthmus import _core
from isthmus.errors import InternalError, IsthmusError, PeerLost, Refused, WireError
from isthmus.memory import available_bytes, fresh
from isthmus.rejoin.encoding import decode, encode
from isthmus.rejoin.state import Digests, TrainingState
from isthmus.session import Session
from isthmus.spans import Spans
from isthmus.stats import quantity

_chunk_bytes = 32 << 20
_chunks_in_flight = 4
_most_bytes = 1 << 42  # of a state; who says more is out of its mind
_sizes = struct.Struct("<QQ")


@dataclass(frozen=True)
class Standing:
    """Where a site is. members: who took part when its last step was done, lawful: who was enough
    to go on; both by the ranks of that epoch, of which `sites` are the names."""

    has_state: bool
    step: int = 0
    epoch: int = 0
    members: tuple[int, ...] = ()
    lawful: tuple[int, ...] = ()
    busy: int = 0
    sites: tuple[str, ...] = ()

    def answer(self, sites: Sequence[str]) -> bytes:
        """To those of the new epoch."""
        names = [self.sites[rank] for rank in self.lawful]
        return _core.epoch_answer(
            has_state=self.has_state,
            step=self.step,
            epoch=self.epoch,
            members=self.members,
            lawful=self.lawful,
            here=[sites.index(name) for name in names if name in sites],
            busy=self.busy,
        )


@dataclass(frozen=True)
class Whole:
    """A state on its way: its text, then its tensors."""

    data: torch.Tensor
    text_bytes: int


@dataclass(frozen=True)
class Handed:
    """How it ended. step: that follows, at all sites. taken: what this site was handed. holders:
    ranks that hold the state, all that were left at the end. parts: seconds for meeting, the
    transfer, taking it over, and comparing."""

    step: int
    donor: str
    takers: tuple[str, ...] = ()
    bytes: int = 0
    taken: Whole | None = None
    holders: tuple[int, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)


def hand_over(session: Session, state: TrainingState, mine: Standing, *, copies: int = 1) -> Handed:
    """At the gateways of all sites, with nothing else in flight. copies: of a state that comes, on
    this machine, one for each of the site's ranks. Raises Refused (this site's model is another),
    InternalError (the sites hold different states) or the session's error."""
    spans = Spans(("meet", "transfer", "take_over", "compare"))
    while True:
        with spans.of("meet"):
            answers = session.all_gather(mine.answer(session.sites))
        donor, takers = _core.plan_hand_over(answers, favourite=_favourite(session))
        if donor == _core.too_few_are_here:
            raise PeerLost(
                "those who could go on from the last step are not here, and may be going on "
                "without this site: start it again, and it joins them"
            )
        if donor < 0:
            raise Refused("no site has a state to go on from: start all sites anew")
        handed = Handed(mine.step, session.sites[donor])
        if takers:
            with spans.of("transfer"):
                handed = _transfer(session, state, mine, donor, takers, copies)
        complete = session.rank not in takers
        if handed.taken is not None:
            with spans.of("take_over"):
                handed = replace(handed, step=put(state, handed.taken))
            mine = replace(mine, has_state=True, step=handed.step)
            complete = True
        with spans.of("compare"):
            holders = compare(session, state, complete=complete, step=handed.step)
        if holders:
            return replace(handed, holders=holders, parts=spans.seconds())


def _favourite(session: Session) -> int:
    """By rank, or why it has none."""
    name = session.settings.on_loss.favourite
    if not name:
        return _core.no_favourite
    return session.sites.index(name) if name in session.sites else _core.favourite_elsewhere


def put(state: TrainingState, whole: Whole) -> int:
    """Take over what was handed over; returns the step that follows."""
    said = decode(whole.data, whole.text_bytes)
    try:
        training, step = said["training"], int(said["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"what came from another site is no state: {error!r}") from error
    state.put(training)
    return step


def _transfer(
    session: Session,
    state: TrainingState,
    mine: Standing,
    donor: int,
    takers: list[int],
    copies: int,
) -> Handed:
    data: torch.Tensor | None = None
    sizes = b""
    if session.rank == donor:
        encoded = encode({"step": mine.step, "training": state.take()})
        data = encoded.whole()
        sizes = _sizes.pack(len(encoded.text), data.numel())
    told = session.all_gather(sizes)[donor]
    if len(told) != _sizes.size:  # it is lost
        return Handed(mine.step, session.sites[donor])
    text_bytes, size = _sizes.unpack(told)
    check_sizes(text_bytes, size, session.sites[donor])
    if session.rank in takers:
        check_room(size, session.sites[donor], available_bytes(), copies)
        data = torch.from_numpy(fresh(size, np.uint8))
    came = _hand(session, data, size, donor, takers)
    taken = None
    if session.rank in takers and came and data is not None:
        taken = Whole(data, text_bytes)
    names = tuple(session.sites[rank] for rank in takers)
    return Handed(mine.step, session.sites[donor], names, size, taken)


def check_sizes(text_bytes: int, size: int, donor: str) -> None:
    """WireError, at all sites: no state is like that."""
    if text_bytes > size or size > _most_bytes:
        raise WireError(
            f"site {donor!r} says that its state has {size} bytes, {text_bytes} of them text: "
            "no state has that"
        )


def check_room(size: int, donor: str, available: int | None, copies: int = 1) -> None:
    """Refused, before memory is taken: the state does not fit into what is left of it here."""
    if available is not None and size * copies > available:
        times = f" {copies} times, once a rank," if copies > 1 else ""
        raise Refused(
            f"site {donor!r} says that its state has {quantity(size)}, and this site has "
            f"{quantity(available)} of memory left for it{times}: free some, or give this site more"
        )


def _hand(
    session: Session, whole: torch.Tensor | None, size: int, donor: int, takers: list[int]
) -> bool:
    """Whether all of it came. A lost donor fails its transfers, not the session."""
    works: list[_core.Work] = []
    came = True

    def wait(work: _core.Work) -> None:
        nonlocal came
        try:
            work.wait(None)
        except PeerLost:
            came = False

    for begin in range(0, size, _chunk_bytes):
        if len(works) >= _chunks_in_flight:
            wait(works.pop(0))
        end = min(begin + _chunk_bytes, size)
        part = None if whole is None else whole[begin:end]
        works.append(session.seat.hand(part, size=end - begin, donor=donor, takers=takers))
    for work in works:
        wait(work)
    return came


def compare(
    session: Session, state: TrainingState, *, complete: bool, step: int
) -> tuple[int, ...]:
    """Who holds a state, all that are left; nobody, where one of them has none. Raises
    InternalError, at all, if they are not the same."""
    digests = state.digests() if complete else None
    number = 0 if digests is None else digests.number
    words = session.all_gather(_core.boundary_word(step=step, digest=number))
    if _core.without_state(words):
        return ()
    verdict, _, odd = _core.decide_boundary(words)
    if verdict == "differ" and digests is not None:
        raise difference(session, digests, odd, step)
    return tuple(rank for rank, word in enumerate(words) if word)


def difference(session: Session, digests: Digests, odd: list[int], step: int) -> IsthmusError:
    """What it is in which these sites differ from the others. All sites call it."""
    most = (1 << 20) - 256
    rows = session.all_gather(digests.hashes[: most // digests.size * digests.size])
    good = next(rank for rank, row in enumerate(rows) if row and rank not in odd)
    mine = Digests(digests.names, rows[good])
    said = [
        f"site {session.sites[rank]!r} in {mine.first_odd(rows[rank]) or 'its step'}"
        for rank in odd
    ]
    return InternalError(
        f"the sites do not hold the same state before step {step}: {' and '.join(said)} differs "
        f"from site {session.sites[good]!r}. Start all sites from the same checkpoint"
    )
