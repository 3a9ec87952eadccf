"""Run: the training loop's step boundary, where sites come in."""

from isthmus.rejoin.run import Run

__all__ = ["Run"]
