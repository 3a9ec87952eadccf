"""The launcher of one site: what a user would type in that cloud, as one torchrun.

Runs inside the site's namespace (or on loopback), where WAN_SITE, WAN_SITES and WAN_ADDRS say
which site it is and where the others are. Becomes torchrun, with the site's log as its output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from isthmus.demo import topology


def torchrun(site: int, *, plain: bool, addresses: Sequence[str], port: int) -> list[str]:
    """The torchrun line of a site: its own world, or its part of one plain world."""
    ranks = topology.SITES[site].ranks
    line = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    if not plain:
        return [*line, "--standalone"]
    return [
        *line,
        f"--nnodes={len(topology.SITES)}",
        f"--node-rank={site}",
        f"--master-addr={addresses[0]}",
        f"--master-port={port}",
    ]


def environment(site: int, *, plain: bool, addresses: Sequence[str], port: int) -> dict[str, str]:
    """What the site's ranks find in their environment."""
    loopback = addresses[0].startswith("127.")
    settings = {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "GLOO_SOCKET_IFNAME": "tun0" if plain and not loopback else "lo",
    }
    if not plain:
        settings |= {
            "ISTHMUS_RENDEZVOUS": f"{addresses[0]}:{port}",
            "ISTHMUS_SITE": topology.SITES[site].name,
            "ISTHMUS_SITES": str(len(addresses)),
            "ISTHMUS_SERVE": "1" if site == 0 else "0",
            "ISTHMUS_LISTEN": f"{addresses[site]}:0",
        }
    return settings


def main() -> None:
    """FOLDER PORT plain|isthmus TRAIN-ARGUMENTS…"""
    folder, port, mode, *arguments = sys.argv[1:]
    site = int(os.environ["WAN_SITE"])
    addresses = os.environ["WAN_ADDRS"].split(",")
    plain = mode == "plain"
    log = os.open(topology.log_file(Path(folder), site), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment(site, plain=plain, addresses=addresses, port=int(port)))
    line = torchrun(site, plain=plain, addresses=addresses, port=int(port))
    line += ["-m", "isthmus.demo.train", *arguments, *(["--plain"] if plain else [])]
    os.execv(line[0], line)


if __name__ == "__main__":
    main()
