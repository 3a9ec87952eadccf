"""follower: what `join` gives to the ranks of a site that do not speak for it."""

from types import TracebackType
from typing import Any

from isthmus.config import JoinSettings
from isthmus.errors import Refused


class Follower:
    """For ranks other than the site's rank 0. Its WAN operations are refused.

    `register` fills in the site's name and rank. At the gateways of rails 1, 2 … it also joins the
    rail, which carries their part of the gradients.
    """

    def __init__(self, rails: int = 1, gateway: JoinSettings | None = None) -> None:
        self.rails = rails
        self.gateway = gateway  # how this rank joins its rail; None: it is on none
        self.opened: Any = None  # the rail's Session, once it is joined
        self.site: str | None = None
        self.sites: tuple[str, ...] = ()
        self.rank: int | None = None
        self.timeout: float | None = None

    @property
    def world_size(self) -> int:
        return len(self.sites)

    def close(self) -> None:
        """Leave the rail, if this rank is on one. Closing twice is fine."""
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()

    def __getattr__(self, name: str) -> Any:
        if name in ("all_reduce", "broadcast", "all_gather", "barrier", "stats", "generation"):
            raise Refused(f"this rank has no WAN operations: {name} is for rank 0 of the site")
        raise AttributeError(f"'Follower' object has no attribute {name!r}")

    def __enter__(self) -> "Follower":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<isthmus.Follower of site {self.site!r}>"
