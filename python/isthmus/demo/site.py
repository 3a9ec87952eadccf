"""The launcher of one site: what a user would type in that cloud, as one torchrun.

Runs inside the site's namespace (or on loopback), where WAN_SITE, WAN_SITES and WAN_ADDRS say
which site it is and where the others are. Becomes torchrun, with the site's log as its output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus.demo import topology


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a site runs. `together`: its ranks are a part of one torch world of all sites; else
    the site is a world of its own. The ports are the first site's: torch's (where there is one
    world), and isthmus's."""

    program: str
    arguments: Sequence[str]
    together: bool
    torch_port: int
    isthmus_port: int

    def line(self, folder: Path) -> list[str]:
        """How this module is called."""
        return [sys.executable, "-m", "isthmus.demo.site", str(folder), json.dumps(asdict(self))]


def torchrun(site: int, launch: Launch, addresses: Sequence[str]) -> list[str]:
    """The torchrun line of a site: its own world, or its part of one plain world."""
    ranks = topology.SITES[site].ranks
    line = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    if launch.together:
        line += [
            f"--nnodes={len(topology.SITES)}",
            f"--node-rank={site}",
            f"--master-addr={addresses[0]}",
            f"--master-port={launch.torch_port}",
        ]
    else:
        line += ["--standalone"]
    return [*line, "-m", launch.program, *launch.arguments]


def environment(site: int, launch: Launch, addresses: Sequence[str]) -> dict[str, str]:
    """What the site's ranks find in their environment."""
    loopback = addresses[0].startswith("127.")
    return {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "GLOO_SOCKET_IFNAME": "tun0" if launch.together and not loopback else "lo",
        "ISTHMUS_RENDEZVOUS": f"{addresses[0]}:{launch.isthmus_port}",
        "ISTHMUS_SITE": topology.SITES[site].name,
        "ISTHMUS_SITES": str(len(addresses)),
        "ISTHMUS_SERVE": "1" if site == 0 else "0",
        "ISTHMUS_LISTEN": f"{addresses[site]}:0",
    }


def main() -> None:
    """FOLDER LAUNCH, the latter as Launch.line() writes it."""
    folder, launch = Path(sys.argv[1]), Launch(**json.loads(sys.argv[2]))
    site = int(os.environ["WAN_SITE"])
    addresses = os.environ["WAN_ADDRS"].split(",")
    log = os.open(topology.log_file(folder, site), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment(site, launch, addresses))
    line = torchrun(site, launch, addresses)
    os.execv(line[0], line)


if __name__ == "__main__":
    main()
