"""bench: microbenchmarks, each beside its floor and its peers: `isthmus bench`, docs/bench.md."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one bench or all of them; returns the exit status."""
    from isthmus.bench.command import main as run

    return run(argv)
