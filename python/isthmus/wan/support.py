"""Whether, and how, this machine can emulate a WAN. Found out by trying."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Support:
    """`direct`: with the rights that we have; `user`: as root of a user namespace.

    Where neither works, `missing` says why.
    """

    direct: bool
    user: bool
    missing: str


@functools.cache
def support() -> Support:
    """Tried once, in a process of its own, which takes all that it made along."""
    if not sys.platform.startswith("linux"):
        return Support(direct=False, user=False, missing="the emulated WAN needs Linux")
    command = [sys.executable, "-m", "isthmus.wan._probe"]
    probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return Support(direct=False, user=False, missing=f"the probe failed: {probe.stderr}")
    found = json.loads(probe.stdout)
    as_we_are, as_root = found["direct"], found["user"]
    return Support(
        direct=as_we_are is None,
        user=as_root is None,
        missing=f"no emulated WAN here: with this user's rights {as_we_are}; "
        f"in a user namespace {as_root}",
    )


def why_not() -> str | None:
    """None where the WAN can be emulated; else a sentence that says what is missing."""
    found = support()
    return None if found.direct or found.user else found.missing
