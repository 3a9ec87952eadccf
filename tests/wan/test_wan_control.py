"""Faults in an emulated network while it runs: its processes and its links, by name."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulated import Wan
from isthmus import _core
from isthmus.chaos import Emulated, Fault, corrupt, cut, freeze, kill, slow
from isthmus.errors import Refused
from isthmus.wan.control import BadOrder, check
from test_wan_packet import ACK, MSS, PAYLOAD, make, ones_sum

NAMES = ["aws", "azure", "gcp"]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    yield Path(os.path.relpath(tmp_path / "control"))  # a socket's path may be short only


def inject(control: Path, *faults: Fault) -> None:
    world = Emulated(control, NAMES)
    for fault in faults:
        world.inject(fault)
    world.close()


@pytest.mark.wan
def test_a_killed_site_ends_and_the_others_run_on(wan: Wan, control: Path) -> None:
    script = "[ $WAN_SITE = 1 ] && exec sleep 60; sleep 2; exit 0"
    with ThreadPoolExecutor(1) as pool:
        injected = pool.submit(inject, control, freeze("gcp").for_seconds(0.2), kill("azure"))
        options = ("--sites", "3", "--control", str(control))
        outcome = wan.run(*options, run=["sh", "-c", script])
        injected.result()
    assert outcome.status == 128 + 9


@pytest.mark.wan
def test_a_cut_that_is_ordered_drops_and_ends(wan: Wan, control: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        injected = pool.submit(inject, control, cut("aws", "azure").at(step=0).for_seconds(1.2))
        outcome = wan.agent("--sites", "2", "--rtt-ms", "2", "--control", str(control), do="beat")
        injected.result()
    got = outcome.told[0]["got"]
    assert got[-1] == 299
    assert outcome.links["1->0"]["cut"]["segments"] > 0


@pytest.mark.wan
def test_bytes_changed_on_the_wire_are_caught_by_tcp(wan: Wan, control: Path) -> None:
    faults = [corrupt("aws", "azure")] * 5
    with ThreadPoolExecutor(1) as pool:
        injected = pool.submit(inject, control, *faults)
        line = 'python=$0; "$python" "$1" blob; grep "^Tcp:" /proc/net/snmp | tail -1 >&2'
        agent = Path(__file__).with_name("agent.py")
        outcome = wan.run(
            *("--sites", "2", "--rtt-ms", "20", "--site-mbit", "50", "--control", str(control)),
            run=["sh", "-c", line, wan.python, str(agent)],
        )
        injected.result()
    assert outcome.status == 0, outcome.errors
    assert outcome.told[1]["intact"] is True
    errors = [int(line.split()[-1]) for line in outcome.errors.splitlines() if "Tcp:" in line]
    assert sum(errors) > 0, outcome.errors  # InCsumErrors


@pytest.mark.wan
def test_who_asks_for_what_cannot_be_is_told_why(wan: Wan, control: Path, tmp_path: Path) -> None:
    asked_all = tmp_path / "asked"

    def ask() -> None:
        try:
            world = Emulated(control, [*NAMES, "oci"])
            with pytest.raises(Refused, match=r"kill oci: site is 3; sites are 0 to 2"):
                world.inject(kill("oci"))
            with pytest.raises(Refused, match="no site 'nowhere'"):
                world.inject(slow("nowhere"))
            world.close()
        finally:
            asked_all.touch()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        wait = f"until [ -e {asked_all} ]; do sleep 0.1; done"
        wan.run("--sites", "3", "--control", str(control), run=["sh", "-c", wait])
        asked.result()


def test_orders_are_checked_before_anything_is_done() -> None:
    assert check({"do": "cut", "site": 1}, 3)["other"] is None
    for order in (
        None,
        {"do": "reboot", "site": 1},
        {"do": "kill"},
        {"do": "kill", "site": True},
        {"do": "kill", "site": 1, "for_s": 3},
        {"do": "cut", "site": 1, "other": 1},
        {"do": "cut", "site": 1, "for_s": -1},
        {"do": "slow", "site": 1, "factor": "much"},
    ):
        with pytest.raises(BadOrder):
            check(order, 3)


def test_a_damaged_segment_has_the_checksum_of_what_was_sent() -> None:
    for size in (3 * MSS, 2 * MSS + 1):
        piece = _core.wan_damaged(make(PAYLOAD[:size], flags=ACK))
        assert piece[:2] == bytes(2)  # no flags: nothing is left to be made right
        ip, tcp = piece[10:30], bytearray(piece[30:])
        pseudo = ip[12:20] + bytes([0, 6]) + len(tcp).to_bytes(2, "big")
        assert ones_sum(bytes(pseudo + tcp)) != 0xFFFF
        at = len(tcp) - MSS + MSS // 2
        tcp[at] ^= 0x20
        assert ones_sum(bytes(pseudo + tcp)) == 0xFFFF
        assert bytes(tcp[-MSS:]) == PAYLOAD[:MSS]


@pytest.mark.wan
def test_a_site_that_fails_is_started_again_and_its_end_is_noted(wan: Wan, tmp_path: Path) -> None:
    ends, marker = tmp_path / "ends", tmp_path / "marker"
    script = f"[ $WAN_SITE = 0 ] || [ -e {marker} ] || {{ touch {marker}; exit 3; }}"
    outcome = wan.run("--sites", "2", "--restart", str(ends), run=["sh", "-c", script])
    assert outcome.status == 0
    said = [json.loads(line) for line in ends.read_text().splitlines()]
    assert [end["status"] for end in said if end["site"] == 1] == [3, 0]
    assert [end["status"] for end in said if end["site"] == 0] == [0]
