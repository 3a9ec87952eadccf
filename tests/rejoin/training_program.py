"""One rank of a site that trains a small model in a Run, and says after each step what it holds."""

import contextlib
import faulthandler
import hashlib
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import isthmus
import torch
import torch.distributed as dist
from isthmus.links import even_links
from isthmus.seat import Seat
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

PATIENCE_S = 90  # of a step, and of coming in
MOST_STEPS = 100_000  # nobody gets there


@dataclass(frozen=True)
class Options:
    rendezvous: str
    site: str
    store: str  # a file, by which the ranks of the site meet
    enough: str  # a file: once it is there, all end after the same step
    sites: int = 3
    rank: int = 0
    ranks: int = 1
    codec: str = "int4"
    delay: int = 0
    on_loss: str = "continue"
    width: int = 64
    check_every: int = 10
    dies_giving: str = ""  # a file: the first that gives a state makes it, and is no more
    spoils: int = -1  # the step after which a parameter is not what it should be
    seconds: float = 0.05  # that a step takes at least
    mbit: tuple[float, ...] = ()  # what the first sites are told of their links, by rank


def die_giving(marker: str) -> None:
    """Of all sites that are told so, the first donor is killed when others wait for its data."""
    hand = Seat.hand

    def first(seat: Seat, x: Any, *, size: int, donor: int, takers: Sequence[int]) -> Any:
        with contextlib.suppress(FileExistsError):
            if donor == seat.rank:
                open(marker, "x").close()
                os.kill(os.getpid(), signal.SIGKILL)
        return hand(seat, x, size=size, donor=donor, takers=takers)

    Seat.hand = first  # type: ignore[method-assign]


class Net(nn.Sequential):
    """Its loss, to which a rank may add the parameter `end`. So all see in the gradient of `end`,
    which is the same bits everywhere, after which step some rank wanted to end.
    """

    def __init__(self, width: int) -> None:
        layers = [
            m for _ in range(4) for m in (nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.1))
        ]
        super().__init__(*layers, nn.Linear(width, 1))
        self.end = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, wants_to_end: bool) -> torch.Tensor:
        return super().forward(x).square().mean() + self.end.sum() * wants_to_end

    def is_over(self) -> bool:
        assert self.end.grad is not None
        return bool(self.end.grad.item() > 0)


class Position:
    """In a site's data."""

    def __init__(self) -> None:
        self.sample = 0

    def state_dict(self) -> dict[str, int]:
        return {"sample": self.sample}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sample = state["sample"]


def digest(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    sha = hashlib.sha256()
    for parameter in model.parameters():
        sha.update(parameter.detach().numpy().tobytes())
        for key, value in sorted(optimizer.state[parameter].items()):
            sha.update(key.encode() + value.numpy().tobytes())
    return sha.hexdigest()[:16]


def lost_sites(hook: Any) -> list[str]:
    events = hook.stats()["session"].get("events", [])
    return [event["text"] for event in events if event["kind"] == "lost"]


def tell_links(session: Any, mbit: Sequence[float]) -> None:
    if mbit and isinstance(session, isthmus.Session) and not session.is_newcomer:
        session.set_links(even_links(session.sites, mbit=1000, rtt_s=0.02, world_mbit=mbit))


def meet_the_site(options: Options) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{options.store}",
        rank=options.rank,
        world_size=options.ranks,
    )


def run_rank(options: Options, told: Connection, errors: str) -> None:
    """As a program would: its words go to `told`, and what ends it badly to the file `errors`."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    try:
        train(options, told.send)
    except Exception:
        sys.excepthook(*sys.exc_info())  # torch's own names the rank
        sys.exit(1)


def train(options: Options, tell: Callable[[dict[str, Any]], None]) -> None:
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)  # a hang says where
    meet_the_site(options)
    # Nobody's numbers are like another's; only what is handed over makes them so.
    torch.manual_seed(zlib.crc32(f"{options.site} {options.rank} {time.time_ns()}".encode()))
    model = DDP(Net(options.width), bucket_cap_mb=0.02)
    session = isthmus.join(
        options.rendezvous,
        options.site,
        options.sites,
        listen="127.0.0.1:0",
        on_loss=options.on_loss,
    )
    tell_links(session, options.mbit)
    if options.dies_giving:
        die_giving(options.dies_giving)
    hook = isthmus.register(model, session, codec=options.codec, delay=options.delay)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 15])
    position = Position()
    run = isthmus.Run(
        session,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=position,
        check_every=options.check_every,
    )
    for step in run.steps(MOST_STEPS):
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
        number = zlib.crc32(f"{options.site} {options.rank} {position.sample}".encode())
        batch = torch.randn(8, options.width, generator=torch.Generator().manual_seed(number))
        model(batch, Path(options.enough).exists()).backward()
        is_over = model.module.is_over()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        position.sample += 1
        model.module[3].weight.data[1, 2] += int(step == options.spoils)
        said = {
            "step": step,
            "hash": digest(model, optimizer),
            "rate": scheduler.get_last_lr(),
            "sample": position.sample,
            "sites": list(session.sites),
            "lost": lost_sites(hook),
            "links": repr(getattr(session, "links", None)),
            "pauses": [[pause.donor, list(pause.takers), pause.step] for pause in run.pauses],
        }
        tell(said)
        if is_over:
            break
        time.sleep(options.seconds)
    run.close()
    hook.close()
    session.close()
