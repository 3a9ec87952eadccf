"""memory: large arrays that come straight from the system and go back to it, and how much of it
this process can still have."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_cgroup = Path("/sys/fs/cgroup")


def fresh(elements: int, dtype: DTypeLike) -> NDArray[Any]:
    """Zeros, flat; they take no memory before they are written to. What numpy and torch free goes
    back to malloc, which keeps the more the larger the arrays are that it has seen
    (docs/decisions/0018-memory-goes-back.md)."""
    size = elements * np.dtype(dtype).itemsize
    if size == 0:
        return np.zeros(0, dtype)
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype)


def available_bytes(meminfo: Path = Path("/proc/meminfo"), group: Path = _cgroup) -> int | None:
    """Of the machine, or of the process's control group if that has less; None: not known."""
    known = [n for n in (_of_machine(meminfo), _of_group(group)) if n is not None]
    return min(known, default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
        [kib] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(kib) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _of_group(group: Path) -> int | None:
    try:
        most, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, most - used + _cached(group))
    except (OSError, ValueError):  # "max": there is no limit
        return None


def _cached(group: Path) -> int:
    """Of what the group uses: pages of files that it has read, which the kernel gives up."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
        [count] = [line.split()[1] for line in lines if line.startswith("inactive_file ")]
        return int(count)
    except (OSError, ValueError, IndexError):
        return 0
