"""chaos: faults that read as sentences, for tests: docs/chaos.md.

    Injector(world, [kill("gcp").at(step=12), cut("aws", "gcp").for_seconds(20)])

The same faults work on real processes (Emulated: the sites of `isthmus wan`; Loopback: processes of
one's own) and, as `troubles`, in the simulator.
"""

from isthmus.chaos.faults import Fault, corrupt, cut, freeze, kill, slow
from isthmus.chaos.injector import Injector, World
from isthmus.chaos.simulated import troubles
from isthmus.chaos.worlds import Emulated, Loopback

__all__ = [
    "Emulated",
    "Fault",
    "Injector",
    "Loopback",
    "World",
    "corrupt",
    "cut",
    "freeze",
    "kill",
    "slow",
    "troubles",
]
