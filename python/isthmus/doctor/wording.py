"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def mbit(rate: float | None) -> str:
    """Of bytes a second."""
    if rate is None:
        return "?"
    value = rate * 8 / 1e6
    return f"{value / 1000:.1f} Gbit/s" if value >= 10_000 else f"{short_mbit(rate)} Mbit/s"


def short_mbit(rate: float | None) -> str:
    """The same without a unit, for tables."""
    if rate is None:
        return "?"
    value = rate * 8 / 1e6
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 99.5 else f"{value:.1f} ms"


def duration(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes, in powers of ten."""
    for unit in ("B", "KB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def binary(count: float) -> str:
    """Bytes of a buffer, in powers of two."""
    return f"{count / 2**20:.3g} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def percent(share: float) -> str:
    return f"{share * 100:.2g} %"


def count(number: float) -> str:
    """Parameters of a model."""
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.0f}"


def names(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
