"""The process of the packet loop: settings come as a JSON line, counts go out after SIGTERM.

Should the run's own process die, its end of our standard input closes, and we end what it can no
longer end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from isthmus import _core
from isthmus.wan import processes


def tally(it: _core.WanTally) -> dict[str, int]:
    return {"segments": it.segments, "bytes": it.bytes}


def as_json(counts: list[_core.WanCount]) -> dict[str, Any]:
    fates = ("sent", "delivered", "lost", "dropped", "cut", "held")
    return {
        f"{count.origin}->{count.target}": {fate: tally(getattr(count, fate)) for fate in fates}
        for count in counts
    }


def heed(orders: _core.WanOrders) -> None:
    """One order a line: a method of `orders` and its arguments."""
    for line in sys.stdin:
        order = json.loads(line)
        getattr(orders, order.pop("do"))(**order)
    os.close(END[1])


END = os.pipe()  # its reader ends when standard input does


def main() -> None:
    job = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _: told.append(signum))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    orders = _core.WanOrders()
    threading.Thread(target=heed, args=(orders,), daemon=True).start()
    print("ready", flush=True)
    counts = _core.run_wan_loop(
        [_core.WanSite(**site) for site in job["sites"]],
        [_core.WanLine(**line) for line in job["lines"]],
        [_core.WanCut(**cut) for cut in job["cuts"]],
        seed=job["seed"],
        stop=[reader, END[0]],
        orders=orders,
    )
    if told:
        print(json.dumps(as_json(counts)), flush=True)
    else:
        processes.end(lambda: processes.inside(job["namespaces"]))


if __name__ == "__main__":
    main()
