"""Bytes that arrive changed although TCP has found nothing: never summed, and sent again."""

from typing import Any

import pytest
from isthmus import _core

LARGE = {"collective": "all_reduce", "elements": 300_000}


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("codec", [("f32", "f32"), ("int8", "int8")])
def test_no_sum_has_a_changed_byte_in_it(algorithm: str, codec: tuple[str, str]) -> None:
    again = 0
    for seed in range(40):
        troubles = [
            {
                "kind": "corrupt",
                "at": 0.02 + 0.001 * seed + 0.05 * i,
                "site": i % 3,
                "peer": (i + 1) % 3,
            }
            for i in range(8)
        ]
        report: Any = _core.simulate(
            seed,
            sites=3,
            torn=True,
            bits_per_s=20_000_000,
            operations=[{**LARGE, "algorithm": algorithm, "codec": codec}] * 2,
            troubles=troubles,
        )
        assert not report["broken"], (seed, report["broken"][0])
        again += sum(site["frames_again"] for site in report["sites"])
    assert again > 5


@pytest.mark.parametrize("algorithm", ["direct", "gather", "ring"])
@pytest.mark.parametrize("codec", [("f32", "f32"), ("int8", "int8")])
def test_what_was_damaged_is_sent_again_and_nobody_is_lost(
    algorithm: str, codec: tuple[str, str]
) -> None:
    broke = again = 0
    for seed in range(60):
        damage = {"kind": "corrupt", "at": 0.02 + 0.003 * seed, "site": seed % 3}
        report: Any = _core.simulate(
            seed,
            sites=3,
            streams=1,
            torn=True,
            bits_per_s=20_000_000,
            operations=[{**LARGE, "algorithm": algorithm, "codec": codec}] * 2,
            troubles=[{**damage, "peer": (seed + 1) % 3}],
        )
        assert not report["broken"], (seed, report["broken"][0])
        if not any(site["streams_lost"] for site in report["sites"]):
            continue  # nothing came by that stream any more
        broke += 1
        again += any(site["frames_again"] for site in report["sites"])
        for site in report["sites"]:
            assert [work["code"] for work in site["works"]] == ["ok", "ok"], (seed, site)
    assert broke > 20 and 10 < again < broke, (broke, again)  # the others: control streams


def test_who_sends_damage_again_and_again_is_no_peer() -> None:
    report = _core.simulate(
        1,
        sites=2,
        operations=[{**LARGE, "algorithm": "direct", "elements": 4_000_000}] * 3,
        troubles=[{"kind": "lie", "lie": "garbage", "site": 0, "at": 0.01}],
    )
    assert not report["broken"]
    texts = [work["text"] for site in report["sites"] for work in site["works"]]
    assert any(
        "broke the protocol" in text and "damaged, again and again" in text for text in texts
    )
