"""settings: of one soak, the same for all its processes, which read them from its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

SITES = tuple(f"site{i}" for i in range(4))
KEEPER = "coordinator"  # in an emulated network a site of its own, so that it can be killed alone


@dataclass(frozen=True, kw_only=True)
class Settings:
    """seed: of the order of data. compute_s: that a site rests in each step, for what an
    accelerator of its own would take. last_step: 0: until a stop is written. sample_every: steps
    between two looks at the process's memory and descriptors."""

    seed: int = 0
    codec: str = "int4"
    heartbeat_s: float = 1.0
    compute_s: float = 0.3
    rows: int = 6
    length: int = 64
    width: int = 64
    layers: int = 2
    last_step: int = 0
    sample_every: int = 5

    @property
    def tokens(self) -> int:
        """Of one site's part in a step."""
        return self.rows * self.length

    def write(self, folder: Path) -> None:
        (folder / "settings.json").write_text(json.dumps(asdict(self)))


def read(folder: Path) -> Settings:
    return Settings(**json.loads((folder / "settings.json").read_text()))


def stop_at(folder: Path, step: int) -> None:
    """All sites do this step, and no more."""
    fresh = folder / "stop.new"
    fresh.write_text(str(step))
    fresh.replace(folder / "stop")


def stop_of(folder: Path, settings: Settings) -> int | None:
    if settings.last_step:
        return settings.last_step
    try:
        return int((folder / "stop").read_text())
    except FileNotFoundError:
        return None
