"""What users may ask for, and what they are told when they ask for what cannot be."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from isthmus import _core
from isthmus.wan import main
from isthmus.wan.settings import Cut, PairLimits, SettingsError, SiteLimits, parse


def test_options_reach_every_site_and_pair() -> None:
    line = "--sites 3 --rtt-ms 80 --site-mbit 200 --rate-mbit 100 --loss .01 -- echo -- hi"
    settings = parse(line.split())
    assert settings.command == ("echo", "--", "hi")
    assert settings.sites == (SiteLimits(up_mbit=200, down_mbit=200),) * 3
    assert {*settings.pairs} == {(0, 1), (0, 2), (1, 2)}
    assert {*settings.pairs.values()} == {PairLimits(rtt_ms=80, rate_mbit=100, loss=0.01)}


def test_addresses_are_of_the_range_for_measurements() -> None:
    settings = parse(["--sites", "64", "--", "true"])
    assert len({*settings.addresses}) == 64
    benchmarking = ipaddress.IPv4Network("198.18.0.0/15")
    assert all(address in benchmarking for address in settings.addresses)


def test_links_file_overrides_only_what_it_names(tmp_path: Path) -> None:
    links = tmp_path / "links.json"
    links.write_text(
        json.dumps({"1-0": {"rtt_ms": 10, "loss": 0.5}, "2": {"site_mbit": 7, "up_mbit": 3}})
    )
    settings = parse(["--sites", "3", "--rate-mbit", "9", "--links", str(links), "--", "true"])
    assert settings.pair(0, 1) == settings.pair(1, 0)
    assert settings.pair(0, 1) == PairLimits(rtt_ms=10, rate_mbit=9, loss=0.5)
    assert settings.pair(0, 2) == PairLimits(rate_mbit=9)
    assert settings.sites == (SiteLimits(), SiteLimits(), SiteLimits(up_mbit=3, down_mbit=7))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("2:1", Cut(site=1, other=None, after_s=2, for_s=None)),
        ("0.5:0-2:1.5", Cut(site=0, other=2, after_s=0.5, for_s=1.5)),
        (".5:2:3.", Cut(site=2, other=None, after_s=0.5, for_s=3)),
    ],
)
def test_cut_reads_as_written(text: str, cut: Cut) -> None:
    assert parse(["--sites", "3", "--cut", text, "--", "true"]).cuts == (cut,)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--sites 1", "--sites is 1; it must be 2 to 64"),
        ("--sites 65", "--sites is 65"),
        ("--sites two", "--sites"),
        ("--loss 1.5", "--loss is 1.5; it must be a number, at least 0 and at most 1"),
        ("--rtt-ms -1", "--rtt-ms is -1"),
        ("--rate-mbit nan", "--rate-mbit is nan"),
        ("--queue-ms inf", "--queue-ms is inf"),
        ("--seed -1", "--seed is -1"),
        ("--cut 5", "not AFTER_S:SITE"),
        ("--cut 1:7", "no site 7; sites are 0 to 1"),
        ("--cut 1:0-0", "no link to itself"),
        ("--cut -1:0", "--cut"),
        ("--links /nowhere/links.json", "No such file"),
        ("--stats /nowhere/stats.json", "no such folder"),
        ("--network 198.18.0.0/31", "too few addresses"),
        ("--network 198.18.0.1/24", "host bits"),
        ("--bandwidth 3", "--bandwidth"),
    ],
)
def test_bad_option_is_named(options: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options.split(), "--", "true"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ("{", "no JSON"),
        ("[]", "not a JSON object"),
        ('{"0-3": {}}', "'0-3' is no site or pair of sites 0 to 2"),
        ('{"0-0": {}}', "'0-0' is no site or pair"),
        ('{"aws": {}}', "'aws' is no site or pair"),
        ('{"0-1": {"rtt_ms": 1}, "1-0": {"rtt_ms": 2}}', "'1-0': this pair is given twice"),
        ('{"2": {"up_mbit": 1}, "2": {"up_mbit": 2}}', "given twice"),
        ('{"0-1": {"up_mbit": 1}}', "with keys out of ['rtt_ms'"),
        ('{"0": {"rtt_ms": 1}}', "with keys out of ['up_mbit'"),
        ('{"0-1": 5}', "is not an object"),
        ('{"0-1": {"loss": 2}}', "'0-1': loss is 2"),
        ('{"0-1": {"loss": "1%"}}', "loss is '1%', not a number"),
        ('{"0-1": {"rtt_ms": true}}', "rtt_ms is True, not a number"),
    ],
)
def test_bad_links_file_is_told_by_key(links: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "links.json"
    file.write_text(links)
    with pytest.raises(SettingsError) as caught:
        parse(["--sites", "3", "--links", str(file), "--", "true"])
    assert told in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--sites", "2"], ["--sites", "2", "--"]):
        assert main(argv) == 2
        assert "give the command to run after --" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--site-mbit" in capsys.readouterr().out


def test_loop_refuses_settings_that_cannot_be() -> None:
    site = _core.WanSite(device=0, address=1, up_bps=0, down_bps=0, queue_ns=0)
    line = _core.WanLine(origin=0, target=1, rate_bps=0, delay_ns=0, loss=0, queue_ns=0)
    back = _core.WanLine(origin=1, target=0, rate_bps=0, delay_ns=0, loss=2, queue_ns=0)
    cases = [([site], [], "2 to 64 sites"), ([site] * 2, [line], "every ordered pair")]
    cases += [([site] * 2, [line, line], "given twice"), ([site] * 2, [line, back], "probability")]
    for sites, lines, told in cases:
        with pytest.raises(ValueError, match=told):
            _core.run_wan_loop(sites, lines, [], seed=0, stop=[])
