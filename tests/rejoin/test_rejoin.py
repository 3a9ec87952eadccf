"""Sites that come in while others train: real processes, on loopback."""

import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from isthmus import _core
from isthmus.testing import fork_server
from training_program import PATIENCE_S, Options, run_rank

NAMES = ("amber", "birch", "cedar")
ENOUGH = 12  # steps with a newcomer, at one of which states are compared
Line = dict[str, Any]


class Rank:
    """A process, and what it has said so far."""

    def __init__(self, options: Options, errors: Path) -> None:
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._errors = errors
        errors.touch()
        context = fork_server()
        told, tells = context.Pipe(duplex=False)
        self.process = context.Process(target=run_rank, args=(options, tells, str(errors)))
        self.process.start()
        tells.close()
        self._reader = threading.Thread(target=self._read, args=(told,), daemon=True)
        self._reader.start()

    def _read(self, told: Connection) -> None:
        while True:
            try:
                line = told.recv()
            except EOFError:
                return
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def wait_for_step(self, step: int) -> None:
        self._wait_for(lambda: bool(self.lines) and self.lines[-1]["step"] >= step)

    def wait_for_steps(self, count: int) -> None:
        """So many of its own."""
        self._wait_for(lambda: len(self.lines) >= count)

    def _wait_for(self, reached: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(reached, timeout=PATIENCE_S), (
                self.lines[-1:],
                self.errors(),
            )

    def status(self) -> int | None:
        """How it has ended; None if it does not end."""
        self.process.join(PATIENCE_S)
        return self.process.exitcode

    def end(self) -> list[Line]:
        assert self.status() == 0, self.errors()
        self._reader.join()
        return self.lines

    def errors(self) -> str:
        return self._errors.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


class World:
    """Processes by site and rank. They meet at one coordinator, and train until it is enough."""

    def __init__(self, rendezvous: str, folder: Path, **options: Any) -> None:
        self._enough = folder / "enough"
        self._options = {"rendezvous": rendezvous, "enough": str(self._enough), **options}
        self._folder = folder
        self._started = 0
        self.all: list[Rank] = []

    def start(self, site: str, **options: Any) -> list[Rank]:
        """A site's processes, by rank."""
        self._started += 1
        store = self._folder / f"store{self._started}"
        every = {**self._options, "site": site, "store": str(store), **options}
        made = [
            Rank(Options(**every, rank=rank), store.with_suffix(f".errors{rank}"))
            for rank in range(every.get("ranks", 1))
        ]
        self.all += made
        return made

    def finish(self, *newcomers: Rank) -> None:
        """All that train end after the same step, once these have trained with them."""
        for rank in newcomers:
            rank.wait_for_steps(ENOUGH)
        self._enough.touch()

    def end(self) -> None:
        for rank in self.all:
            rank.kill()


@pytest.fixture
def rendezvous() -> Iterator[str]:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    yield keeper.address
    keeper.close()


def by_step(ranks: list[Rank]) -> dict[int, list[Line]]:
    lines: dict[int, list[Line]] = {}
    for rank in ranks:
        for line in rank.end():
            lines.setdefault(line["step"], []).append(line)
    return lines


def check_bits(lines: dict[int, list[Line]]) -> None:
    for step, said in lines.items():
        assert len({(line["hash"], tuple(line["rate"])) for line in said}) == 1, (step, said)


@pytest.mark.parametrize(("codec", "delay"), [("int4", 0), ("f32", 1)])
def test_a_site_that_was_killed_comes_back_with_the_others_bits(
    rendezvous: str, tmp_path: Path, codec: str, delay: int
) -> None:
    world = World(rendezvous, tmp_path, codec=codec, delay=delay)
    try:
        amber, birch, cedar = (world.start(name)[0] for name in NAMES)
        birch.wait_for_step(8)
        birch.kill()
        (again,) = world.start("birch")
        world.finish(again)
        lines = by_step([amber, cedar, again])
        check_bits(lines)
        first = again.lines[0]["step"]
        assert first > 8
        assert all(len(lines[step]) == (3 if step >= first else 2) for step in lines)
        assert all(line["sample"] == line["step"] + 1 for line in again.lines)
        [[donor, takers, step]] = again.lines[-1]["pauses"]
        assert donor in ("amber", "cedar") and takers == ["birch"] and step == first
    finally:
        world.end()


def test_all_ranks_of_a_site_come_back(rendezvous: str, tmp_path: Path) -> None:
    world = World(rendezvous, tmp_path)
    try:
        (amber,) = world.start("amber")
        birch = world.start("birch", ranks=2)
        cedar = world.start("cedar", ranks=2)
        birch[0].wait_for_step(8)
        for rank in birch:
            rank.kill()
        again = world.start("birch", ranks=2)
        world.finish(*again)
        lines = by_step([amber, *cedar, *again])
        check_bits(lines)
        first = again[0].lines[0]["step"]
        assert again[1].lines[0]["step"] == first
        assert all(len(lines[step]) == 5 for step in lines if step >= first)
    finally:
        world.end()


def test_a_rank_that_dies_takes_its_site_out_with_a_sentence_and_the_site_comes_back(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path)
    try:
        (amber,) = world.start("amber")
        birch = world.start("birch", ranks=2)
        (cedar,) = world.start("cedar")
        birch[0].wait_for_step(8)
        birch[1].kill()  # no gateway: the others never had a connection with it
        assert birch[0].status() == 1
        assert "PeerLost: a rank of this site is gone, seen by rank 0" in birch[0].errors()
        again = world.start("birch", ranks=2)
        world.finish(*again)
        lines = by_step([amber, cedar, *again])
        check_bits(lines)
        assert again[0].lines[0]["step"] == again[1].lines[0]["step"]
        assert len(lines[max(lines)]) == 4
        for rank in (amber, cedar):
            [lost] = rank.lines[-1]["lost"]
            assert lost.startswith('site "birch" ') and "2 of 3 sites remain" in lost
    finally:
        world.end()


def test_a_site_that_may_not_go_on_ends_with_the_same_error_at_all_its_ranks(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path)
    try:
        birch = world.start("birch", ranks=3)
        others = [world.start(name)[0] for name in ("amber", "cedar")]
        birch[0].wait_for_step(8)
        for rank in others:
            rank.kill()
        assert [rank.status() for rank in birch] == [1, 1, 1]
        said = {rank.errors().strip().splitlines()[-1].partition("]: ")[2] for rank in birch}
        assert len(said) == 1, said
        assert "PeerLost: " in (error := said.pop()) and "too few to go on" in error
    finally:
        world.end()


def test_a_new_site_comes_in(rendezvous: str, tmp_path: Path) -> None:
    world = World(rendezvous, tmp_path)
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        ranks += world.start("delta", sites=3)
        world.finish(ranks[-1])
        lines = by_step(ranks)
        check_bits(lines)
        assert ranks[-1].lines[0]["step"] > 8
        assert ranks[0].lines[-1]["sites"] == [*NAMES, "delta"]
        assert len(lines[max(lines)]) == 4
    finally:
        world.end()


def test_a_new_site_goes_by_the_links_that_the_others_knew(rendezvous: str, tmp_path: Path) -> None:
    mbit = [100, 400, 1000]  # of which even shares would not be the plan
    world = World(rendezvous, tmp_path, mbit=mbit, codec="f32")
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        ranks += world.start("delta", sites=3)
        world.finish(ranks[-1])
        lines = by_step(ranks)
        check_bits(lines)
        assert len(lines[max(lines)]) == 4
        [links] = {line["links"] for line in lines[max(lines)]}
        assert "'delta'" in links and links != lines[0][0]["links"]
    finally:
        world.end()


def test_where_the_donor_dies_while_it_gives_another_one_does(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, dies_giving=str(tmp_path / "dead"))
    try:
        ranks = {name: world.start(name)[0] for name in NAMES}
        ranks["birch"].wait_for_step(8)
        ranks.pop("birch").kill()
        (again,) = world.start("birch")
        again.wait_for_step(9)
        alive = {name: rank for name, rank in ranks.items() if rank.process.is_alive()}
        assert len(alive) == 1 and (tmp_path / "dead").exists()
        [(name, left)] = alive.items()
        world.finish(again)
        check_bits(by_step([left, again]))
        [[donor, takers, _]] = again.lines[-1]["pauses"]
        assert donor == name and takers == ["birch"]
    finally:
        world.end()


def test_a_state_that_goes_astray_is_named_with_its_tensor_and_site(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, check_every=5)
    try:
        for name in NAMES:
            world.start(name, spoils=12 if name == "birch" else -1)
        for rank in world.all:
            assert rank.status() == 1
            assert "'birch' in 3.weight differs from site 'amber'" in rank.errors()
    finally:
        world.end()


def test_two_sites_of_which_one_dies_wait_for_its_replacement(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, sites=2, on_loss="wait")
    try:
        amber, birch = (world.start(name)[0] for name in NAMES[:2])
        birch.wait_for_step(8)
        birch.kill()
        (again,) = world.start("birch")
        world.finish(again)
        lines = by_step([amber, again])
        check_bits(lines)
        first = again.lines[0]["step"]
        # One step more may have been under way when the other was lost.
        assert birch.lines[-1]["step"] < first <= birch.lines[-1]["step"] + 4
        assert len(lines[max(lines)]) == 2
    finally:
        world.end()


def test_a_newcomer_of_another_codec_is_told_and_the_others_go_on(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path)
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        (stranger,) = world.start("delta", codec="int8")
        assert stranger.status() == 1
        assert "the other sites' codec is" in stranger.errors()
        ranks[0].wait_for_step(ranks[0].lines[-1]["step"] + ENOUGH)
        world.finish()
        lines = by_step(ranks)
        check_bits(lines)
        assert len(lines[max(lines)]) == 3
    finally:
        world.end()
