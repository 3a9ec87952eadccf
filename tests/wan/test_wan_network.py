"""The emulated network as programs see it: round trips, rates, loss, cuts and statistics."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from emulated import Wan

pytestmark = pytest.mark.wan
FATES = ("delivered", "lost", "dropped", "cut", "held")
SLACK = 1.05  # the wire counts headers and the sender's last window is in flight: never more


def total(links: dict[str, dict[str, dict[str, int]]], fate: str, unit: str = "segments") -> int:
    return sum(link[fate][unit] for link in links.values())


def assert_adds_up(links: dict[str, dict[str, dict[str, int]]]) -> None:
    for name, link in links.items():
        for unit in ("segments", "bytes"):
            assert link["sent"][unit] == sum(link[fate][unit] for fate in FATES), (name, unit)


@pytest.mark.parametrize("rtt_ms", [5, 60])
def test_round_trip_is_not_shorter_than_asked(wan: Wan, rtt_ms: int) -> None:
    told = wan.agent("--rtt-ms", str(rtt_ms), do="ping").told
    assert rtt_ms <= told[0]["rtt_ms"]


def test_every_pair_has_the_round_trip_of_its_own(wan: Wan, tmp_path: Path) -> None:
    links = tmp_path / "links.json"
    links.write_text(json.dumps({"0-1": {"rtt_ms": 90}}))
    options = ("--rtt-ms", "1", "--sites", "3", "--links", str(links))
    assert wan.agent(*options, do="ping").told[0]["rtt_ms"] >= 90


def test_pair_carries_no_more_than_its_rate_and_all_arrives(wan: Wan) -> None:
    outcome = wan.agent("--rtt-ms", "2", "--rate-mbit", "40", do="blob")
    assert outcome.told[0]["mbit"] <= 40 * SLACK
    assert outcome.told[1]["intact"]
    assert_adds_up(outcome.links)


def test_pairs_share_their_sites_uplink(wan: Wan) -> None:
    outcome = wan.agent("--sites", "4", "--rtt-ms", "2", "--site-mbit", "60", do="blob")
    assert outcome.told[0]["mbit"] <= 60 * SLACK
    assert all(outcome.told[site]["intact"] for site in (1, 2, 3))


def test_downlink_limits_a_site_that_others_send_to(wan: Wan, tmp_path: Path) -> None:
    links = tmp_path / "links.json"
    links.write_text(json.dumps({"1": {"down_mbit": 30}}))
    outcome = wan.agent("--rtt-ms", "2", "--links", str(links), do="blob")
    assert outcome.told[0]["mbit"] <= 30 * SLACK
    assert outcome.told[1]["intact"]


def test_loss_drops_segments_and_the_data_arrives_intact(wan: Wan) -> None:
    outcome = wan.agent("--rtt-ms", "2", "--loss", "0.02", do="blob")
    assert outcome.told[1]["intact"]
    assert_adds_up(outcome.links)
    assert total(outcome.links, "lost") > 0
    # Segments, not whole offloaded packets of up to 45: their number is that of 2 MB and more.
    assert outcome.links["0->1"]["sent"]["segments"] > 2_000_000 / 1500
    assert outcome.links["0->1"]["lost"]["segments"] < outcome.links["0->1"]["sent"]["segments"] / 5


def test_shallow_queue_drops_and_the_data_arrives_intact(wan: Wan) -> None:
    outcome = wan.agent("--rtt-ms", "20", "--rate-mbit", "50", "--queue-ms", "2", do="blob")
    assert outcome.told[1]["intact"]
    assert_adds_up(outcome.links)


def test_statistics_count_every_byte_sent(wan: Wan) -> None:
    outcome = wan.agent("--rtt-ms", "2", do="blob")
    assert {*outcome.links} == {"0->1", "1->0"}
    assert outcome.links["0->1"]["delivered"]["bytes"] > 2_000_000
    assert outcome.links["1->0"]["delivered"]["bytes"] < 500_000
    assert total(outcome.links, "lost") == total(outcome.links, "cut") == 0


@pytest.mark.parametrize("where", ["0", "1", "0-1"])
def test_cut_stops_all_and_its_end_restores_it(wan: Wan, where: str) -> None:
    outcome = wan.agent("--rtt-ms", "2", "--cut", f"1.5:{where}:0.8", do="beat")
    got = outcome.told[0]["got"]
    gaps = [b - a for a, b in itertools.pairwise(got)]
    assert got[-1] == 299, "nothing came after the cut"
    assert max(gaps) > 10, "the cut let datagrams pass"
    assert outcome.links["1->0"]["cut"]["segments"] >= max(gaps) - 1
    assert_adds_up(outcome.links)


def test_cut_for_good_never_ends(wan: Wan) -> None:
    got = wan.agent("--rtt-ms", "2", "--cut", "1.5:1", do="beat").told[0]["got"]
    assert not got or got[-1] < 299


def test_cut_of_a_pair_spares_the_others(wan: Wan) -> None:
    outcome = wan.agent("--sites", "3", "--rtt-ms", "2", "--cut", "0:0-2", do="beat")
    got = outcome.told[0]["got"]
    # The first may come before the receiver has its socket; from then on none may miss.
    assert got[-1] == 299 and got == list(range(got[0], 300))
    assert total(outcome.links, "cut") == 0


def test_congestion_control_is_the_one_asked_for(wan: Wan) -> None:
    code = (
        "import os, socket, json; a = os.environ['WAN_ADDRS'].split(',')\n"
        "site = int(os.environ['WAN_SITE'])\n"
        "s = socket.socket(); s.setblocking(False); s.bind((a[site], 0))\n"
        "s.connect_ex((a[1 - site], 1)); "
        "cc = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)\n"
        "print(json.dumps({'site': site, 'cc': cc.rstrip(bytes(1)).decode()}))"
    )
    outcome = wan.run("--cc", "reno", run=["python3", "-c", code])
    assert outcome.told == {i: {"site": i, "cc": "reno"} for i in (0, 1)}


def test_unknown_congestion_control_is_told_with_the_known_ones(wan: Wan) -> None:
    outcome = wan.run("--cc", "carrierpigeon", run=["true"])
    assert outcome.status == 69
    assert "carrierpigeon" in outcome.errors
    assert "reno" in outcome.errors


def test_buffers_grow_as_far_as_asked(wan: Wan) -> None:
    code = (
        "import json, os\n"
        "most = [int(open(f'/proc/sys/net/ipv4/tcp_{way}mem').read().split()[2]) for way in 'rw']\n"
        "print(json.dumps({'site': int(os.environ['WAN_SITE']), 'most': most}))"
    )
    outcome = wan.run("--tcp-buffer-kib", "64", run=["python3", "-c", code])
    assert [told["most"] for told in outcome.told.values()] == [[65536, 65536]] * 2
