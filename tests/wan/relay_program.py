"""One site of a run in which some sites cannot connect: joins, reduces, tells what it saw."""

import json
import os
import sys
import time

import isthmus
import numpy as np

ELEMENTS, REPEATS = int(sys.argv[1]), int(sys.argv[2])
me = int(os.environ["WAN_SITE"])
told: dict[str, object] = {"site": me}
try:
    session = isthmus.join(measure=False, timeout=30.0)
    assert isinstance(session, isthmus.Session)
    world = session.world_size
    seconds = []
    for repeat in range(REPEATS):
        x = np.full(ELEMENTS, me + 1.0 + repeat, np.float32)
        session.barrier()
        begin = time.monotonic()
        session.all_reduce(x, op="sum", schedule="direct").wait()
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
