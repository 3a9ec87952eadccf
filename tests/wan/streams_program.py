"""One site of a run whose links need more streams than they are joined with: tells what it has.

CONGESTION: it does not measure, and uses that congestion control.
"""

import json
import os
import sys

import isthmus
import numpy as np

me = int(os.environ["WAN_SITE"])
congestion = sys.argv[1] if sys.argv[1:] else None
session = isthmus.join(measure=congestion is None, congestion=congestion, timeout=30.0)
assert isinstance(session, isthmus.Session)
x = np.full(1_000_000, me + 1.0, np.float32)
session.all_reduce(x, op="sum").wait()
links = session.stats()["links"]
session.barrier()
session.close()
right = bool((x == session.world_size * (session.world_size + 1) / 2).all())
told = {
    "site": me,
    "right": right,
    "streams": [link["streams"] for link in links.values()],
    "windows": [link["congestion_bytes"] for link in links.values()],
}
print(json.dumps(told), flush=True)
