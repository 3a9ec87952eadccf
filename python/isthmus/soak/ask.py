"""ask: stands in a site's place while a copy of the standby is the site, and ends as it ends.

    python -I -S ask.py SOCKET ARGUMENT...

It gives the standby its network namespace and its standard error. Imports nothing that takes time:
every start of a site waits for it.
"""

import os
import socket
import sys
import time

PATIENCE_S = 120.0  # the standby still imports


def main() -> int:
    end = time.monotonic() + PATIENCE_S
    while True:
        standby = socket.socket(socket.AF_UNIX)
        try:
            standby.connect(sys.argv[1])
            break
        except OSError:
            standby.close()
            if time.monotonic() > end:
                return 1
            time.sleep(0.02)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    arguments = "\0".join(sys.argv[2:]).encode()
    socket.send_fds(standby, [arguments], [namespace, sys.stderr.fileno()])
    status = standby.recv(1)
    return status[0] if status else 1


if __name__ == "__main__":
    sys.exit(main())
