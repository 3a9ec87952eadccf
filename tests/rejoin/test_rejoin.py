"""Sites that come in while others train: real processes, on loopback."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from isthmus import _core

PROGRAM = Path(__file__).with_name("training_program.py")
NAMES = ("amber", "birch", "cedar")
Line = dict[str, Any]


class Rank:
    """A process, and what it has said so far."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(text))
                self._news.notify_all()

    def wait_for_step(self, step: int) -> None:
        with self._news:
            reached = self._news.wait_for(
                lambda: bool(self.lines) and self.lines[-1]["step"] >= step, timeout=60
            )
            assert reached, f"step {step} was not reached: {self.lines[-1:]}"

    def end(self) -> list[Line]:
        assert self.process.wait(timeout=90) == 0, self.errors()
        self._reader.join()
        return self.lines

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class World:
    """Processes by site and rank. They meet at one coordinator."""

    def __init__(self, rendezvous: str, folder: Path, **options: Any) -> None:
        self._options = {"rendezvous": rendezvous, **options}
        self._folder = folder
        self._started = 0
        self.all: list[Rank] = []

    def start(self, site: str, **options: Any) -> list[Rank]:
        """A site's processes, by rank."""
        self._started += 1
        store = str(self._folder / f"store{self._started}")
        every = {**self._options, "site": site, "store": store, **options}
        made = [Rank({**every, "rank": rank}) for rank in range(every.get("ranks", 1))]
        self.all += made
        return made

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
    world = World(rendezvous, tmp_path, codec=codec, delay=delay, steps=220)
    try:
        amber, birch, cedar = (world.start(name)[0] for name in NAMES)
        birch.wait_for_step(8)
        birch.kill()
        (again,) = world.start("birch")
        lines = by_step([amber, cedar, again])
        check_bits(lines)
        first = again.lines[0]["step"]
        assert 8 < first < 220
        assert all(len(lines[step]) == (3 if step >= first else 2) for step in lines)
        assert all(line["sample"] == line["step"] + 1 for line in again.lines)
        [[donor, takers, step]] = again.lines[-1]["pauses"]
        assert donor in ("amber", "cedar") and takers == ["birch"] and step == first
    finally:
        world.end()


def test_all_ranks_of_a_site_come_back(rendezvous: str, tmp_path: Path) -> None:
    world = World(rendezvous, tmp_path, steps=220)
    try:
        (amber,) = world.start("amber")
        birch = world.start("birch", ranks=2)
        cedar = world.start("cedar", ranks=2)
        birch[0].wait_for_step(8)
        for rank in birch:
            rank.kill()
        again = world.start("birch", ranks=2)
        lines = by_step([amber, *cedar, *again])
        check_bits(lines)
        first = again[0].lines[0]["step"]
        assert again[1].lines[0]["step"] == first < 220
        assert all(len(lines[step]) == 5 for step in lines if step >= first)
    finally:
        world.end()


def test_a_rank_that_dies_takes_its_site_out_with_a_sentence_and_the_site_comes_back(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, steps=400)
    try:
        (amber,) = world.start("amber")
        birch = world.start("birch", ranks=2)
        (cedar,) = world.start("cedar")
        birch[0].wait_for_step(8)
        birch[1].kill()  # no gateway: the others never had a connection with it
        assert birch[0].process.wait(timeout=60) == 1
        assert "PeerLost: a rank of this site is gone, seen by rank 0" in birch[0].errors()
        again = world.start("birch", ranks=2)
        lines = by_step([amber, cedar, *again])
        check_bits(lines)
        assert again[0].lines[0]["step"] == again[1].lines[0]["step"] < 400
        assert len(lines[399]) == 4
        for rank in (amber, cedar):
            [lost] = rank.lines[-1]["lost"]
            assert lost.startswith('site "birch" ') and "2 of 3 sites remain" in lost
    finally:
        world.end()


