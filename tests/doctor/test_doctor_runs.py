"""The doctor as its user runs it: a process a site, over loopback and in the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from isthmus import _core

DOCTOR = [sys.executable, "-m", "isthmus.cli", "doctor"]
PATIENCE_S = 120


def environment(site: int, sites: int, rendezvous: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    return kept | {
        "ISTHMUS_RENDEZVOUS": rendezvous,
        "ISTHMUS_SITE": f"cloud{site}",
        "ISTHMUS_SITES": str(sites),
    }


@pytest.fixture
def rendezvous() -> Iterator[str]:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    yield keeper.address
    keeper.close()


def start(site: int, sites: int, rendezvous: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DOCTOR, *options],
        env=environment(site, sites, rendezvous),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_link(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each site's probes of the others hold, as "site → peer"."""
    return {
        f"{report['site']} → {probe['peer']}": probe
        for report in record["survey"]["reports"]
        for probe in report["probes"]
    }


@pytest.mark.slow
def test_three_sites_on_one_machine_are_measured_and_told_so(
    rendezvous: str, tmp_path: Path
) -> None:
    files = [tmp_path / f"{site}.json" for site in range(3)]
    running = [start(i, 3, rendezvous, "--json", str(file)) for i, file in enumerate(files)]
    ended = [process.communicate(timeout=PATIENCE_S) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    first, *others = [out for out, _ in ended]
    assert "isthmus doctor: 3 sites, cloud0, cloud1 and cloud2" in first
    assert "all sites are on this machine's loopback" in first
    assert "forecast for 1.3B parameters" in first
    assert all("all measurements and the forecast: at cloud0" in out for out in others)
    records = [json.loads(file.read_text()) for file in files]
    assert all(record["survey"] == records[0]["survey"] for record in records)
    probes = by_link(records[0])
    assert len(probes) == 6
    for probe in probes.values():
        assert probe["failure"] == ""
        for test in ("one", "many", "calm", "together"):
            assert probe[test]["receiving"]["rate"] > 0, (probe["peer"], test)


def test_a_site_alone_is_told_that_it_has_no_links(rendezvous: str) -> None:
    alone = start(0, 1, rendezvous)
    _, errors = alone.communicate(timeout=PATIENCE_S)
    assert alone.returncode == 1
    assert "a single site has no links" in errors


def test_a_site_that_dies_ends_the_others_with_its_name(rendezvous: str) -> None:
    one, other = start(0, 2, rendezvous), start(1, 2, rendezvous)
    assert other.stderr is not None
    for line in other.stderr:
        if "round 1" in line:
            break
    other.kill()
    other.communicate(timeout=PATIENCE_S)
    _, errors = one.communicate(timeout=PATIENCE_S)
    assert one.returncode == 1
    assert 'site "cloud1"' in errors


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--parameters", "huge"], "--parameters is 'huge'"),
        (["--step-seconds", "-1"], "--step-seconds is -1"),
        (["--probe-port", "70000"], "--probe-port is 70000"),
        (["--json", "/nowhere/at/all.json"], "no such folder"),
        (["--sites", "0"], "sites (argument) is '0'"),
    ],
)
def test_settings_that_cannot_be_are_named(options: list[str], what: str) -> None:
    process = start(0, 2, "127.0.0.1:1", *options)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert what in errors


@pytest.mark.wan
@pytest.mark.slow
def test_in_the_emulator_what_was_set_is_found_and_the_thin_line_is_named(tmp_path: Path) -> None:
    links = tmp_path / "links.json"
    links.write_text(json.dumps({"0-2": {"rate_mbit": 20, "rtt_ms": 100}}))
    wan = [sys.executable, "-m", "isthmus.wan", "--sites", "3", "--links", str(links)]
    limits = ["--rtt-ms", "50", "--site-mbit", "80", "--timeout", str(PATIENCE_S)]
    site = ["sh", "-c", 'exec "$@" --json "$0/$WAN_SITE.json"', str(tmp_path), *DOCTOR]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    ended = subprocess.run(
        [*wan, *limits, "--", *site], env=kept, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    record = json.loads((tmp_path / "0.json").read_text())
    probes = by_link(record)
    for link, rtt_s, mbit in (
        ("site0 → site1", 0.05, 80),
        ("site1 → site2", 0.05, 80),
        ("site0 → site2", 0.10, 20),
    ):
        a, b = link.split(" → ")
        back = probes[f"{b} → {a}"]
        assert rtt_s <= (back["echo"] or probes[link]["echo"])["round_trip_s"] < 1.5 * rtt_s
        for probe in (probes[link], back):
            rate = probe["many"]["sending"]["rate"] * 8 / 1e6
            assert mbit / 1.5 < rate < mbit * 1.5, (link, rate)
    told = [finding["text"] for finding in record["findings"]]
    assert any("the line between site0 and site2 is thin" in text for text in told), told
