"""One site of a run in which some sites cannot connect: joins, reduces, tells what it saw.

ELEMENTS REPEATS [SCHEDULE [LINKS]]: links are "measured", or told as "MBIT:RTT_MS", all alike;
plans go by them.
"""

import json
import os
import sys
import time
from dataclasses import asdict

import isthmus
import numpy as np
from isthmus.links import even_links

ELEMENTS, REPEATS = int(sys.argv[1]), int(sys.argv[2])
SCHEDULE, LINKS = (*sys.argv[3:], *("direct", "")[len(sys.argv) - 3 :])
me = int(os.environ["WAN_SITE"])
told: dict[str, object] = {"site": me}
try:
    session = isthmus.join(measure=False, timeout=30.0)
    assert isinstance(session, isthmus.Session)
    world = session.world_size
    if LINKS == "measured":
        session.measure()
    elif LINKS:
        mbit, rtt_ms = (float(number) for number in LINKS.split(":"))
        session.set_links(even_links(session.sites, mbit=mbit, rtt_s=rtt_ms / 1e3))
    if session.links is not None:
        told["plan"] = asdict(session.links.plan(ELEMENTS, schedule=SCHEDULE))
    seconds = []
    for repeat in range(REPEATS):
        x = np.full(ELEMENTS, me + 1.0 + repeat, np.float32)
        session.barrier()
        begin = time.monotonic()
        session.all_reduce(x, op="sum", schedule=SCHEDULE).wait()
        seconds.append(time.monotonic() - begin)
        assert (x == world * (world + 1) / 2 + world * repeat).all()
    stats = session.stats()
    told |= {
        "relayed": [[*pair, by] for pair, by in session.relayed.items()],
        "ways": {name: link["by_way_of"] for name, link in stats["links"].items()},
        "relayed_bytes": stats["relayed_bytes"],
        "text": str(stats),
        "seconds": seconds,
    }
    session.close()
except isthmus.IsthmusError as error:
    told |= {"error": type(error).__name__, "text": str(error)}
print(json.dumps(told), flush=True)
