"""The DDP hook: `register` and what it returns."""

from isthmus.hook.hook import Hook
from isthmus.hook.registration import register

__all__ = ["Hook", "register"]
