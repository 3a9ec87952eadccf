"""Runs as wholes: what commands are told, how they end, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from emulated import AGENT, Wan, processes_with

pytestmark = pytest.mark.wan


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def gone(text: str, within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while processes_with(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def sleepers(folder: Path, mark: str) -> list[str]:
    """A command whose child has a session of its own, ignores SIGTERM, and shows `mark`."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    child += f"open('{folder}/up' + __import__('os').environ['WAN_SITE'], 'w'); time.sleep(300)"
    script = f"import subprocess, sys; {mark!r}; "
    script += f"subprocess.Popen([sys.executable, '-c', {child!r}, {mark!r}], "
    script += "start_new_session=True).wait()"
    return [sys.executable, "-c", script]


def test_every_command_is_told_its_site(wan: Wan) -> None:
    told = wan.agent("--sites", "3", do="inherit").told
    assert {*told} == {0, 1, 2}
    for line in told.values():
        assert line["addresses"] == ["198.18.0.1", "198.18.0.2", "198.18.0.3"]
        assert line["sites"] == 3


def test_addresses_are_of_the_network_asked_for(wan: Wan) -> None:
    told = wan.agent("--network", "10.9.0.0/28", do="inherit").told
    assert told[1]["addresses"] == ["10.9.0.1", "10.9.0.2"]


def test_status_is_that_of_the_site_that_failed(wan: Wan) -> None:
    outcome = wan.run("--sites", "3", run=["sh", "-c", '[ "$WAN_SITE" != 1 ] || exit 7'])
    assert outcome.status == 7


def test_one_failure_stops_the_others(wan: Wan) -> None:
    mark = uuid.uuid4().hex
    script = f': {mark}; [ "$WAN_SITE" != 1 ] || exit 7; sleep 300; true'
    assert wan.run(run=["sh", "-c", script]).status == 7
    assert not processes_with(mark)


def test_with_cuts_the_others_go_on_to_their_end(wan: Wan, tmp_path: Path) -> None:
    script = f'[ "$WAN_SITE" != 1 ] || exit 7; sleep 1.5; touch {tmp_path}/ended'
    assert wan.run("--cut", "0:1", run=["sh", "-c", script]).status == 7
    assert (tmp_path / "ended").exists()


def test_signal_that_ends_a_command_is_its_status(wan: Wan) -> None:
    assert wan.run(run=["sh", "-c", "kill -KILL $$"]).status == 128 + signal.SIGKILL


def test_command_that_is_not_there_fails(wan: Wan) -> None:
    outcome = wan.run(run=["no-such-command-here"])
    assert outcome.status == 127
    assert "no-such-command-here" in outcome.errors


def test_timeout_ends_the_run(wan: Wan) -> None:
    mark = uuid.uuid4().hex
    outcome = wan.run("--timeout", "0.5", run=["sh", "-c", f": {mark}; sleep 300; true"])
    assert outcome.status == 124
    assert "timed out after 0.5 s" in outcome.errors
    assert not processes_with(mark)


def test_worker_with_a_session_of_its_own_does_not_outlive_the_run(wan: Wan) -> None:
    mark = uuid.uuid4().hex
    script = f"setsid sh -c ': {mark}; sleep 300; true' & sleep 0.3"
    assert wan.run(run=["sh", "-c", script]).status == 0
    assert not processes_with(mark)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_run_that_a_signal_ends(
    wan: Wan, tmp_path: Path, signum: signal.Signals
) -> None:
    mark = uuid.uuid4().hex
    run = subprocess.Popen(wan.command(run=sleepers(tmp_path, mark)))
    wait_for(tmp_path / "up0")
    wait_for(tmp_path / "up1")
    assert len(processes_with(mark)) > 2
    run.send_signal(signum)
    assert run.wait(30) == (-signum if signum == signal.SIGKILL else 128 + signum)
    assert gone(mark)


def test_next_run_ends_what_a_crash_left(wan: Wan, tmp_path: Path) -> None:
    """As if the run and its loop had both been killed: only a command's child lives on."""
    mark = uuid.uuid4().hex
    namespace = os.readlink("/proc/self/ns/pid")
    stray = subprocess.Popen(
        [sys.executable, "-c", f"{mark!r}; import time; time.sleep(300)"],
        env={**os.environ, "WAN_RUN": f"{namespace}/{2**22 + 1}/1"},
    )
    kept = subprocess.Popen(
        [sys.executable, "-c", f"{mark!r}; import time; time.sleep(300)"],
        env={**os.environ, "WAN_RUN": f"pid:[1]/{2**22 + 1}/1"},  # of another container
        start_new_session=True,
    )
    try:
        assert wan.run(run=["true"]).status == 0
        assert stray.wait(10) == -signal.SIGTERM
        assert kept.poll() is None
    finally:
        stray.kill()
        os.killpg(kept.pid, signal.SIGKILL)
        kept.wait()
    assert gone(mark)


def test_two_runs_at_once_do_not_meet(wan: Wan, tmp_path: Path) -> None:
    command = wan.command("--rtt-ms", "5", run=[sys.executable, str(AGENT), "ping"])
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0
        assert any(json.loads(line).get("rtt_ms", 0) >= 5 for line in out.splitlines())


def as_nobody(private_tun: str) -> tuple[str, ...]:
    """Run as an unprivileged user, with a device file that everybody may open, as on desktops."""
    script = (
        f"mkdir -p {private_tun} && mount -t tmpfs none {private_tun} && "
        f"mknod -m 666 {private_tun}/tun c 10 200 && "
        f"mount --bind {private_tun}/tun /dev/net/tun && "
        'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
    )
    return ("unshare", "-m", "sh", "-c", script, "as-nobody")


def pythons() -> list[str]:
    """This interpreter, and the system's of the same version, should ours be in a closed home."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    return [sys.executable, *([system] if system else [])]


@pytest.mark.parametrize("who", ["root without network rights", "nobody"])
def test_user_without_rights_emulates_too(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("needs a root that can become a user without rights")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    # Linux wants setfcap (and no more) of a root who is to be root of a user namespace.
    wrap = ("setpriv", "--bounding-set", "-all,+setfcap", "--inh-caps", "-all")
    if who == "nobody":
        wrap = as_nobody(str(tmp_path / "dev"))
    if subprocess.run([*wrap, "unshare", "-Urn", "true"], check=False).returncode != 0:
        pytest.skip("this machine gives users without rights no user namespaces")
    asked = "import isthmus._core, os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])"
    runnable = [
        python
        for python in pythons()
        if subprocess.run([*wrap, python, "-c", asked], check=False, capture_output=True).returncode
        == 0
    ]
    if not runnable:
        pytest.skip(f"{who} may run none of {pythons()} with isthmus")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)  # the statistics are that user's to write
        options = ("--rtt-ms", "5", "--cc", "reno")
        it = Wan(folder=Path(folder), python=runnable[0])
        outcome = it.agent(*options, do="ping", wrap=wrap)
    assert outcome.told[0]["rtt_ms"] >= 5
    assert outcome.links["0->1"]["delivered"]["segments"] >= 10
    assert outcome.told[0]["user_namespace"], "it had rights after all"


def test_where_nothing_works_a_sentence_says_what_is_missing(tmp_path: Path) -> None:
    if os.getuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("needs a root that can hide /dev/net/tun from a process")
    # An empty folder over /dev/net: the device is not there.
    hide = f"mount -t tmpfs none /dev/net && exec {sys.executable} -m isthmus.wan -- true"
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", hide], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 69
    assert "/dev/net/tun is missing: load the module" in ended.stderr
