"""Real processes that go on without one that is killed, and hold the same bits."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import isthmus
import numpy as np
import pytest
from isthmus import _core, testing
from isthmus.config import join_settings
from isthmus.session import Session

NAMES = ("amber", "birch", "cedar", "delta")

# A site: reduces its own numbers again and again, and says after each what it has.
SITE = """
import hashlib, json, sys, time
import numpy as np, isthmus
rendezvous, site, sites, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
session = isthmus.join(
    rendezvous, site, sites, listen="127.0.0.1:0", measure=False, on_loss="continue"
)
for step in range(steps):
    x = np.random.default_rng([step, session.rank]).standard_normal(400_000, np.float32)
    work = session.all_reduce(x)
    work.wait()
    print(json.dumps({"step": step, "ended": time.monotonic(), "contributors": work.contributors,
                      "hash": hashlib.sha256(x).hexdigest()}), flush=True)
    time.sleep(0.01)
session.close()
"""
Line = Mapping[str, Any]


@pytest.fixture
def coordinator() -> Iterator[str]:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    yield keeper.address
    keeper.close()


def mean(step: int, names: list[str]) -> str:
    ranks = [NAMES.index(name) for name in names]
    total = np.zeros(400_000, np.float32)
    for rank in ranks:
        total += np.random.default_rng([step, rank]).standard_normal(400_000, np.float32)
    return hashlib.sha256(total / np.float32(len(ranks))).hexdigest()


def test_after_a_kill_the_others_hold_the_mean_of_those_that_are_reported(coordinator: str) -> None:
    steps = 60
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", SITE, coordinator, name, str(len(NAMES)), str(steps)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in NAMES
    }
    try:
        doomed = processes.pop("birch")
        assert doomed.stdout is not None
        for _ in range(15):
            assert doomed.stdout.readline()
        doomed.kill()
        said: dict[str, list[Line]] = {}
        for name, process in processes.items():
            out, _ = process.communicate(timeout=60)
            said[name] = [json.loads(line) for line in out.splitlines()]
            assert process.returncode == 0
    finally:
        for process in [*processes.values(), doomed]:
            process.kill()
            process.wait()
    assert [len(lines) for lines in said.values()] == [steps] * 3
    for step, lines in enumerate(zip(*said.values(), strict=True)):
        assert len({(line["hash"], tuple(line["contributors"])) for line in lines}) == 1, step
        assert lines[0]["hash"] == mean(step, lines[0]["contributors"])
    left = [name for name in NAMES if name != "birch"]
    assert said["amber"][0]["contributors"] == list(NAMES)
    assert said["amber"][-1]["contributors"] == left


def member(coordinator: str, site: str, sites: int, on_loss: str | isthmus.OnLoss) -> Session:
    return Session(
        join_settings(
            rendezvous=coordinator,
            site=site,
            sites=sites,
            listen="127.0.0.1:0",
            on_loss=on_loss,
            environment={},
        )
    )


def test_stats_say_who_is_left(coordinator: str) -> None:
    names = testing.site_names(3)
    with ThreadPoolExecutor(3) as pool:
        sessions = list(pool.map(lambda name: member(coordinator, name, 3, "continue"), names))
        sessions[1].close()
        works = [session.all_reduce(np.ones(1000, np.float32)) for session in sessions[::2]]
        for work in works:
            work.wait()
            assert work.contributors == (names[0], names[2])
        stats = sessions[0].stats()
        assert stats["generation"] == 2
        assert stats["roster"] == [names[0], names[2]]
        list(pool.map(Session.close, sessions[::2]))


def test_sites_that_mean_different_things_by_a_loss_are_told_when_they_join(
    coordinator: str,
) -> None:
    with ThreadPoolExecutor(2) as pool:
        joining = [
            pool.submit(member, coordinator, "amber", 2, "continue"),
            pool.submit(member, coordinator, "birch", 2, isthmus.OnLoss("continue", 1, "amber")),
        ]
        for each in joining:
            with pytest.raises(isthmus.Refused, match="on_loss"):
                each.result()


def test_what_cannot_be_asked_for_is_refused_by_name() -> None:
    good = {"ISTHMUS_RENDEZVOUS": "10.0.0.1:29600", "ISTHMUS_SITE": "a", "ISTHMUS_SITES": "3"}
    with pytest.raises(isthmus.Refused, match=r"on_loss .*'shrug'.*raise, continue"):
        join_settings(on_loss="shrug", environment=good)
    with pytest.raises(isthmus.Refused, match="min_sites"):
        join_settings(on_loss=isthmus.OnLoss("continue", min_sites=4), environment=good)
    with pytest.raises(isthmus.Refused, match="one rail"):
        join_settings(on_loss="continue", rails=2, environment=good)
    with pytest.raises(isthmus.Refused, match="REJOIN_TIMEOUT"):
        join_settings(environment={**good, "ISTHMUS_REJOIN_TIMEOUT": "soon"})
    asked = {**good, "ISTHMUS_ON_LOSS": "wait", "ISTHMUS_REJOIN_TIMEOUT": "20"}
    assert join_settings(environment=asked).on_loss == isthmus.OnLoss("wait", rejoin_timeout=20.0)
