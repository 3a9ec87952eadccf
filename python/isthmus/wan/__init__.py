"""A wide-area network between sites, emulated on one Linux machine with the kernel's own TCP.

Every site is a network namespace with one TUN device; the native packet loop carries packets
between them through rates, queues, delays, losses and cuts. `main` is `isthmus wan`; `why_not` says
whether this machine can do it.
"""

from isthmus.wan.run import main
from isthmus.wan.support import why_not

__all__ = ["main", "why_not"]