def test_a_site_that_may_not_go_on_ends_with_the_same_error_at_all_its_ranks(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, steps=1000)
    try:
        birch = world.start("birch", ranks=3)
        others = [world.start(name)[0] for name in ("amber", "cedar")]
        birch[0].wait_for_step(8)
        for rank in others:
            rank.kill()
        assert [rank.process.wait(timeout=60) for rank in birch] == [1, 1, 1]
        said = {rank.errors().strip().splitlines()[-1].partition("]: ")[2] for rank in birch}
        assert len(said) == 1, said
        assert "PeerLost: " in (error := said.pop()) and "too few to go on" in error
    finally:
        world.end()


def test_a_new_site_comes_in(rendezvous: str, tmp_path: Path) -> None:
    world = World(rendezvous, tmp_path, steps=220)
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        ranks += world.start("delta", sites=3)
        lines = by_step(ranks)
        check_bits(lines)
        assert ranks[-1].lines[0]["step"] > 8
        assert ranks[0].lines[-1]["sites"] == [*NAMES, "delta"]
        assert len(lines[139]) == 4
    finally:
        world.end()


def test_a_new_site_goes_by_the_links_that_the_others_knew(rendezvous: str, tmp_path: Path) -> None:
    mbit = [100, 400, 1000]  # of which even shares would not be the plan
    world = World(rendezvous, tmp_path, steps=220, mbit=mbit, codec="f32")
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        ranks += world.start("delta", sites=3)
        lines = by_step(ranks)
        check_bits(lines)
        assert len(lines[139]) == 4
        [links] = {line["links"] for line in lines[139]}
        assert "'delta'" in links and links != lines[0][0]["links"]
    finally:
        world.end()


def test_where_the_donor_dies_while_it_gives_another_one_does(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, steps=220, dies_giving=str(tmp_path / "dead"))
    try:
        ranks = {name: world.start(name)[0] for name in NAMES}
        ranks["birch"].wait_for_step(8)
        ranks.pop("birch").kill()
        (again,) = world.start("birch")
        again.wait_for_step(9)
        alive = {name: rank for name, rank in ranks.items() if rank.process.poll() is None}
        assert len(alive) == 1 and (tmp_path / "dead").exists()
        [(name, left)] = alive.items()
        check_bits(by_step([left, again]))
        [[donor, takers, _]] = again.lines[-1]["pauses"]
        assert donor == name and takers == ["birch"]
    finally:
        world.end()


def test_a_state_that_goes_astray_is_named_with_its_tensor_and_site(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, steps=40, check_every=5)
    try:
        for name in NAMES:
            world.start(name, spoils=12 if name == "birch" else -1)
        for rank in world.all:
            assert rank.process.wait(timeout=60) == 1
            assert "'birch' in 3.weight differs from site 'amber'" in rank.errors()
    finally:
        world.end()


def test_two_sites_of_which_one_dies_wait_for_its_replacement(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, sites=2, steps=60, on_loss="wait")
    try:
        amber, birch = (world.start(name)[0] for name in NAMES[:2])
        birch.wait_for_step(8)
        birch.kill()
        (again,) = world.start("birch")
        lines = by_step([amber, again])
        check_bits(lines)
        first = again.lines[0]["step"]
        # One step more may have been under way when the other was lost.
        assert birch.lines[-1]["step"] < first <= birch.lines[-1]["step"] + 4
        assert len(lines[59]) == 2
    finally:
        world.end()


def test_a_newcomer_of_another_codec_is_told_and_the_others_go_on(
    rendezvous: str, tmp_path: Path
) -> None:
    world = World(rendezvous, tmp_path, steps=220)
    try:
        ranks = [world.start(name)[0] for name in NAMES]
        ranks[0].wait_for_step(8)
        (stranger,) = world.start("delta", codec="int8")
        assert stranger.process.wait(timeout=60) == 1
        assert "the other sites' codec is" in stranger.errors()
        lines = by_step(ranks)
        check_bits(lines)
        assert len(lines[139]) == 3
    finally:
        world.end()
