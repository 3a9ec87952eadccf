"""What the kernel tells of a TCP connection: TCP_INFO, and the limits under /proc/sys/net."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.doctor.measurements import Kernel, Receiving, Sending

# struct tcp_info of linux/tcp.h up to tcpi_reord_seen; an older kernel gives fewer bytes.
_layout = struct.Struct("8B24I4Q6I4Q2I2Q2I")


@dataclass(frozen=True, kw_only=True)
class TcpInfo:
    """One moment of one connection; counts are since it was opened."""

    segment_bytes: int  # of payload, as sent
    path_mtu: int
    round_trip_s: float
    retransmits: int
    duplicates: int  # retransmissions that the peer had no need of
    data_segments: int
    delivered_segments: int  # acknowledged, also out of order
    received_bytes: int  # in order
    busy_s: float
    receive_window_s: float
    send_buffer_s: float


def parse(data: bytes) -> TcpInfo:
    """Whatever the kernel gave no bytes for is 0."""
    values = _layout.unpack(data[: _layout.size].ljust(_layout.size, b"\0"))
    words, longs = values[8:32], values[32:]
    return TcpInfo(
        segment_bytes=words[2],
        path_mtu=words[13],
        round_trip_s=words[15] / 1e6,
        retransmits=words[23],
        data_segments=longs[9],
        delivered_segments=longs[14],
        received_bytes=longs[3],
        busy_s=longs[11] / 1e6,
        receive_window_s=longs[12] / 1e6,
        send_buffer_s=longs[13] / 1e6,
        duplicates=longs[18],
    )


def of(stream: socket.socket) -> TcpInfo:
    return parse(stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _layout.size))


def congestion_of(stream: socket.socket) -> str:
    name = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0").decode("ascii", "replace")


def sent(marks: Sequence[Sequence[TcpInfo]], *, tick_s: float) -> Sending:
    """What several connections sent, from looking at them all every `tick_s`."""
    begin, end = marks[-1 - third(marks)], marks[-1]
    count = len(end)

    def grown(name: str) -> float:
        both = zip(begin, end, strict=True)
        return float(sum(getattr(after, name) - getattr(before, name) for before, after in both))

    delivered = [sum(info.delivered_segments * info.segment_bytes for info in at) for at in marks]
    return Sending(
        rate=best_rate(delivered, tick_s),
        third_quarter_rate=quarter_rate(delivered, tick_s, 2),
        last_quarter_rate=quarter_rate(delivered, tick_s, 3),
        segments=int(grown("data_segments")),
        retransmitted=max(0, int(grown("retransmits") - grown("duplicates"))),
        busy_s=grown("busy_s") / count,
        send_buffer_s=grown("send_buffer_s") / count,
        receive_window_s=grown("receive_window_s") / count,
        round_trip_s=sum(info.round_trip_s for info in end) / count,
        segment_bytes=min(info.segment_bytes for info in end),
        path_mtu=min(info.path_mtu for info in end),
    )


def received(marks: Sequence[Sequence[TcpInfo]], *, tick_s: float) -> Receiving:
    """What several connections brought, from looking at them all every `tick_s`."""
    totals = [sum(info.received_bytes for info in at) for at in marks]
    return Receiving(
        rate=best_rate(totals, tick_s),
        third_quarter_rate=quarter_rate(totals, tick_s, 2),
        last_quarter_rate=quarter_rate(totals, tick_s, 3),
    )


def third(marks: Sequence[object]) -> int:
    """Of the time between the first and the last mark, in ticks."""
    return max(1, (len(marks) - 1) // 3)


def quarter_rate(totals: Sequence[int], tick_s: float, quarter: int) -> float:
    """Of quarter 0, 1, 2 or 3."""
    ticks = len(totals) - 1
    begin, end = ticks * quarter // 4, ticks * (quarter + 1) // 4
    return (totals[end] - totals[begin]) / (max(1, end - begin) * tick_s)


def best_rate(totals: Sequence[int], tick_s: float) -> float:
    """Of the best third."""
    ticks = third(totals)
    grown = (after - before for before, after in zip(totals, totals[ticks:], strict=False))
    return max(grown) / (ticks * tick_s)


def kernel(
    stream: socket.socket, *, wanted_congestion: str, root: Path = Path("/proc/sys/net")
) -> Kernel:
    """This machine's limits; `stream` is tuned, and says what the kernel made of that.

    What a network namespace does not show is taken for Linux's default.
    """

    def words(name: str, default: str) -> list[str]:
        try:
            return (root / name).read_text().split() or default.split()
        except OSError:
            return default.split()

    return Kernel(
        congestion=congestion_of(stream),
        wanted_congestion=wanted_congestion,
        available_congestion=tuple(words("ipv4/tcp_available_congestion_control", "")),
        # The kernel doubles what it grants, for its own bookkeeping.
        send_buffer_bytes=stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2,
        receive_buffer_bytes=int(words("ipv4/tcp_rmem", "4096 131072 6291456")[-1]),
        slow_start_after_idle=words("ipv4/tcp_slow_start_after_idle", "1")[0] != "0",
    )
