"""Four sites train under random faults, and nothing may be lost: not a bit, nor a process.

Each site trains a small transformer in an isthmus.Run, and is started again when it ends; so is the
coordinator. After a stretch without faults one fault follows another, then comes a stretch without
again. Everything that the sites note is judged at the end (docs/chaos.md); the status is 1 if an
invariant does not hold. --references R trains R times more without faults, on loopback, to compare
the loss at the same number of tokens: from the same weights on the same data first, then others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from isthmus import chaos
from isthmus.bench import options
from isthmus.bench.rows import Ledger, Origin, Soak
from isthmus.bench.table import Table, show
from isthmus.errors import Refused
from isthmus.soak import judge, plan, records, worlds
from isthmus.soak.settings import SITES, Settings, read, stop_at
from isthmus.soak.spent import AWAY, TOGETHER, Costs, spent

POLL_S = 0.1
FIRST_STEPS = 10  # before anything is measured
LAST_STEPS = 30  # between the order to stop and the last step
PATIENT_S = 30.0  # a heartbeat where nobody is to be lost
ASKED = "asked.json"
# What a row says of its soak; kept beside the records.
OF_THE_RUN = ("seed", "minutes", "every", "loopback", "standby", "rtt_ms", "site_mbit")


class Hung(Exception):
    """names: of the sites that make no progress."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"no progress: {', '.join(names)}")
        self.names = list(names)


@dataclass
class Course:
    """One run of the sites, as it is watched from outside."""

    folder: Path
    patience_s: float
    watch: records.Watch
    begun: float = field(default_factory=time.monotonic)

    def until(self, enough: Callable[[], bool], also: Callable[[], None] = lambda: None) -> None:
        """Hung if a site does no step for too long."""
        while not enough():
            time.sleep(POLL_S)
            also()
            self.watch.look()
            now = time.monotonic()
            late = [
                site
                for site in SITES
                if site not in self.watch.finished
                and now - self.watch.last.get(site, self.begun) > self.patience_s
            ]
            if late:
                self.ask_where()
                raise Hung(late)

    def ask_where(self) -> None:
        """Every process writes where its threads are."""
        for pid in self.watch.pids.values():
            try:
                os.kill(pid, signal.SIGUSR1)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(1)


@contextmanager
def world_of(asked: argparse.Namespace, folder: Path) -> Iterator[chaos.World]:
    if asked.loopback:
        with worlds.on_loopback(folder) as world:
            yield world
    else:
        with worlds.emulated(
            folder, rtt_ms=asked.rtt_ms, site_mbit=asked.site_mbit, standby=asked.standby
        ) as world:
            yield world


def soak(asked: argparse.Namespace, settings: Settings, folder: Path) -> records.Story:
    """Without faults, with, without."""
    kinds = asked.faults or (plan.ON_LOOPBACK if asked.loopback else tuple(plan.WEIGHTS))
    seconds = 60 * asked.minutes
    faults = plan.draw(asked.seed, seconds=seconds, every=asked.every, kinds=kinds)
    settings.write(folder)
    marks: list[float] = []
    hung: list[str] = []
    with world_of(asked, folder) as world:
        injector = chaos.Injector(Told(world), faults)
        course = Course(folder, asked.patience, records.Watch(folder))
        watch = course.watch

        def rest(length: float) -> None:
            end = time.monotonic() + length
            course.until(lambda: time.monotonic() >= end)

        try:
            course.until(lambda: watch.step >= FIRST_STEPS)
            marks.append(time.monotonic())
            rest(asked.calm)
            marks.append(time.monotonic())
            end = marks[-1] + seconds
            course.until(lambda: time.monotonic() >= end, injector.reached)
            marks.append(time.monotonic())
            course.until(lambda: len(watch.sites) == len(SITES))
            rest(3)
            marks.append(time.monotonic())
            rest(asked.calm)
            marks.append(time.monotonic())
            stop_at(folder, watch.step + LAST_STEPS)
            course.until(lambda: len(watch.finished) == len(SITES))
            waited = time.monotonic() + asked.patience
            while len({e.site for e in records.ends(folder) if e.status == 0}) < len(SITES):
                if time.monotonic() > waited:
                    raise Hung(["at its end"])
                time.sleep(POLL_S)
        except Hung as who:
            hung = who.names
    marks += [time.monotonic()] * (5 - len(marks))
    return records.Story(
        lives=records.lives(folder),
        ends=records.ends(folder),
        faults=injector.done,
        calm=[(marks[0], marks[1]), (marks[3], marks[4])],
        chaos=(marks[1], marks[2]),
        tokens=settings.tokens,
        hung=hung,
    )


