"""Splitting of offloaded packets; every checksum is verified by a computation of our own."""

from __future__ import annotations

import random
import socket
import struct

import pytest
from isthmus import _core

MSS = 1448
FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
NEEDS_CHECKSUM, TCP4 = 1, 1
OPTIONS = bytes.fromhex("0101080a0102030405060708")
SOURCE, TARGET = socket.inet_aton("198.18.0.1"), socket.inet_aton("198.18.0.2")


def ones_sum(data: bytes) -> int:
    """RFC 1071, in its plainest form."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def make(payload: bytes, *, flags: int = ACK, sequence: int = 0, mss: int = MSS) -> bytes:
    """A packet as the kernel leaves it to a device that checks and segments."""
    size = 20 + len(OPTIONS) + len(payload)
    pseudo = ones_sum(SOURCE + TARGET + struct.pack(">HH", 6, size))
    offset = (20 + len(OPTIONS)) // 4 << 4
    tcp = struct.pack(">HHIIBBHHH", 1, 2, sequence, 9, offset, flags, 512, pseudo, 0) + OPTIONS
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0xFFFE, 0x4000, 64, 6, 0) + SOURCE + TARGET
    ip = ip[:10] + struct.pack(">H", ~ones_sum(ip) & 0xFFFF) + ip[12:]
    kind = TCP4 if len(payload) > mss else 0
    vnet = struct.pack("<BBHHHH", NEEDS_CHECKSUM, kind, 52, mss if kind else 0, 20, 16)
    return vnet + ip + tcp + payload


class Piece:
    """A packet taken apart, with the checksum that the receiving kernel would see."""

    def __init__(self, packet: bytes) -> None:
        self.flags_, self.kind, _, self.mss, start, offset = struct.unpack("<BBHHHH", packet[:10])
        ip = packet[10:]
        assert struct.unpack(">H", ip[2:4])[0] == len(ip)
        assert ones_sum(ip[:20]) == 0xFFFF, "wrong checksum of the IP header"
        self.id = struct.unpack(">H", ip[4:6])[0]
        self.tcp = ip[20:]
        assert (self.flags_, start, offset) == (NEEDS_CHECKSUM, 20, 16)
        # What the device would do: sum from `start` over the pseudo header's sum in the field.
        made = ~ones_sum(ip[start:]) & 0xFFFF
        whole = self.tcp[:16] + struct.pack(">H", made) + self.tcp[18:]
        pseudo = SOURCE + TARGET + struct.pack(">HH", 6, len(whole))
        assert ones_sum(pseudo + whole) == 0xFFFF, "wrong checksum of the TCP segment"
        self.sequence = struct.unpack(">I", self.tcp[4:8])[0]
        self.flags = self.tcp[13]
        self.payload = self.tcp[20 + len(OPTIONS) :]


def pieces(packet: bytes, lost: list[int]) -> list[Piece]:
    return [Piece(piece) for piece in _core.wan_pieces(packet, lost=lost)]


PAYLOAD = random.Random(1).randbytes(10 * MSS + 7)  # eleven segments, the last one short and odd
PAYLOAD_TAIL = len(PAYLOAD) % MSS


def test_whole_packet_passes_unchanged() -> None:
    packet = make(PAYLOAD)
    assert _core.wan_pieces(packet, lost=[]) == [packet]


@pytest.mark.parametrize("lost", [[0], [10], [5], [0, 1], [3, 5], [0, 10], list(range(0, 11, 2))])
def test_all_but_the_lost_segments_survive(lost: list[int]) -> None:
    base = 2**32 - 3000  # the sequence number wraps within
    received = bytearray(len(PAYLOAD))
    for piece in pieces(make(PAYLOAD, sequence=base), lost):
        at = (piece.sequence - base) % 2**32
        received[at : at + len(piece.payload)] = piece.payload
        assert piece.id == (0xFFFE + at // MSS) % 2**16
    expected = bytearray(PAYLOAD)
    for i in lost:
        expected[i * MSS : (i + 1) * MSS] = bytes(len(expected[i * MSS : (i + 1) * MSS]))
    assert received == expected


def test_single_segment_is_no_longer_offloaded_and_longer_runs_are() -> None:
    kinds = [(len(p.payload), p.kind, p.mss) for p in pieces(make(PAYLOAD), [1, 5])]
    assert kinds == [(MSS, 0, 0), (3 * MSS, TCP4, MSS), (4 * MSS + PAYLOAD_TAIL, TCP4, MSS)]


def test_flags_of_the_first_and_the_last_segment_stay_with_them() -> None:
    packet = make(PAYLOAD, flags=ACK | FIN | PSH | CWR)
    flags = [piece.flags for piece in pieces(packet, [3, 7])]
    assert flags == [ACK | CWR, ACK, ACK | FIN | PSH]


def test_nothing_is_left_when_all_is_lost() -> None:
    assert _core.wan_pieces(make(PAYLOAD), lost=list(range(11))) == []
    assert _core.wan_pieces(make(b"x"), lost=[0]) == []


def test_wire_bytes_count_the_headers_of_every_segment() -> None:
    packet = make(PAYLOAD)
    shape = _core.wan_shape(packet)
    headers = 11 * (20 + 20 + len(OPTIONS))
    assert shape == {
        "target": int.from_bytes(TARGET, "big"),
        "segments": 11,
        "wire_bytes": len(PAYLOAD) + headers,
    }


def test_small_packet_is_one_segment_of_its_own_size() -> None:
    shape = _core.wan_shape(make(b"abc"))
    assert shape is not None
    assert (shape["segments"], shape["wire_bytes"]) == (1, 20 + 20 + len(OPTIONS) + 3)


def test_what_is_no_ipv4_has_no_shape() -> None:
    packet = make(PAYLOAD)
    for other in (
        b"",
        packet[:29],
        packet[:10] + b"\x65" + packet[11:],
        packet[:10] + b"\x44" * 30,
    ):
        assert _core.wan_shape(other) is None


def test_lengths_that_lie_are_never_believed() -> None:
    packet = make(PAYLOAD)
    rng = random.Random(2)
    for _ in range(5000):
        bad = bytearray(packet[: rng.choice((len(packet), 62, 50, 41, 31))])
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(min(len(bad), 60))] = rng.randrange(256)
        shape = _core.wan_shape(bytes(bad))
        if shape is None or shape["segments"] == 1:
            continue
        left = _core.wan_pieces(bytes(bad), lost=[0])
        assert all(len(piece) < len(bad) for piece in left)


def test_lost_segments_that_are_not_there_are_refused() -> None:
    for lost in ([11], [3, 3], [4, 2]):
        with pytest.raises(ValueError, match="lost segments"):
            _core.wan_pieces(make(PAYLOAD), lost=lost)
