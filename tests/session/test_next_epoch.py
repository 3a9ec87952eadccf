"""Real processes: the coordinator dies and comes back, a site is killed and replaced."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import isthmus
import pytest
from isthmus import _core, testing
from isthmus.config import JoinSettings, join_settings
from isthmus.epochs import Epochs, successor
from isthmus.links import even_links
from isthmus.session import Session
from isthmus.warm_up import enough

NAMES = ("amber", "birch", "cedar", "delta")

# A site: trains, and changes over at a boundary at which all say that the next epoch is ready.
SITE = """
import json, sys, time
import numpy as np
from isthmus.config import join_settings
from isthmus.epochs import Epochs
from isthmus.session import Session
rendezvous, site, port, until = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
settings = join_settings(rendezvous=rendezvous, site=site, sites=4, measure=False, timeout=30,
                         listen=f"127.0.0.1:{port}", on_loss="continue", environment={})
session = Session(settings)
native = session._native
epochs = Epochs(settings, native)
said = None
step = 0
while native.epoch < until:
    ready = int(epochs.ready)
    x = np.ones(10_000, np.float32)
    native.exchange(x, x, segments=[("f32", "f32", x.size)], mean=False, weight=1.0,
                    schedule="auto", layout=0).wait()
    work = native.all_gather(ready.to_bytes(4, "little"))
    words = work.gathered()
    here = [int.from_bytes(words[rank], "little") for rank in work.contributors]
    now = (native.epoch, float(x[0]))
    if now != said or step % 20 == 0:
        print(json.dumps({"epoch": now[0], "sites": now[1]}), flush=True)
        said = now
    step += 1
    if here and min(here) > 0 and min(here) == max(here):
        before, native = native, epochs.take()
        before.close()
    else:
        time.sleep(0.01)
work = native.all_gather(site.encode())
print(json.dumps({"epoch": native.epoch, "end": [word.decode() for word in work.gathered()]}))
epochs.close()
native.close()
session.close()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(rendezvous: str, ports: dict[str, int], *, until: int) -> Iterator[dict[str, "Site"]]:
    sites = {name: Site(rendezvous, name, port, until) for name, port in ports.items()}
    try:
        yield sites
    finally:
        for site in sites.values():
            site.process.kill()
            site.process.wait()


class Site:
    def __init__(self, rendezvous: str, name: str, port: int, until: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SITE, rendezvous, name, str(port), str(until)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self) -> dict[str, object]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it has ended"
        said: dict[str, object] = json.loads(line)
        return said

    def wait_for(self, **what: object) -> None:
        while not what.items() <= self.say().items():
            pass

    def end(self) -> object:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return json.loads(out.splitlines()[-1])["end"]


def coordinator(address: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "isthmus.cli", "coordinator", "--listen", address]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("fixed", [False, True])
def test_training_goes_on_without_a_coordinator_and_a_replacement_joins_at_the_next(
    fixed: bool,
) -> None:
    address = f"127.0.0.1:{free_port()}"
    ports = {name: free_port() if fixed else 0 for name in NAMES}
    keeper = coordinator(address)
    try:
        with started(address, ports, until=1) as sites:
            for site in sites.values():
                site.wait_for(epoch=0, sites=4.0)
            keeper.kill()
            keeper.wait()
            for site in sites.values():
                site.wait_for(epoch=0, sites=4.0)
            sites["delta"].process.kill()
            for name in NAMES[:3]:
                sites[name].wait_for(epoch=0, sites=3.0)
            keeper = coordinator(address)
            with started(address, {"delta": ports["delta"]}, until=1) as replaced:
                ends = [sites[name].end() for name in NAMES[:3]]
                ends.append(replaced["delta"].end())
        assert ends == [list(NAMES)] * 4
    finally:
        keeper.kill()
        keeper.wait()


def member(rendezvous: str, site: str, *, sites: int = 3, then: str = "continue") -> Session:
    return Session(settings(rendezvous, site, sites=sites, then=then))


def settings(rendezvous: str, site: str, *, sites: int = 3, then: str = "continue") -> JoinSettings:
    return join_settings(
        rendezvous=rendezvous,
        site=site,
        sites=sites,
        listen="127.0.0.1:0",
        timeout=10,
        on_loss=then,
        environment={},
    )


