"""Whole sites in the simulator, drawn by seeds: one again, or many of them on all cores."""

from isthmus.simulation.command import main

__all__ = ["main"]
