"""What the benches' command lines have in common: where results go, and what must be installed."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from isthmus import wan
from isthmus.bench.rows import Ledger
from isthmus.errors import Refused

UNAVAILABLE = 69  # as isthmus wan ends where no WAN can be emulated
DEFAULT_OUT = Path("bench-out")
TREE_RESULTS = Path("bench/results")


def parser(bench: str, manual: str | None) -> argparse.ArgumentParser:
    """With the options that every bench has."""
    it = argparse.ArgumentParser(
        prog=f"isthmus bench {bench}",
        description=manual,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = it.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help=f"folder of results (default {DEFAULT_OUT})"
    )
    where.add_argument(
        "--save", action="store_true", help=f"results go to {TREE_RESULTS}, in the source tree"
    )
    it.add_argument(
        "--resume", action="store_true", help="leave out what this command measured today"
    )
    return it


def folder(options: argparse.Namespace) -> Path:
    """Where the results go. Refused if --save is given outside the source tree."""
    if not options.save:
        return Path(options.out)
    if not TREE_RESULTS.is_dir():
        raise Refused(f"--save: no folder {TREE_RESULTS} here; run it at the source tree's root")
    return TREE_RESULTS


def ledger(bench: str, options: argparse.Namespace, argv: Sequence[str]) -> Ledger:
    """The bench's results. A run and its resumption have the same command."""
    words = [word for word in argv if word != "--resume"]
    command = shlex.join(["isthmus", "bench", bench, *words])
    return Ledger(folder(options), bench, command=command, resume=options.resume)


def require(bench: str, *modules: str) -> None:
    """Refused if one is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(
            f"isthmus bench {bench} needs {', '.join(missing)}: pip install 'isthmus[bench]'"
        )


def can_emulate(bench: str) -> bool:
    """Whether a WAN can be emulated here; if not, say why."""
    reason = wan.why_not()
    if reason is not None:
        print(f"isthmus bench {bench}: no WAN can be emulated here: {reason}", file=sys.stderr)
    return reason is None
