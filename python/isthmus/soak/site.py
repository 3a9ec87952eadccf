"""One process of a soak: a site that trains, or the coordinator.

    python -m isthmus.soak.site FOLDER NUMBER ADDRESSES PORT

ADDRESSES: of the sites and of the coordinator, with commas; the number is the place among them.
Whoever starts it again uses the same command. A site that the others have given up joins them again
by itself. It notes each step in FOLDER, in a file for each time that it takes part.
Status: 0, LOST for an error of isthmus that says why this site takes part no more, 1 for a mistake.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import IsthmusError, PeerLost
from isthmus.soak import settings as shared
from isthmus.soak.settings import SITES, Settings

if TYPE_CHECKING:
    from torch import nn

    from isthmus.soak.learner import Learner

LOST = 70


def process_state() -> dict[str, int]:
    """What must not grow."""
    pages, of_files = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the folder's own
            continue
    return {
        "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "file_bytes": of_files * os.sysconf("SC_PAGE_SIZE"),
        "threads": len(os.listdir("/proc/self/task")),
        "fds": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
    }


def digest(model: nn.Module) -> str:
    sha = hashlib.blake2b(digest_size=8)
    for parameter in model.parameters():
        sha.update(parameter.detach().numpy().data)
    return sha.hexdigest()


class Notes:
    """Of one membership in the run, in a file of its own: a process that was given up and joins
    again begins another one."""

    def __init__(self, folder: Path, number: int, watched: int) -> None:
        name = f"{SITES[number]}.{time.monotonic_ns()}.jsonl"
        self._file = (folder / name).open("w", buffering=1)
        said = {"site": SITES[number], "pid": os.getpid(), "watched": watched}
        self.add(**said, begun=time.monotonic())

    def add(self, **said: object) -> None:
        print(json.dumps(said), file=self._file)

    def close(self) -> None:
        self._file.close()


@dataclass
class Trainee:
    """What outlives a membership."""

    folder: Path
    number: int
    settings: Settings
    module: Learner
    optimizer: Any
    text: Any


def prepared(folder: Path, number: int) -> Trainee:
    import torch
    from torch import distributed

    from isthmus.soak import learner

    settings = shared.read(folder)
    torch.set_num_threads(1)
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    torch.manual_seed(settings.seed)
    module = learner.Learner(settings)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    text = learner.shard(folder, number)
    return Trainee(folder, number, settings, module, optimizer, text)


def train(it: Trainee, addresses: Sequence[str], port: int, notes: Notes) -> None:
    """Join, and do steps until all are told to stop. PeerLost: the others go on without this site,
    which has left by then and may join again."""
    from torch.nn.parallel import DistributedDataParallel

    from isthmus.hook.registration import register
    from isthmus.rejoin import Run
    from isthmus.session import Session, join
    from isthmus.soak import learner

    settings = it.settings
    model = DistributedDataParallel(it.module)
    it.optimizer.zero_grad()
    notes.add(built=time.monotonic())
    session = join(
        f"{addresses[-1]}:{port}",
        SITES[it.number],
        len(SITES),
        listen=f"{addresses[it.number]}:0",
        heartbeat=settings.heartbeat_s,
        on_loss="continue",
    )
    assert isinstance(session, Session)
    with contextlib.ExitStack() as leaving:
        leaving.callback(session.close)
        notes.add(joined=time.monotonic(), epoch=session.epoch)
        hook = register(model, session, codec=learner.codecs(settings.codec))
        leaving.callback(hook.close)
        run = Run(session, model=model, optimizer=it.optimizer, check_every=50)
        leaving.callback(run.close)
        told = 0
        for step in run.steps(sys.maxsize):
            if len(run.pauses) > told:
                told = len(run.pauses)
                notes.add(pause=asdict(run.pauses[-1]), at=time.monotonic())
            tokens = learner.batch(it.text, settings, seat=it.number, step=step)
            time.sleep(settings.compute_s)
            loss = model(tokens, it.number)
            loss.backward()
            notes.add(**step_note(step, loss.item(), it.module, it.optimizer, session, settings))
            stop = shared.stop_of(it.folder, settings)
            if stop is not None and step >= stop:
                break
        notes.add(final=learner.held_out_loss(it.module, it.folder, settings))


def step_note(
    step: int, loss: float, module: Any, optimizer: Any, session: Any, settings: Settings
) -> dict[str, Any]:
    """After the gradients have come: step, and say what is so."""
    share = module.ledger.grad.tolist()
    optimizer.step()
    optimizer.zero_grad()
    stats = session.stats()
    said = {
        "step": step,
        "at": time.monotonic(),
        "hash": digest(module),
        "loss": loss,
        "shares": {name: part for name, part in zip(SITES, share, strict=True) if part},
        "contributors": list(stats["contributors"]),
        "sites": list(session.sites),
        "epoch": session.epoch,
        "generation": session.generation,
    }
    return said | (process_state() if step % settings.sample_every == 0 else {})


def attend(folder: Path, number: int, addresses: Sequence[str], port: int, watched: int) -> int:
    """Train; and whenever the others have given this site up, join them again."""
    notes = Notes(folder, number, watched)
    it: Trainee | None = None
    while True:
        try:
            import_all()
            notes.add(imported=time.monotonic())
            it = it or prepared(folder, number)
            train(it, addresses, port, notes)
            return 0
        except IsthmusError as error:
            notes.add(error=error.code, text=str(error), at=time.monotonic())
            if not isinstance(error, PeerLost):
                return LOST
        finally:
            notes.close()
        gc.collect()  # the old DDP, which its hooks hold in a circle
        notes = Notes(folder, number, watched)


def import_all() -> None:
    """What takes seconds, so that it can be told from the rest, and done before by a standby."""
    for name in (
        "torch._dynamo",  # which DistributedDataParallel asks for
        "torch.nn.parallel",
        "isthmus.hook.registration",
        "isthmus.rejoin",
        "isthmus.session",
        "isthmus.soak.learner",
    ):
        importlib.import_module(name)


def main(argv: Sequence[str], watched: int | None = None) -> int:
    """watched: the process whose end is noted; this one, unless it is a copy of a standby."""
    folder, number, addresses, port = Path(argv[0]), int(argv[1]), argv[2].split(","), int(argv[3])
    if number == len(SITES):
        from isthmus import _core

        keeper = _core.Coordinator(listen=f"{addresses[number]}:{port}")
        signal.pause()  # until a signal ends the process
        keeper.close()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # who hangs is asked where
    return attend(folder, number, addresses, port, watched or os.getpid())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
