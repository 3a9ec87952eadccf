"""epochs: the next session of a run is joined in the background while this one goes on training.

Sites that are lost leave a native session and never come back into it. Who joins the run later
waits at the coordinator, until that calls all members and all that wait to the next epoch: a whole
new native session. `Epochs` hears the call, joins, and says when that session stands; changing over
to it is for all sites at the same step boundary, and not decided here.
"""

import logging
import threading
import time
from collections.abc import Callable

from isthmus import _core, config
from isthmus.errors import Cancelled, typed
from isthmus.links import Links
from isthmus.seat import open_native
from isthmus.warm_up import warm_up

_LOOK_AGAIN = 0.25  # seconds, after which a thread that joins sees that it is not wanted any more

_log = logging.getLogger("isthmus")


def successor(
    settings: config.JoinSettings, predecessor: _core.Session, epoch: int, called: list[str]
) -> _core.Session:
    """The native session of the epoch to which these sites are called, not joined yet.

    A port that the settings name is handed over by the predecessor, which needs it no more: its
    connections stand. So is the coordinator, if this site serves."""
    if settings.listen.port != 0:
        predecessor.stop_listening()
    return open_native(settings, epoch=epoch, called=called, predecessor=predecessor)


class Epochs:
    """The epochs of one site, from that of `native` on. To be called from one thread. links: asks
    what is known of them in the current epoch.

    The coordinator hears that this site takes part, and may call it, as soon as this is made.
    """

    def __init__(
        self,
        settings: config.JoinSettings,
        native: _core.Session,
        links: Callable[[], Links | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._links = links
        self._current = native
        self._changed = threading.Condition()  # guards what follows
        self._next: _core.Session | None = None  # joined
        self._told = False  # that it is ready: others may rely on it
        self._withdrawn = False  # told so, and then that it is not
        self._follower: threading.Thread | None = None
        self._closed = False
        native.attend(changed_over=True)

    @property
    def ready(self) -> int:
        """The epoch of a session that is joined and whole, else 0; ask once a step boundary.

        What was said at one boundary binds until the next: the session is there for take(), even
        if it has lost a site by then.
        """
        self._listen()
        with self._changed:
            if self._next is None:
                return 0
            if self._next.whole and not self._withdrawn:
                self._told = True
                return self._next.epoch
            # Whoever decides at this boundary goes by what was told at the last one.
            if self._told and not self._withdrawn:
                self._withdrawn = True
            else:
                self._give_up_next()
            return 0

    def take(self) -> _core.Session:
        """The session of the epoch that was ready, now the caller's and the current one; the caller
        closes the one before."""
        with self._changed:
            if self._next is None:
                raise Cancelled("there is no next epoch to change over to")
            self._current, self._next = self._next, None
            self._told = self._withdrawn = False
            self._follower = None
            self._current.attend(changed_over=True)
            self._changed.notify_all()
            return self._current

    def wait(self, timeout: float) -> bool:
        """Whether a next epoch is ready within so many seconds. For sites that are too few to go
        on: all of them know that, so nobody goes by what was told of a next one."""
        self._listen()
        end = time.monotonic() + timeout
        with self._changed:
            while not (self._next is not None and self._next.whole):
                if self._next is not None:  # it would be in the way of the next call
                    self._give_up_next()
                left = end - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._changed.wait(min(left, _LOOK_AGAIN))
            return True

    def close(self) -> None:
        """Give up what is being joined. The current session stays as it is."""
        with self._changed:
            self._closed = True
            if self._next is not None:
                self._give_up_next()
            self._changed.notify_all()
            follower = self._follower
        if follower is not None:
            follower.join()

    def _listen(self) -> None:
        with self._changed:
            if self._follower is None and not self._closed:
                self._follower = threading.Thread(
                    target=self._follow, args=(self._current,), name="isthmus epochs"
                )
                self._follower.start()

    def _follow(self, current: _core.Session) -> None:
        """In a thread for each epoch: follow its calls, one after another."""
        epoch = current.epoch
        while self._is_current(current):
            call = current.next_call(after=epoch, timeout=_LOOK_AGAIN)
            if call is not None and self._has_room():
                epoch, called = call
                self._join(current, epoch, called)

    def _is_current(self, native: _core.Session) -> bool:
        # A program that ends waits for its threads, which must not outlive the interpreter inside a
        # native call; so they look whether it ends.
        with self._changed:
            going_on = not self._closed and threading.main_thread().is_alive()
            return going_on and self._current is native

    def _has_room(self) -> bool:
        """A session that others rely on makes way for no other."""
        with self._changed:
            if self._next is not None and not self._told:
                self._give_up_next()
            if self._next is not None:
                self._changed.wait(_LOOK_AGAIN)
            return self._next is None and not self._closed

    def _join(self, current: _core.Session, epoch: int, called: list[str]) -> None:
        native: _core.Session | None = None
        try:
            native = successor(self._settings, current, epoch, called)
            while not native.joined(_LOOK_AGAIN):
                if not self._is_current(current):
                    raise Cancelled("the session was closed")
            links = self._links()
            warm_up(
                native,
                None if links is None else links.among(native.sites),
                is_wanted=lambda: self._is_current(current),
            )
            native.attend(changed_over=False)
        except Exception as error:  # or this site could never be called again
            if native is not None:
                native.close()
            if self._is_current(current):
                why = typed(error)
                _log.warning("site %r could not join epoch %d: %s", self._settings.site, epoch, why)
                current.attend(changed_over=True, failed=epoch)
            return
        with self._changed:
            if not self._closed:
                self._next, native = native, None
                self._told = self._withdrawn = False
                self._changed.notify_all()
        if native is not None:
            native.close()

    def _give_up_next(self) -> None:
        """The others see it lost there, and the coordinator may call again."""
        native, self._next = self._next, None
        self._told = self._withdrawn = False
        if native is not None:
            self._current.attend(changed_over=True, failed=native.epoch)
            threading.Thread(target=native.close, name="isthmus closing").start()
        self._changed.notify_all()
