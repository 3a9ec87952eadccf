"""Progress for a terminal (one line that moves) and for a log (a line now and then)."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from isthmus.demo.record import Step, tokens_per_s


def bar(done: int, total: int, *, width: int = 20) -> str:
    """A bar of `width` characters in eighths of one."""
    eighths = width * 8 * done // max(1, total)
    full, rest = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[rest].strip()).ljust(width, "·")


def size(count: float | None) -> str:
    """Bytes for people, in powers of ten."""
    if count is None:
        return "-"
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def status(name: str, steps: Sequence[Step], total: int) -> str:
    """One line: bar, step, loss, tokens/s, WAN bytes and time of the last step."""
    last = steps[-1]
    text = (
        f"{name:<8}{bar(last.step + 1, total)} {last.step + 1:>3}/{total}"
        f"  loss {last.loss:.3f}  {tokens_per_s(steps):4.0f} tokens/s"
        f"  step {last.step_s:.2f} s (waiting {last.communication_s:.2f} s)"
    )
    return text if last.wan_bytes is None else f"{text}  WAN {size(last.wan_bytes)}/step"


class Progress:
    """Shows one run. `update` may be called as often as one likes; `done` ends the line."""

    def __init__(self, name: str, total: int, *, out: TextIO | None = None) -> None:
        self.name_ = name
        self.total_ = total
        self.out_ = out or sys.stdout
        self.moves_ = self.out_.isatty()
        self.shown_ = -1
        self.begin_ = time.monotonic()

    def update(self, steps: Sequence[Step]) -> None:
        """Show the newest step; before the first one, how long the start takes."""
        if not steps:
            if self.moves_:
                waited = time.monotonic() - self.begin_
                self.write_(f"{self.name_:<8}{bar(0, self.total_)} starting, {waited:.0f} s")
            return
        newest = steps[-1].step
        # A log gets about ten lines a run, and always the first step and the last.
        stride = 1 if self.moves_ else max(1, self.total_ // 10)
        due = newest // stride > self.shown_ // stride or newest == self.total_ - 1
        if newest > self.shown_ and due:
            self.shown_ = newest
            self.write_(status(self.name_, steps, self.total_))

    def write_(self, text: str) -> None:
        if self.moves_:
            columns = shutil.get_terminal_size().columns
            self.out_.write("\r\x1b[K" + text[: columns - 1])
        else:
            self.out_.write(text + "\n")
        self.out_.flush()

    def done(self) -> None:
        if self.moves_ and self.shown_ >= 0:
            self.out_.write("\n")
            self.out_.flush()
