"""A site of `isthmus bench kills`: reduces its numbers again and again, and notes each step's end.

    python -m isthmus.bench.survivor FOLDER BYTES HEARTBEAT

Who it is and where the others are, its environment says (config.py). Started by kills.py.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.session import Session, join

BUCKETS = 4  # of a step, in flight together


def main() -> None:
    folder, step_bytes, heartbeat = sys.argv[1:]
    session = join(on_loss="continue", heartbeat=float(heartbeat), measure=False)
    assert isinstance(session, Session)
    elements = int(step_bytes) // (4 * BUCKETS)
    numbers = np.random.default_rng(session.rank).standard_normal((BUCKETS, elements), np.float32)
    with Path(folder, f"{session.site}.jsonl").open("w", buffering=1) as notes:
        for step in itertools.count():
            buckets = numbers + np.float32(step)
            try:
                works = [session.all_reduce(bucket) for bucket in buckets]
                for work in works:
                    work.wait()
            except IsthmusError as error:
                print(json.dumps({"step": step, "error": str(error)}), file=notes)
                return
            end = time.monotonic()
            said = {
                "step": step,
                "end": end,
                "contributors": [work.contributors for work in works],
                "digest": hashlib.blake2b(buckets.data, digest_size=16).hexdigest(),
            }
            print(json.dumps(said), file=notes)


if __name__ == "__main__":
    main()
