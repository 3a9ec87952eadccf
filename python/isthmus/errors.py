"""One exception per Status code of the native core.

The native module raises through `make`, so what a user catches is made here and nowhere else.
"""


class IsthmusError(Exception):
    """Whatever isthmus reports. `peer` is the site that it is about, or None."""

    code = "internal_error"

    def __init__(self, text: str = "", peer: str | None = None) -> None:
        super().__init__(text)
        self.peer = peer


class Timeout(IsthmusError, TimeoutError):
    """A deadline passed. An operation that is in flight goes on until its own deadline."""

    code = "timeout"


class PeerLost(IsthmusError, ConnectionError):
    """A site is gone: its process ended, its network was cut, or it fell silent."""

    code = "peer_lost"


class Refused(IsthmusError, ValueError):
    """What was asked cannot be done as it was asked: a bad argument, or sites that disagree."""

    code = "refused"


class WireError(IsthmusError, ConnectionError):
    """A peer sent bytes that are not isthmus, or not what was expected."""

    code = "wire_error"


class Cancelled(IsthmusError):
    """The session was closed while the operation was in flight, or before it began."""

    code = "cancelled"


class InternalError(IsthmusError, RuntimeError):
    """A mistake in isthmus; please report it."""

    code = "internal_error"


# The names are those of csrc/base/status.hpp.
by_code: dict[str, type[IsthmusError]] = {
    "timeout": Timeout,
    "peer_lost": PeerLost,
    "refused": Refused,
    "wire_error": WireError,
    "cancelled": Cancelled,
    "internal_error": InternalError,
}


def make(code: str, text: str, peer: str | None = None) -> IsthmusError:
    """The exception for a Status; a code that is not in the table is itself a mistake of ours."""
    kind = by_code.get(code)
    if kind is None:
        return InternalError(f"{text} (unknown status code {code!r})", peer)
    return kind(text, peer)


def typed(error: Exception) -> IsthmusError:
    """The error itself if it is one of ours; otherwise one that was not foreseen."""
    if isinstance(error, IsthmusError):
        return error
    made = InternalError(f"{type(error).__name__}: {error}")
    made.__cause__ = error
    return made
