"""What breaks while sites join, in the simulator."""

from typing import Any

from isthmus import _core

ONE = {"collective": "all_reduce", "algorithm": "direct", "elements": 10_000}


def joined(seed: int, trouble: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    report = _core.simulate(seed, operations=[ONE], troubles=[trouble], **settings)
    return [site["joined"] for site in report["sites"]]


def test_a_connection_that_breaks_while_sites_join_is_made_anew() -> None:
    for seed in range(300):
        trouble = {"kind": "truncate", "at": -1 + 0.002 * (seed % 150), "site": seed % 2}
        ends = joined(seed, {**trouble, "peer": 1 - seed % 2}, sites=2 + seed % 2, streams=3)
        assert {end["code"] for end in ends} == {"ok"}, (seed, [end["text"] for end in ends])


def test_of_two_sites_the_one_that_is_left_hears_of_the_others_silence_before_it_gives_up() -> None:
    told = 0
    for step in range(20):
        silent = step % 2
        freeze = {"kind": "freeze", "at": -1 + 0.01 * step, "site": silent}
        end = joined(1, freeze, sites=2)[1 - silent]
        assert end["code"] != "refused", (step, end["text"])
        told += end["text"].startswith("lost while the sites of run")
    assert told > 1
