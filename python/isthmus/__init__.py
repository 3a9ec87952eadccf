"""Train one model across clouds: join the sites, register a DDP hook, run torchrun in every cloud.

    session = isthmus.join()
    hook = isthmus.register(ddp_model, session)

`import isthmus` needs NumPy alone; whatever needs torch is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from isthmus.errors import (
    Cancelled,
    InternalError,
    IsthmusError,
    PeerLost,
    Refused,
    Timeout,
    WireError,
)

if TYPE_CHECKING:
    from isthmus.config import OnLoss
    from isthmus.hook import Hook, register
    from isthmus.rejoin import Run
    from isthmus.session import Follower, Session, Work, join

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Follower",
    "Hook",
    "InternalError",
    "IsthmusError",
    "OnLoss",
    "PeerLost",
    "Refused",
    "Run",
    "Session",
    "Timeout",
    "WireError",
    "Work",
    "__version__",
    "join",
    "register",
]

_homes = {
    "join": "isthmus.session",
    "Session": "isthmus.session",
    "Follower": "isthmus.session",
    "Work": "isthmus.session",
    "OnLoss": "isthmus.config",
    "register": "isthmus.hook",
    "Hook": "isthmus.hook",
    "Run": "isthmus.rejoin",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _homes:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_homes[name]), name)
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"isthmus.{name} needs torch, which is not installed: pip install 'isthmus[torch]'",
            name="torch",
        ) from missing


def __dir__() -> list[str]:
    return sorted(__all__)
