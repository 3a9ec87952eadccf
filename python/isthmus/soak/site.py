"""One process of a soak: a site that trains, or the coordinator.

    python -m isthmus.soak.site FOLDER NUMBER ADDRESSES PORT

ADDRESSES: of the sites and of the coordinator, with commas; the number is the place among them.
Whoever starts it again uses the same command. It notes each step in FOLDER, in a file of its own.
Status: 0, LOST for an error of isthmus that says why this site takes part no more, 1 for a mistake.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from isthmus.errors import IsthmusError
from isthmus.soak import settings as shared
from isthmus.soak.settings import SITES, Settings

if TYPE_CHECKING:
    from torch import nn

LOST = 70


def process_state() -> dict[str, int]:
    """What must not grow."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the folder's own
            continue
    return {
        "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": len(os.listdir("/proc/self/task")),
        "fds": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
    }


def digest(model: nn.Module) -> str:
    sha = hashlib.blake2b(digest_size=8)
    for parameter in model.parameters():
        sha.update(parameter.detach().numpy().data)
    return sha.hexdigest()


def train(folder: Path, number: int, addresses: Sequence[str], port: int, notes: IO[str]) -> None:
    """Steps until all are told to stop."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from isthmus.hook.registration import register
    from isthmus.rejoin import Run
    from isthmus.session import Session, join
    from isthmus.soak import learner

    settings = shared.read(folder)
    torch.set_num_threads(1)
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    torch.manual_seed(settings.seed)
    module = learner.Learner(settings)
    model = DistributedDataParallel(module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    text = learner.shard(folder, number)
    session = join(
        f"{addresses[-1]}:{port}",
        SITES[number],
        len(SITES),
        listen=f"{addresses[number]}:0",
        heartbeat=settings.heartbeat_s,
        on_loss="continue",
    )
    assert isinstance(session, Session)
    note(notes, joined=time.monotonic(), epoch=session.epoch)
    hook = register(model, session, codec=learner.codecs(settings.codec))
    run = Run(session, model=model, optimizer=optimizer, check_every=50)
    told = 0
    for step in run.steps(sys.maxsize):
        if len(run.pauses) > told:
            told = len(run.pauses)
            note(notes, pause=asdict(run.pauses[-1]), at=time.monotonic())
        tokens = learner.batch(text, settings, seat=number, step=step)
        time.sleep(settings.compute_s)
        loss = model(tokens, number)
        loss.backward()
        note(notes, **step_note(step, loss.item(), module, optimizer, session, settings))
        stop = shared.stop_of(folder, settings)
        if stop is not None and step >= stop:
            break
    note(notes, final=learner.held_out_loss(module, folder, settings))
    run.close()
    hook.close()
    session.close()


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


def note(notes: IO[str], **said: object) -> None:
    print(json.dumps(said), file=notes)


def main(argv: Sequence[str]) -> int:
    folder, number, addresses, port = Path(argv[0]), int(argv[1]), argv[2].split(","), int(argv[3])
    if number == len(SITES):
        from isthmus import _core

        keeper = _core.Coordinator(listen=f"{addresses[number]}:{port}")
        signal.pause()  # until a signal ends the process
        keeper.close()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # who hangs is asked where
    name = f"{SITES[number]}.{time.monotonic_ns()}.jsonl"
    with (folder / name).open("w", buffering=1) as notes:
        note(notes, site=SITES[number], pid=os.getpid(), begun=time.monotonic())
        try:
            train(folder, number, addresses, port, notes)
        except IsthmusError as error:
            note(notes, error=error.code, text=str(error), at=time.monotonic())
            return LOST
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
