"""One run: make the network, start the loop and the commands, wait, and leave nothing behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from isthmus.wan import network, processes
from isthmus.wan.control import Control
from isthmus.wan.network import NetworkError, SiteNetwork
from isthmus.wan.settings import Settings, SettingsError, parse, parser
from isthmus.wan.support import support

BAD_SETTINGS, UNAVAILABLE, TIMED_OUT, SIGNALLED = 2, 69, 124, 128
GRACE_S = 0.5  # for the others to fail by themselves, and say why, after the first failure
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def say(text: str) -> None:
    print(f"isthmus wan: {text}", file=sys.stderr, flush=True)


class SignalWatch:
    """While entered, signals that ask us to end make `fileno()` readable, and do no more."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.reader_, self.writer_ = os.pipe()
        os.set_blocking(self.reader_, False)
        os.set_blocking(self.writer_, False)

    def fileno(self) -> int:
        return self.reader_

    def __enter__(self) -> SignalWatch:
        self.before_ = {signum: signal.signal(signum, self.note) for signum in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.before_.items():
            signal.signal(signum, handler)
        os.close(self.reader_)
        os.close(self.writer_)

    def note(self, signum: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = signum
            os.write(self.writer_, b"!")


def loop_job(settings: Settings, sites: list[SiteNetwork]) -> dict[str, Any]:
    """The settings as the packet loop takes them: by descriptors, bits and nanoseconds."""

    def ns(seconds: float) -> int:
        return round(seconds * 1e9)

    count = range(len(sites))
    return {
        "sites": [
            {
                "device": site.device,
                "address": int(address),
                "up_bps": limits.up_mbit * 1e6,
                "down_bps": limits.down_mbit * 1e6,
                "queue_ns": ns(settings.queue_ms / 1e3),
            }
            for site, address, limits in zip(sites, settings.addresses, settings.sites, strict=True)
        ],
        "lines": [
            {
                "origin": origin,
                "target": target,
                "rate_bps": settings.pair(origin, target).rate_mbit * 1e6,
                "delay_ns": ns(settings.pair(origin, target).rtt_ms / 2e3),
                "loss": settings.pair(origin, target).loss,
                "queue_ns": ns(settings.pair(origin, target).queue_ms / 1e3),
            }
            for origin in count
            for target in count
            if origin != target
        ],
        "cuts": [
            {
                "site": cut.site,
                "other": cut.other,
                "after_ns": ns(cut.after_s),
                "length_ns": None if cut.for_s is None else ns(cut.for_s),
            }
            for cut in settings.cuts
        ],
        "seed": settings.seed,
        "namespaces": [site.inode for site in sites],
    }


class Emulation:
    """The network and all processes of one run. Leaving it ends and removes everything."""

    def __init__(self, settings: Settings) -> None:
        self.settings_ = settings
        self.sites_: list[SiteNetwork] = []
        self.loop_: subprocess.Popen[str] | None = None
        self.commands_: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Emulation:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        processes.end(processes.of_dead_runs)
        for i in range(len(self.settings_.sites)):
            self.sites_.append(
                network.make_site(
                    network.interface(self.settings_.network, i),
                    congestion_control=self.settings_.congestion_control,
                    tcp_buffer_kib=self.settings_.tcp_buffer_kib,
                )
            )
        self.loop_ = subprocess.Popen(
            [sys.executable, "-m", "isthmus.wan._loop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[site.device for site in self.sites_],
            start_new_session=True,
            text=True,
        )
        assert self.loop_.stdin and self.loop_.stdout
        self.loop_.stdin.write(json.dumps(loop_job(self.settings_, self.sites_)) + "\n")
        self.loop_.stdin.flush()
        if self.loop_.stdout.readline() != "ready\n":
            raise NetworkError(f"the packet loop ended with status {self.loop_.wait()}")

    def start(self) -> None:
        """Start the command in every site."""
        if self.settings_.restart is not None:
            self.settings_.restart.write_text("")
        for i in range(len(self.sites_)):
            self.commands_.append(self.command(i))

    def command(self, site: int) -> subprocess.Popen[bytes]:
        variables = {
            "WAN_SITE": str(site),
            "WAN_SITES": str(len(self.sites_)),
            "WAN_ADDRS": ",".join(str(address) for address in self.settings_.addresses),
            processes.RUN_VARIABLE: processes.run_name(),
        }
        return subprocess.Popen(
            ["env", *(f"{k}={v}" for k, v in variables.items()), *self.settings_.command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=in_namespace(self.sites_[site].namespace),
        )

    def again(self, ended: subprocess.Popen[Any], status: int) -> subprocess.Popen[bytes] | None:
        """With --restart: note the end of a site's command, and start it anew if it failed."""
        if self.settings_.restart is None:
            return None
        site = self.commands_.index(ended)
        end = {"site": site, "pid": ended.pid, "status": status, "at": time.monotonic()}
        with self.settings_.restart.open("a") as file:
            file.write(json.dumps(end) + "\n")
        if status == 0:
            return None
        self.commands_[site] = self.command(site)
        return self.commands_[site]

    def wait(self, watch: SignalWatch) -> int:
        """Until all commands have ended, one has failed, or a signal or the timeout ends it."""
        assert self.loop_
        deadline = time.monotonic() + self.settings_.timeout_s
        status = 0
        with selectors.DefaultSelector() as selector:
            selector.register(watch, selectors.EVENT_READ)
            running: list[subprocess.Popen[Any]] = [self.loop_, *self.commands_]
            watched = {os.pidfd_open(process.pid): process for process in running}
            for fd in watched:
                selector.register(fd, selectors.EVENT_READ)
            control = self.control(selector)
            try:
                while any(command.returncode is None for command in self.commands_):
                    wake = deadline if control is None else min(deadline, control.due_s())
                    events = selector.select(max(0.0, wake - time.monotonic()))
                    if control is not None:
                        control.thaw()
                        events = [e for e in events if not control.heed(e[0].fileobj)]
                    if watch.received is not None:
                        return SIGNALLED + watch.received
                    if time.monotonic() >= deadline:
                        return status or self.timed_out()
                    for key, _ in events:
                        ended = watched.pop(key.fd)
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        code = ended.wait()
                        if ended is self.loop_:
                            raise NetworkError(f"the packet loop ended with status {code}")
                        told = code if code >= 0 else SIGNALLED - code
                        anew = self.again(ended, told)
                        if anew is not None:
                            fd = os.pidfd_open(anew.pid)
                            watched[fd] = anew
                            selector.register(fd, selectors.EVENT_READ)
                        elif told != 0 and status == 0:
                            status = told
                            if not self.settings_.cuts and control is None:
                                deadline = min(deadline, time.monotonic() + GRACE_S)
            finally:
                if control is not None:
                    control.close()
                for fd in watched:
                    os.close(fd)
        return status

    def control(self, selector: selectors.BaseSelector) -> Control | None:
        if self.settings_.control is None:
            return None
        assert self.loop_ and self.loop_.stdin
        namespaces = [site.inode for site in self.sites_]
        return Control(self.settings_.control, namespaces, self.loop_.stdin, selector)

    def timed_out(self) -> int:
        say(f"timed out after {self.settings_.timeout_s:g} s")
        return TIMED_OUT

    def close(self) -> None:
        namespaces = {site.inode for site in self.sites_}

        def reap() -> None:
            for command in self.commands_:
                command.poll()

        processes.end(lambda: processes.inside(namespaces), reap=reap)
        if self.loop_ is not None:
            self.loop_.terminate()
            out, _ = self.loop_.communicate()
            if out and self.settings_.stats is not None:
                self.write_stats(json.loads(out))
        for site in self.sites_:
            site.close()
        self.sites_.clear()

    def write_stats(self, links: dict[str, Any]) -> None:
        assert self.settings_.stats
        name = self.settings_.congestion_control
        if name is None:
            with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
                name = file.read().strip()
        stats = {"sites": len(self.sites_), "congestion_control": name, "links": links}
        self.settings_.stats.write_text(json.dumps(stats, indent=1) + "\n")


def in_namespace(namespace: int) -> Callable[[], None]:
    def work() -> None:  # between fork and exec
        network.die_with_parent(signal.SIGKILL)
        network.enter(namespace)

    return work


def run_here(settings: Settings) -> int:
    """Run with the rights that this process has."""
    try:
        with SignalWatch() as watch, Emulation(settings) as emulation:
            if watch.received is not None:
                return SIGNALLED + watch.received
            emulation.start()
            return emulation.wait(watch)
    except NetworkError as error:
        say(str(error))
        return UNAVAILABLE


def run_in_user_namespace(argv: list[str]) -> int:
    """Run again, in a child that is root of a user namespace, and pass signals on to it."""

    def become_root() -> None:
        network.enter_user_namespace()
        network.die_with_parent(signal.SIGTERM)

    with SignalWatch() as watch, selectors.DefaultSelector() as selector:
        child = subprocess.Popen(
            [sys.executable, "-m", "isthmus.wan._inside", *argv], preexec_fn=become_root
        )
        pidfd = os.pidfd_open(child.pid)
        selector.register(pidfd, selectors.EVENT_READ)
        selector.register(watch, selectors.EVENT_READ)
        if pidfd not in {key.fd for key, _ in selector.select()} and watch.received is not None:
            child.send_signal(watch.received)
        code = child.wait()
        os.close(pidfd)
    return code if code >= 0 else SIGNALLED - code


def main(argv: list[str]) -> int:
    """`isthmus wan`: returns the exit status (2: bad settings, 69: no WAN here, 124: timed out)."""
    try:
        settings = parse(argv)
    except SettingsError as error:
        parser().print_usage(sys.stderr)
        say(str(error))
        return BAD_SETTINGS
    except SystemExit as asked_for_help:
        return int(asked_for_help.code or 0)
    found = support()
    if found.direct:
        return run_here(settings)
    if found.user:
        return run_in_user_namespace(argv)
    say(found.missing)
    return UNAVAILABLE