@dataclass
class Told:
    """A world that says what happens in it."""

    world: chaos.World

    def inject(self, fault: chaos.Fault) -> float:
        print(f"  {fault}", flush=True)
        return self.world.inject(fault)


def note(asked: argparse.Namespace, origin: Origin, folder: Path) -> None:
    """Beside the records, for who judges them later."""
    options = {name: getattr(asked, name) for name in OF_THE_RUN}
    (folder / ASKED).write_text(json.dumps({"options": options, "origin": asdict(origin)}))


def recall(asked: argparse.Namespace, folder: Path) -> Origin:
    """Where the records come from; what was asked then holds, whatever is asked now."""
    try:
        said = json.loads((folder / ASKED).read_text())
    except FileNotFoundError:
        raise Refused(
            f"--records {folder}: no records of a whole soak: it has no {ASKED}"
        ) from None
    for name in OF_THE_RUN:
        setattr(asked, name, said["options"][name])
    return Origin(**said["origin"])


def faultless(folder: Path) -> float | None:
    """The loss of a run that is over, and in which nobody was ever lost."""
    lives = records.lives(folder)
    finals = [life.final for life in lives if life.final is not None]
    return finals[0] if len(finals) == len(lives) == len(SITES) else None


def reference(asked: argparse.Namespace, settings: Settings, shards: Path, folder: Path) -> float:
    """The loss of a run without faults, on the text of `shards`. On loopback, and without rests:
    bits do not depend on either."""
    settings.write(folder)
    for path in shards.glob("shard*.npy"):
        shutil.copy(path, folder)
    with worlds.on_loopback(folder):
        course = Course(folder, asked.patience, records.Watch(folder))
        course.until(lambda: len(course.watch.finished) == len(SITES))
    loss = faultless(folder)
    if loss is None:
        raise RuntimeError(f"a site was lost in a run without faults: see {folder}")
    return loss


def references(
    asked: argparse.Namespace, settings: Settings, story: records.Story, folder: Path
) -> Iterator[float]:
    """As many steps of all sites as there were tokens. What is there already is not made again."""
    total = judge.tokens(story, 0, float("inf"))
    steps = round(total / (len(SITES) * settings.tokens))
    plain = replace(settings, heartbeat_s=PATIENT_S, compute_s=0.0, last_step=steps - 1)
    for number in range(asked.references):
        alike = replace(plain, seed=settings.seed + number)
        begun = time.monotonic()
        there = [
            loss
            for own in sorted(folder.glob("reference*"))
            if (own / "settings.json").exists()
            and read(own) == alike
            and (loss := faultless(own)) is not None
        ]
        if there:
            loss, took = there[0], "made before"
        else:
            own = Path(tempfile.mkdtemp(prefix=f"reference{number}-", dir=folder))
            loss = reference(asked, alike, folder, own)
            took = f"{time.monotonic() - begun:.0f} s"
        print(f"  without faults, seed {alike.seed}, {steps} steps: loss {loss:.4f} ({took})")
        yield loss


def verdicts_table(verdicts: Sequence[judge.Verdict]) -> Table:
    rows = [[v.invariant, "holds" if v.holds else "BROKEN", v.text] for v in verdicts]
    return Table(head=["invariant", "", ""], rows=rows, words=3)


def costs_table(costs: Costs) -> Table:
    """Where the tokens went; a cause that cost nothing has no column."""
    causes = [c for c in (*TOGETHER, *AWAY) if any(cause == c for _, cause in costs.of)]
    kinds = sorted({*costs.faults, *(kind for kind, _ in costs.of)})
    rows = [
        [
            kind,
            str(costs.faults.get(kind, 0)),
            *(f"{costs.of.get((kind, cause), 0.0):.1f}" for cause in causes),
            f"{costs.all_of(kind):.1f}",
            share(costs.all_of(kind), costs.seconds),
        ]
        for kind in kinds
    ]
    sums = [costs.all_by(cause) for cause in causes]
    total = sum(sums)
    rows.append(["all", str(sum(costs.faults.values())), *(f"{each:.1f}" for each in sums)])
    rows[-1] += [f"{total:.1f}", share(total, costs.seconds)]
    rows.append(["of the time", "", *(share(each, costs.seconds) for each in sums)])
    rows[-1] += [share(total, costs.seconds), ""]
    head = ["where the tokens went", "faults", *causes, "seconds", "share"]
    note = "seconds of training of all sites; while one of four is away, a quarter of the time"
    return Table(head=head, rows=rows, words=1, note=note)


