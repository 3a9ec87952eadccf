"""`isthmus doctor`: what links between sites carry, what limits them, what to change."""

from isthmus.doctor.run import main

__all__ = ["main"]
