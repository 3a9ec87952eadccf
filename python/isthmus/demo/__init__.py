"""`isthmus demo`: a language model trained across three emulated clouds, against plain gloo DDP."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status. Needs the extras: pip install 'isthmus[demo]'."""
    from isthmus.demo.run import main as run

    return run(argv)