def share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def row(
    asked: argparse.Namespace,
    story: records.Story,
    verdicts: Sequence[judge.Verdict],
    losses: Sequence[float],
) -> Soak:
    kinds = [fault.kind for _, fault in story.faults]
    finals = [life.final for life in story.lives if life.final is not None]
    long = judge.long_lives(story)
    grown = [b - a for a, b in map(judge.rss_by_thirds, long)]
    return Soak(
        case=case(asked),
        seed=asked.seed,
        minutes=asked.minutes,
        every_s=asked.every,
        faults={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        lives=len(story.lives),
        epochs=max((life.steps[-1]["epoch"] for life in story.lives if life.steps), default=0),
        steps=len(judge.by_step(story)),
        tokens_share=round(judge.kept(story), 4),
        loss=finals[0] if finals else float("nan"),
        fault_free_losses=list(losses),
        rss_growth_bytes=round(max(grown, default=0)),
        broken=[v.invariant for v in verdicts if not v.holds],
    )


def case(asked: argparse.Namespace) -> str:
    if asked.loopback:
        return f"{len(SITES)} sites, loopback"
    kept = ", standby" if asked.standby else ""
    return f"{len(SITES)} sites, {asked.rtt_ms:g} ms, {asked.site_mbit:g} Mbit/s{kept}"


def run(asked: argparse.Namespace, ledger: Ledger, folder: Path) -> bool:
    """Whether every invariant holds. What is known is kept at once: the references take long."""
    from isthmus.soak import learner

    if asked.records is not None:
        ledger.origin = recall(asked, folder)
    else:
        settings = Settings(
            seed=asked.seed,
            codec=asked.codec,
            heartbeat_s=asked.heartbeat,
            compute_s=asked.compute,
        )
        learner.prepare(folder)
        records.write(soak(asked, settings, folder), folder)
        note(asked, ledger.origin, folder)
    settings = read(folder)
    story = records.read(folder)
    verdicts = [*judge.judge(story), judge.throughput(story)]
    losses: list[float] = []

    def keep() -> None:
        ledger.rows.clear()
        ledger.add(row(asked, story, verdicts, losses))

    keep()
    print(verdicts_table(verdicts).text())
    print(costs_table(spent(story)).text(), flush=True)
    finals = [life.final for life in story.lives if life.final is not None]
    if asked.references and finals:
        for each in references(asked, settings, story, folder):
            losses.append(each)
            keep()
        verdicts.append(judge.loss(finals[0], losses))
        keep()
        print(verdicts_table(verdicts[-1:]).text())
    # On loopback a fault every few seconds leaves no time to come back.
    return all(v.holds for v in verdicts if v.invariant != "tokens" or not asked.loopback)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = options.parser("chaos", __doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="with faults (default 2)")
    add("--every", type=float, default=30.0, help="seconds from fault to fault (default 30)")
    add("--calm", type=float, default=60.0, help="seconds without faults, before and after")
    add("--seed", type=int, default=0, help="of faults and data")
    add("--faults", nargs="+", choices=list(plan.WEIGHTS), help="only these (default: all)")
    add("--references", type=int, default=3, metavar="R", help="runs without faults (default 3)")
    add("--heartbeat", type=float, default=1.0, help="seconds of silence until a site is lost")
    add("--compute", type=float, default=0.3, help="seconds that a site rests in each step")
    add("--codec", default="int4")
    add("--rtt-ms", type=float, default=50.0)
    add("--site-mbit", type=float, default=200.0)
    add("--standby", action="store_true", help="sites start as copies of a prepared process")
    add("--loopback", action="store_true", help="no emulated network: kill and freeze alone")
    add("--patience", type=float, default=90.0, help="seconds without a step that are a hang")
    add("--keep", action="store_true", help="keep the records also if all is well")
    add("--records", type=Path, metavar="FOLDER", help="of an earlier run: judge those alone")
    asked = parser.parse_args(argv)
    if asked.standby and asked.records is None and (asked.loopback or os.geteuid() != 0):
        parser.error("--standby takes an emulated network, and root to enter the sites' networks")
    return asked


def main(argv: Sequence[str]) -> int:
    settings = parse(argv)
    options.require("chaos", "torch")
    emulates = not settings.loopback and settings.records is None
    if emulates and not options.can_emulate("chaos"):
        return options.UNAVAILABLE
    ledger = options.ledger("chaos", settings, argv)
    folder = settings.records or Path(tempfile.mkdtemp(prefix="isthmus-chaos-"))
    print(f"records, and what the processes say: {folder}", flush=True)
    well = False
    try:
        well = run(settings, ledger, folder)
        show(ledger)
    finally:
        if well and not settings.keep and settings.records is None:
            shutil.rmtree(folder)
            print("all is well: the records are deleted")
    return 0 if well else 1
