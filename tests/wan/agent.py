"""What the tests run in every site. Prints one JSON line: the site and what it found."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import time

SITE, SITES = int(os.environ["WAN_SITE"]), int(os.environ["WAN_SITES"])
ADDRESSES = os.environ["WAN_ADDRS"].split(",")
PORT = 7000
BLOB = random.Random(3).randbytes(2_000_000)


def listen() -> socket.socket:
    return socket.create_server((ADDRESSES[SITE], PORT), backlog=SITES)


def reach(site: int) -> socket.socket:
    """Connect from our own address, however late the other starts."""
    deadline = time.monotonic() + 20
    while True:
        try:
            mine = (ADDRESSES[SITE], 0)
            connected = socket.create_connection((ADDRESSES[site], PORT), 20, source_address=mine)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connected
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def receive(stream: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = stream.recv(size - len(parts))
        if not part:
            raise EOFError(f"{len(parts)} of {size} bytes")
        parts += part
    return bytes(parts)


def ping() -> dict[str, object]:
    """Site 0 bounces a byte off site 1: the shortest of ten round trips."""
    if SITE == 1:
        with listen() as door, door.accept()[0] as stream:
            for _ in range(10):
                stream.sendall(receive(stream, 1))
    if SITE != 0:
        return {}
    trips = []
    with reach(1) as stream:
        for _ in range(10):
            begin = time.monotonic()
            stream.sendall(b"x")
            receive(stream, 1)
            trips.append(time.monotonic() - begin)
    return {"rtt_ms": min(trips) * 1e3, "user_namespace": in_user_namespace()}


def blob() -> dict[str, object]:
    """Every site but 0 receives the blob from it, and answers when it has all."""
    if SITE == 0:
        with listen() as door:
            streams = [door.accept()[0] for _ in range(SITES - 1)]
            begin = time.monotonic()
            at = 0
            while at < len(BLOB):
                for stream in streams:
                    stream.sendall(BLOB[at : at + 65536])
                at += 65536
            for stream in streams:
                receive(stream, 1)
        seconds = time.monotonic() - begin
        return {"mbit": len(BLOB) * (SITES - 1) * 8 / seconds / 1e6}
    with reach(0) as stream:
        got = receive(stream, len(BLOB))
        stream.sendall(b".")
    return {"intact": hashlib.sha256(got).digest() == hashlib.sha256(BLOB).digest()}


def beat() -> dict[str, object]:
    """Site 1 sends a datagram every 10 ms for 3 s; site 0 tells the gaps and the last arrival."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind((ADDRESSES[SITE], PORT))
        if SITE == 1:
            for i in range(300):
                box.sendto(str(i).encode(), (ADDRESSES[0], PORT))
                time.sleep(0.01)
        if SITE != 0:
            return {}
        box.settimeout(2.5)
        got: list[int] = []
        try:
            while not got or got[-1] < 299:
                got.append(int(box.recv(100)))
        except TimeoutError:
            pass
        return {"got": got}


def inherit() -> dict[str, object]:
    return {"addresses": ADDRESSES, "sites": SITES}


def in_user_namespace() -> bool:
    """Only in the machine's own are all users there."""
    with open("/proc/self/uid_map") as file:
        return file.read().split()[2] != str(2**32 - 1)


PARTS = {"ping": ping, "blob": blob, "beat": beat, "inherit": inherit}

if __name__ == "__main__":
    told = json.dumps({"site": SITE, **PARTS[sys.argv[1]]()})
    os.write(1, f"{told}\n".encode())  # at once, as others write there too