def test_a_site_whose_next_epoch_loses_somebody_says_so_and_is_called_again() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    names = testing.site_names(3)
    with ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(lambda name: member(keeper.address, name), names))
        epochs = [
            Epochs(settings(keeper.address, name), session._native)
            for name, session in zip(names, sessions, strict=True)
        ]
        joining = pool.submit(member, keeper.address, "new", sites=4)
        assert all(pool.map(lambda one: one.wait(10), epochs))
        first = {one.ready for one in epochs}
        assert len(first) == 1
        joining.result()._native.close()
        while any(one.ready for one in epochs):
            time.sleep(0.01)
        again = pool.submit(member, keeper.address, "new", sites=4)
        end = time.monotonic() + 20
        while len({one.ready for one in epochs} - {0, *first}) != 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        for one in epochs:
            one.close()
        testing.close(again.result(), *sessions)
    keeper.close()


def test_links_of_the_next_epoch_have_carried_their_part_when_it_is_ready() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    names = testing.site_names(2)
    links = even_links(names, mbit=400, rtt_s=0.1)
    with ThreadPoolExecutor(3) as pool:
        sessions = list(pool.map(lambda name: member(keeper.address, name, sites=2), names))
        epochs = [
            Epochs(settings(keeper.address, name, sites=2), session._native, lambda: links)
            for name, session in zip(names, sessions, strict=True)
        ]
        joining = pool.submit(member, keeper.address, "new", sites=3)
        assert all(pool.map(lambda one: one.wait(10), epochs))
        natives = [*(one.take() for one in epochs), joining.result()._native]
        among = links.among(natives[0].sites)
        assert among is not None
        for native in natives:
            came = [link["bytes_received"] for link in native.stats()["links"].values()]
            assert len(came) == 2 and min(came) >= enough(among) > 1_000_000
        for one in epochs:
            one.close()
        testing.close(joining.result(), *sessions)
        for native in natives:
            native.close()
    keeper.close()


def test_a_newcomer_that_sees_a_site_lost_before_links_are_warm_joins_once_more() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    names = testing.site_names(2)
    with ThreadPoolExecutor(3) as pool:
        first, second = pool.map(lambda name: member(keeper.address, name, sites=2), names)
        epochs = [Epochs(settings(keeper.address, names[0], sites=2), first._native)]
        assert epochs[0].ready == 0  # from now on it listens
        second._native.attend(changed_over=True)
        joining = pool.submit(member, keeper.address, "new", sites=3)
        call = second._native.next_call(after=0, timeout=10)
        assert call is not None
        own = settings(keeper.address, names[1], sites=2)
        failing = successor(own, second._native, *call)
        assert failing.joined(10)
        failing.close()  # which has warmed up nothing
        second._native.attend(changed_over=True, failed=call[0])
        epochs.append(Epochs(own, second._native))
        assert all(pool.map(lambda one: one.wait(20), epochs))
        assert joining.result(20).epoch == epochs[0].ready > call[0]
        for one in epochs:
            one.close()
        testing.close(joining.result(), first, second)
    keeper.close()


def test_two_sites_that_wait_are_stuck_end_what_is_under_way_and_meet_again() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    with ThreadPoolExecutor(2) as pool:
        joined = [
            pool.submit(member, keeper.address, name, sites=2, then="wait")
            for name in ("amber", "birch")
        ]
        amber, birch = (each.result() for each in joined)
        epochs = Epochs(settings(keeper.address, "amber", sites=2, then="wait"), amber._native)
        birch._native.close()
        work = amber._native.all_gather(b"amber")
        work.wait(10)
        assert work.gathered() == [b"amber", b""]
        assert work.contributors == [0]
        assert amber._native.stuck
        again = pool.submit(member, keeper.address, "birch", sites=2, then="wait")
        assert epochs.wait(10)
        assert epochs.ready == 1
        native = epochs.take()
        assert not native.stuck
        assert again.result()._native.epoch == 1
        epochs.close()
        for one in (amber._native, native, again.result()._native):
            pool.submit(one.close)
    keeper.close()


def test_without_a_call_nothing_is_ready() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    session = member(keeper.address, "amber", sites=1)
    epochs = Epochs(settings(keeper.address, "amber", sites=1), session._native)
    assert epochs.ready == 0
    assert not epochs.wait(0.1)
    with pytest.raises(isthmus.Cancelled):
        epochs.take()
    epochs.close()
    session.close()
    keeper.close()
