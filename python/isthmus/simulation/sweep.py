"""sweep: many runs on all cores, until one is broken.

Each process plays blocks of seeds and says before each seed which it is, so that one that dies or
comes to no end is known too.
"""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from isthmus import _core
from isthmus.simulation.coverage import Coverage

_BLOCK = 50
_SECONDS_A_RUN = 120.0  # of real time; most take a few hundredths
_SECONDS_A_LINE = 10.0
_MOST_SHOWN = 10


@dataclass
class _Player:
    process: BaseProcess
    pipe: Connection
    seed: int = -1
    since: float = field(default_factory=time.monotonic)
    block: range = range(0)


@dataclass(frozen=True)
class Sweep:
    """What to play: seeds from `first` on. all_of_them: also after one that is broken. sabotage: a
    mistake that is made on purpose in each (tests: that it is found)."""

    first: int
    count: int
    processes: int
    all_of_them: bool = False
    sabotage: str = ""


def sweep(wanted: Sweep) -> int:
    """The exit status: 0, all of these seeds are well; 1, not; 130, interrupted."""
    return _Sweeping(wanted).play()


def replay(seed: int) -> str:
    return f"python -m isthmus.simulation --runs --seed {seed}"


class _Sweeping:
    def __init__(self, wanted: Sweep) -> None:
        self._wanted = wanted
        self._blocks = iter(_blocks(wanted.first, wanted.count))
        self._end = wanted.first + wanted.count
        self._open: dict[int, range] = {}  # blocks that are not over, by their first seed
        self._not_begun = wanted.first
        self._coverage = Coverage()
        self._broken: dict[int, str] = {}
        self._fatal = False  # a process died or hangs
        self._begun = self._shown = time.monotonic()
        processes = max(1, min(wanted.processes, -(-wanted.count // _BLOCK)))
        self._players = [self._hire() for _ in range(processes)]

    def play(self) -> int:
        try:
            while any(player.block for player in self._players):
                self._hear()
                if self._fatal or (self._broken and not self._wanted.all_of_them):
                    break
        except KeyboardInterrupt:
            done = min([*self._open, self._not_begun])
            print(f"\ninterrupted: seeds below {done} have been played; go on with --from {done}")
            self._verdict()
            return 130
        finally:
            self._dismiss()
        return self._verdict()

    def _hire(self) -> _Player:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_play_blocks, args=(theirs, self._wanted.sabotage), daemon=True
        )
        process.start()
        theirs.close()
        player = _Player(process, ours)
        self._give(player)
        return player

    def _give(self, player: _Player) -> None:
        player.block = next(self._blocks, range(0))
        player.since = time.monotonic()
        if player.block:
            self._open[player.block.start] = player.block
            self._not_begun = player.block.stop
            player.pipe.send(player.block)

    def _hear(self) -> None:
        busy = {player.pipe: player for player in self._players if player.block}
        for pipe in wait(list(busy), timeout=1.0):
            assert isinstance(pipe, Connection)
            self._take(busy[pipe])
        now = time.monotonic()
        for player in busy.values():
            if player.block and now - player.since > _SECONDS_A_RUN:
                self._broken[player.seed] = f"it comes to no end within {_SECONDS_A_RUN:g} s"
                self._fatal = True
        if now - self._shown > _SECONDS_A_LINE:
            self._shown = now
            self._progress()

    def _take(self, player: _Player) -> None:
        try:
            said = player.pipe.recv()
        except (EOFError, ConnectionResetError):
            player.process.join(1.0)
            self._broken[player.seed] = f"its process died ({player.process.exitcode})"
            self._fatal = True
            return
        player.since = time.monotonic()
        if isinstance(said, int):
            player.seed = said
            return
        coverage, broken = said
        self._coverage.add(coverage)
        self._broken |= broken
        for seed, what in broken.items():
            print(f"BROKEN: seed {seed}: {what}", flush=True)
        self._open.pop(player.block.start)
        self._give(player)

    def _progress(self) -> None:
        seconds = time.monotonic() - self._begun
        runs = self._coverage.runs
        left = (
            f", about {(self._end - self._not_begun) * seconds / runs:.0f} s left" if runs else ""
        )
        broken = f", {len(self._broken)} broken" if self._broken else ""
        print(f"{runs} runs in {seconds:.0f} s{left}{broken}", flush=True)

    def _dismiss(self) -> None:
        for player in self._players:
            player.process.terminate()
            player.process.join()

    def _verdict(self) -> int:
        print("\n".join(self._coverage.table()))
        seconds = time.monotonic() - self._begun
        if not self._broken:
            print(f"{self._coverage.runs} runs in {seconds:.0f} s: all is well")
            return 0
        for seed, what in sorted(self._broken.items())[:_MOST_SHOWN]:
            print(f"BROKEN: seed {seed}: {what}\n  {replay(seed)}")
        return 1


def _blocks(first: int, count: int) -> Iterator[range]:
    end = first + count
    for begin in range(first, end, _BLOCK):
        yield range(begin, min(begin + _BLOCK, end))


def _play_blocks(pipe: Connection, sabotage: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            block: range = pipe.recv()
        except EOFError:
            return
        coverage, broken = Coverage(), {}
        for seed in block:
            pipe.send(seed)
            report = _core.simulate_run(seed, sabotage=sabotage)
            coverage.see(report)
            if report["broken"]:
                broken[seed] = report["broken"][0]
        pipe.send((coverage, broken))
