"""Who takes part in the demo: the sites, their ranks, and where each finds its files.

Everything here is a plain value, so that the orchestration, the launcher of a site and the
training script agree without talking to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Site:
    """One cloud of the demo."""

    name: str
    ranks: int


SITES = (Site(name="aws", ranks=2), Site(name="gcp", ranks=1), Site(name="azure", ranks=1))
WORLD = sum(site.ranks for site in SITES)


def seat(site: int, local_rank: int) -> int:
    """The rank's place among all ranks of all sites, which is also its rank in one plain world."""
    return sum(s.ranks for s in SITES[:site]) + local_rank


def records_file(folder: Path, site: int, local_rank: int) -> Path:
    """Where a rank writes one JSON line a step."""
    return folder / f"{SITES[site].name}-{local_rank}.jsonl"


def log_file(folder: Path, site: int) -> Path:
    """Where a site's processes write what they have to say."""
    return folder / f"{SITES[site].name}.log"


def tokens_file(data: Path, site: int, local_rank: int) -> Path:
    """The rank's own shard of the text, as uint16 tokens."""
    return data / f"{SITES[site].name}-{local_rank}.npy"


def digests_file(folder: Path) -> Path:
    """What every rank of every site holds at the end: {"aws": ["sha256…", …], …}."""
    return folder / "parameters.json"
