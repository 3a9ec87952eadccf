"""What the kernel says of connections, and what is made of it."""

import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from isthmus.doctor import sockets, tcp_info
from isthmus.doctor.tcp_info import TcpInfo

ROOT = Path(__file__).parents[2]
NOTHING = tcp_info.parse(b"")


def test_fields_stand_where_linux_tcp_h_has_them() -> None:
    data = bytearray(224)
    for offset, form, value in (
        (8 + 4 * 2, "I", 1448),  # tcpi_snd_mss
        (8 + 4 * 13, "I", 1500),  # tcpi_pmtu
        (8 + 4 * 15, "I", 80_000),  # tcpi_rtt
        (8 + 4 * 23, "I", 7),  # tcpi_total_retrans
        (128, "Q", 4_000),  # tcpi_bytes_received
        (156, "I", 900),  # tcpi_data_segs_out
        (168, "Q", 2_000_000),  # tcpi_busy_time
        (176, "Q", 500_000),  # tcpi_rwnd_limited
        (184, "Q", 250_000),  # tcpi_sndbuf_limited
        (192, "I", 890),  # tcpi_delivered
        (216, "I", 2),  # tcpi_dsack_dups
    ):
        struct.pack_into(form, data, offset, value)
    assert tcp_info.parse(bytes(data)) == TcpInfo(
        segment_bytes=1448,
        path_mtu=1500,
        round_trip_s=0.08,
        retransmits=7,
        duplicates=2,
        data_segments=900,
        delivered_segments=890,
        received_bytes=4000,
        busy_s=2.0,
        receive_window_s=0.5,
        send_buffer_s=0.25,
    )


def test_a_kernel_that_tells_less_gives_zeros() -> None:
    assert NOTHING.delivered_segments == 0
    assert tcp_info.parse(bytes(104)) == NOTHING


def test_a_real_connection_tells_what_it_received() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as door,
        socket.create_connection(door.getsockname()) as one,
        door.accept()[0] as other,
    ):
        one.sendall(b"x" * 5000)
        assert len(other.recv(5000, socket.MSG_WAITALL)) == 5000
        assert tcp_info.of(other).received_bytes == 5000
        assert tcp_info.of(one).path_mtu > 1000


def test_the_best_third_counts_and_what_was_sent_in_vain_is_no_loss() -> None:
    info = replace(NOTHING, segment_bytes=1000, path_mtu=1500, round_trip_s=0.05)
    delivered = [0, 10, 20, 30, 130, 230, 330, 430, 440, 450, 460, 470, 480]
    marks = [[replace(info, delivered_segments=count, data_segments=count)] for count in delivered]
    marks[-1] = [replace(marks[-1][0], retransmits=9, duplicates=4)]
    sent = tcp_info.sent(marks, tick_s=0.1)
    assert sent.rate == pytest.approx(4 * 100 * 1000 / 0.4)
    assert sent.third_quarter_rate == pytest.approx(120 * 1000 / 0.3)
    assert sent.last_quarter_rate == pytest.approx(30 * 1000 / 0.3)
    assert (sent.segments, sent.retransmitted) == (40, 5)


def test_received_bytes_of_all_streams_add_up() -> None:
    marks = [[replace(NOTHING, received_bytes=count * t) for count in (1, 2)] for t in range(13)]
    assert tcp_info.received(marks, tick_s=0.5).rate == pytest.approx(3 / 0.5)


def test_limits_that_are_not_shown_are_linux_defaults(tmp_path: Path) -> None:
    (tmp_path / "ipv4").mkdir()
    (tmp_path / "ipv4/tcp_rmem").write_text("4096\t131072\t1000000\n")
    with socket.socket() as stream:
        kernel = tcp_info.kernel(stream, wanted_congestion="bbr", root=tmp_path)
    assert kernel.receive_buffer_bytes == 1_000_000
    assert kernel.slow_start_after_idle
    assert kernel.available_congestion == ()
    assert kernel.congestion


def test_probes_ask_for_the_send_buffer_that_the_core_asks_for() -> None:
    core = (ROOT / "csrc/net/tcp.cpp").read_text()
    assert f"send_buffer_bytes = {sockets.send_buffer_bytes >> 20} << 20;" in core
