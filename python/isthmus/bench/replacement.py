"""One site of the rejoin bench: it trains, and notes when what was done.

Arguments: rendezvous, site, number of sites, file of notes, megabytes of state, when it was begun.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    import torch._dynamo  # what the optimizer loads when it is first made
    from torch import distributed

    import isthmus.rejoin

    imported = time.time()
    rendezvous, site, sites, path, megabytes, started = argv
    import hashlib
    import json
    import math
    from dataclasses import asdict

    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    width = max(1, math.isqrt(int(float(megabytes) * 1e6 / 12 / 4)))
    layers = [nn.Linear(width, width) for _ in range(4)]
    model = DistributedDataParallel(nn.Sequential(*layers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    built = time.time()
    session = isthmus.join(
        rendezvous, site, int(sites), listen="127.0.0.1:0", on_loss="continue", measure=False
    )
    joined = time.time()
    isthmus.register(model, session, codec="int4")
    run = isthmus.Run(session, model=model, optimizer=optimizer)
    with open(path, "w", buffering=1) as notes:
        for step in run.steps(sys.maxsize):
            if not notes.tell():
                times = {"started": float(started), "imported": imported, "built": built}
                print(json.dumps({**times, "joined": joined, "taken": time.time()}), file=notes)
            model(torch.ones(1, width)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            at = time.time()
            sha = hashlib.blake2b(digest_size=8)
            for parameter in model.parameters():
                sha.update(parameter.detach().numpy().data)
            pause = asdict(run.pauses[-1]) if run.pauses else None
            said = {"step": step, "at": at, "hash": sha.hexdigest(), "pause": pause}
            print(json.dumps(said), file=notes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
