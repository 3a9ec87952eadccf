"""Faults as sentences: `kill("gcp").at(step=12)`, `cut("aws", "gcp").for_seconds(20)`."""

from dataclasses import dataclass, replace

from isthmus.errors import Refused


@dataclass(frozen=True, kw_only=True)
class Fault:
    """kind: of `kill`, `freeze`, `cut`, `slow`, `corrupt`. other: the far end; empty: all others.

    at_step, at_seconds: when; neither: at the beginning. seconds: how long; None: for good.
    """

    kind: str
    site: str
    other: str = ""
    factor: float = 1.0
    at_step: int | None = None
    at_seconds: float | None = None
    seconds: float | None = None

    def at(self, *, step: int | None = None, seconds: float | None = None) -> "Fault":
        """When a step of this number has begun, or so long after the beginning."""
        if (step is None) == (seconds is None):
            raise Refused(f"{self}: at() takes step= or seconds=, one of them")
        when = step if seconds is None else seconds
        if when is not None and not when >= 0:
            raise Refused(f"{self}: it cannot be at {when!r}")
        return replace(self, at_step=step, at_seconds=seconds)

    def for_seconds(self, seconds: float) -> "Fault":
        if self.kind in ("kill", "corrupt"):
            raise Refused(f"{self}: that lasts no time, so leave for_seconds() out")
        if not 0 < seconds < float("inf"):
            raise Refused(f"{self}: it cannot last {seconds!r} seconds")
        return replace(self, seconds=float(seconds))

    def __str__(self) -> str:
        words = [self.kind, self.site]
        if self.other:
            words += ["to" if self.kind == "corrupt" else "from", self.other]
        if self.kind == "slow":
            words.append(f"{self.factor:g} times")
        if self.at_step is not None:
            words.append(f"at step {self.at_step}")
        if self.at_seconds is not None:
            words.append(f"after {self.at_seconds:g} s")
        if self.seconds is not None:
            words.append(f"for {self.seconds:g} s")
        return " ".join(words)


def kill(site: str) -> Fault:
    """SIGKILL to all processes of the site."""
    return Fault(kind="kill", site=site)


def freeze(site: str) -> Fault:
    """All its processes stand still; its kernel does not."""
    return Fault(kind="freeze", site=site)


def cut(site: str, other: str = "") -> Fault:
    """Nothing passes between the two, or between the site and any other; nobody is told."""
    return Fault(kind="cut", site=site, other=_different(site, other))


def slow(site: str, factor: float = 4.0) -> Fault:
    """Its network carries so many times less, and takes as much longer."""
    if not 1 <= factor < 1e6:
        raise Refused(f"slow {site}: factor is {factor!r}; expected a number, 1 or more")
    return Fault(kind="slow", site=site, factor=float(factor))


def corrupt(site: str, other: str = "") -> Fault:
    """A byte that the site sends to the other arrives changed, once."""
    return Fault(kind="corrupt", site=site, other=_different(site, other))


def _different(site: str, other: str) -> str:
    if site == other:
        raise Refused(f"site {site!r} has no link to itself")
    return other
