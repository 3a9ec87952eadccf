"""testing: a world of several sites on this machine's loopback, for tests.

`sites(3)` gives sessions in one process; `run_sites(fn, sites=[1, 2])` starts a process per rank,
with a gloo group per site, and `fn` runs in each.
"""

import contextlib
import multiprocessing
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from isthmus import _core, config
from isthmus.session import Follower, Session, member


def settings(
    site: str,
    count: int,
    rendezvous: str,
    *,
    timeout: float = 30.0,
    heartbeat: float = 5.0,
    codec_threads: int = 0,
    rails: int = 1,
    on_loss: str | config.OnLoss | None = None,
) -> config.JoinSettings:
    """Of one site on loopback; reads no environment variables."""
    return config.join_settings(
        rendezvous=rendezvous,
        site=site,
        sites=count,
        listen="127.0.0.1:0",
        timeout=timeout,
        heartbeat=heartbeat,
        codec_threads=codec_threads,
        rails=rails,
        on_loss=on_loss,
        environment={},
    )


def site_names(count: int) -> list[str]:
    return [f"site{i:02d}" for i in range(count)]


@contextlib.contextmanager
def sites(
    count: int,
    *,
    timeout: float = 30.0,
    heartbeat: float = 5.0,
    codec_threads: int = 0,
    on_loss: str | config.OnLoss | None = None,
) -> Iterator[list[Session]]:
    """Sessions of `count` sites in this process, by rank. Closed at the end."""
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    made: list[Session] = []
    try:
        with ThreadPoolExecutor(count) as pool:
            futures = [
                pool.submit(
                    Session,
                    settings(
                        name,
                        count,
                        keeper.address,
                        timeout=timeout,
                        heartbeat=heartbeat,
                        codec_threads=codec_threads,
                        on_loss=on_loss,
                    ),
                )
                for name in site_names(count)
            ]
            for future in futures:
                future.exception()  # wait for all, so that none is left behind by another's failure
            made = [future.result() for future in futures if future.exception() is None]
            for future in futures:
                future.result()
        yield sorted(made, key=lambda session: session.rank)
    finally:
        close(*made)
        keeper.close()


def close(*sessions: Session) -> None:
    """All at once: one that closes waits, though not for ever, until the others do."""
    if sessions:
        with ThreadPoolExecutor(len(sessions)) as pool:
            list(pool.map(Session.close, sessions))


@dataclass(frozen=True)
class Place:
    """Where a process of run_sites stands."""

    site: str
    rank: int  # in the site
    ranks: int  # of the site
    first: int  # global rank of the site's rank 0, counting sites by name
    total: int  # ranks of all sites


@dataclass(frozen=True)
class _Join:
    sites: int
    rendezvous: str
    timeout: float
    heartbeat: float
    rails: int
    on_loss: str | config.OnLoss | None


class SiteFailed(AssertionError):
    """A process raised; its traceback is in the text."""


def fork_server(*preload: str) -> ForkServerContext:
    """Whose processes begin with torch and the hook imported, once for all of them.

    preload: modules to import there as well. Those count that were given before the first process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "isthmus.hook", *preload])
    return context


def run_sites(
    fn: Callable[..., Any],
    *,
    sites: Sequence[int],
    arguments: tuple[Any, ...] = (),
    joined: bool = True,
    timeout: float = 30.0,
    heartbeat: float = 5.0,
    rails: int | Sequence[int] = 1,
    on_loss: str | config.OnLoss | None = None,
    patience: float = 240.0,
    expect_death: bool = False,
    preload: Sequence[str] = (),
) -> list[list[Any]]:
    """Run `fn(session, place, *arguments)` at every rank; its results, by site and rank.

    sites: ranks of each site. session: a Session at rank 0 of a site, a Follower elsewhere; None
    everywhere if not `joined`. fn must be importable, and its result must pickle.
    timeout, heartbeat, rails, on_loss: as of join; rails may be given for each site, to differ.
    patience: seconds to wait for an answer.
    expect_death: a process may end without a result (None then) instead of failing the call.
    preload: modules that fn needs, imported once for all processes.
    """
    context = fork_server(*preload)
    keeper = _core.Coordinator(listen="127.0.0.1:0") if joined else None
    each = [rails] * len(sites) if isinstance(rails, int) else rails
    with tempfile.TemporaryDirectory() as folder:
        ends: dict[Connection, tuple[int, int]] = {}
        processes: list[ForkServerProcess] = []
        for number, (name, ranks) in enumerate(zip(site_names(len(sites)), sites, strict=True)):
            for rank in range(ranks):
                place = Place(name, rank, ranks, sum(sites[:number]), sum(sites))
                join = keeper and _Join(
                    len(sites), keeper.address, timeout, heartbeat, each[number], on_loss
                )
                ours = _start(context, processes, (fn, place, arguments, join, folder))
                ends[ours] = (number, rank)
        try:
            return _collect(ends, sites, patience, expect_death)
        finally:
            _end(processes, within_s=10.0)
            if keeper is not None:
                keeper.close()


def _start(
    context: ForkServerContext, processes: list[ForkServerProcess], what: tuple[Any, ...]
) -> Connection:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run_one, args=(theirs, *what))
    process.start()
    theirs.close()
    processes.append(process)
    return ours


def _end(processes: list[ForkServerProcess], *, within_s: float) -> None:
    """All have said what they had to; a rank whose site died may wait in gloo for ever."""
    end = time.monotonic() + within_s
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _collect(
    ends: dict[Connection, tuple[int, int]],
    sites: Sequence[int],
    patience: float,
    expect_death: bool,
) -> list[list[Any]]:
    results: list[list[Any]] = [[None] * ranks for ranks in sites]
    failures: list[str] = []
    while ends:
        # After one failure the others soon fail too, and whose was the first is not known here.
        ready = wait(list(ends), 3.0 if failures else patience)
        if failures and not ready:
            break
        if not ready:
            raise SiteFailed(f"no answer in {patience} s from (site, rank) {list(ends.values())}")
        for end in ready:
            assert isinstance(end, Connection)
            number, rank = ends.pop(end)
            try:
                failure, result = pickle.loads(end.recv_bytes())
            except EOFError:
                failure, result = (None if expect_death else "the process died"), None
            results[number][rank] = result
            if failure is not None:
                failures.append(f"site {number}, rank {rank}: {failure}")
    if failures:
        raise SiteFailed("\n".join(failures))
    return results


def _send(end: Connection, answer: tuple[str | None, Any]) -> None:
    """By value: torch would share a tensor's memory, of a process that is about to end."""
    end.send_bytes(pickle.dumps(answer))


def _run_one(
    end: Connection,
    fn: Callable[..., Any],
    place: Place,
    arguments: tuple[Any, ...],
    join: _Join | None,
    folder: str,
) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    session: Session | Follower | None = None
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{os.path.join(folder, place.site)}",
            rank=place.rank,
            world_size=place.ranks,
        )
        if join is not None:
            ours = settings(
                place.site,
                join.sites,
                join.rendezvous,
                timeout=join.timeout,
                heartbeat=join.heartbeat,
                rails=join.rails,
                on_loss=join.on_loss,
            )
            session = member(ours, place.rank)
        result = fn(session, place, *arguments)
        _send(end, (None, result))
    except BaseException:
        _send(end, (traceback.format_exc(), None))
    finally:
        if session is not None:
            session.close()
        if dist.is_initialized():
            dist.destroy_process_group()
        end.close()
