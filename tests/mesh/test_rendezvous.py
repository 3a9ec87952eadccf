"""Sites find each other through a coordinator, in the simulator's world and time."""

import random
from typing import Any

import pytest
from isthmus import _core

ALWAYS = [(0.0, 1e9)]
NAMES = ["aws", "gcp", "lab", "azure", "oci", "hpc", "edge", "ovh"]
JOIN, ROSTER, REFUSE, LEAVE, SLICE = 16, 17, 18, 19, 4
PRESENCE, WAITING, COME = 20, 21, 22

Outcome = dict[str, Any]


def site(name: str, sites: int, **plan: Any) -> dict[str, Any]:
    return {"name": name, "sites": sites, "address": f"{name}:4242", **plan}


def run(
    *sites: dict[str, Any],
    strangers: list[dict[str, Any]] | None = None,
    coordinators: list[tuple[float, float]] | None = None,
    impostor: bytes | None = None,
    end: float = 100.0,
    seed: int = 1,
) -> tuple[list[Outcome], list[tuple[bytes, bool]]]:
    world = _core.sim_join(
        sites=list(sites),
        strangers=strangers or [],
        coordinators=ALWAYS if coordinators is None else coordinators,
        impostor=impostor,
        end=end,
        seed=seed,
    )
    assert not world["livelock"]
    return world["sites"], world["strangers"]


def text16(text: str) -> bytes:
    return len(text).to_bytes(2, "little") + text.encode()


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def join_payload(run_id: str = "run", sites: int = 2, name: str = "aws") -> bytes:
    fields = text16(run_id) + number(sites, 2) + number(1, 8) + number(0, 8)
    return fields + text16(name) + text16("") + number(0, 2) + number(0, 4) + number(0, 2)


def names_in(outcome: Outcome) -> list[str]:
    return [member[0] for member in outcome["roster"]["members"]]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 16, 64])
def test_all_sites_get_the_same_roster_sorted_by_name(count: int) -> None:
    names = [f"s{(i * 7) % 100:02}" for i in range(count)]
    plans = [site(n, count, streams=i % 33, start=0.1 * i) for i, n in enumerate(names)]
    outcomes, _ = run(*plans, seed=count)
    roster = outcomes[0]["roster"]
    assert [o["code"] for o in outcomes] == ["ok"] * count
    assert all(o["roster"] == roster for o in outcomes)
    assert roster["members"] == sorted((p["name"], p["address"], p["streams"]) for p in plans)
    assert roster["generation"] == 1
    assert roster["run"] != 0


def test_seeds_decide_run_numbers_and_each_run_has_its_own() -> None:
    def numbers(seed: int) -> list[int]:
        plans = [site("aws", 1, run="a"), site("aws", 1, run="b")]
        return [o["roster"]["run"] for o in run(*plans, seed=seed)[0]]

    assert numbers(1) == numbers(1)
    assert len({*numbers(1), *numbers(2)}) == 4


def test_sites_wait_for_a_coordinator_that_starts_later() -> None:
    outcomes, _ = run(site("aws", 2), site("gcp", 2), coordinators=[(20.0, 1e9)])
    assert [names_in(o) for o in outcomes] == [["aws", "gcp"]] * 2


def test_sites_join_again_when_the_coordinator_dies_and_comes_back() -> None:
    plans = [site("aws", 3), site("gcp", 3), site("lab", 3, start=20.0)]
    outcomes, _ = run(*plans, coordinators=[(0.0, 5.0), (10.0, 1e9)])
    assert [names_in(o) for o in outcomes] == [["aws", "gcp", "lab"]] * 3


def test_a_coordinator_lost_after_the_roster_is_no_failure() -> None:
    outcomes, _ = run(site("aws", 2), site("gcp", 2), coordinators=[(0.0, 5.0)])
    assert [o["code"] for o in outcomes] == ["ok", "ok"]
    assert [o["connected"] for o in outcomes] == [False, False]
    assert [o["broken"] for o in outcomes] == ["", ""]


def test_who_still_joins_hears_that_the_coordinator_started_anew_and_who_has_joined_does_not() -> (
    None
):
    plans = [site(name, 3, ticket=i + 1) for i, name in enumerate(("aws", "gcp", "lab"))]
    plans[1]["again"] = plans[2]["meets"] = True
    outcomes, _ = run(*plans, coordinators=[(0.0, 5.0), (6.0, 1e9)], end=10.0)
    assert [o["broken"] for o in outcomes] == ["", "", ""]  # for 5 s they might still meet
    outcomes, _ = run(*plans, coordinators=[(0.0, 5.0), (6.0, 1e9)], end=20.0)
    assert "coordinator at site0:7000 started anew" in outcomes[0]["broken"]
    assert (outcomes[1]["roster"], outcomes[1]["connected"]) == (None, True)  # it waits once more
    assert (outcomes[2]["broken"], outcomes[2]["connected"]) == ("", False)


@pytest.mark.parametrize("sites", [2, 3, 5])
def test_who_joined_with_a_coordinator_that_died_meet_at_the_next_one(sites: int) -> None:
    names = NAMES[:sites]
    for start in (6.0, 6.01, 6.3, 8.0, 20.0):
        plans = [site(n, sites, again=True, ticket=i + 1) for i, n in enumerate(names[1:])]
        died = site(names[0], sites, die=5.0, ticket=50)
        replaced = site(names[0], sites, start=start, ticket=60)
        outcomes, _ = run(*plans, died, replaced, coordinators=[(0.0, 5.0), (6.0, 1e9)])
        alive = [*outcomes[:-2], outcomes[-1]]
        assert [o["code"] for o in alive] == ["ok"] * sites, start
        assert len({o["roster"]["run"] for o in alive}) == 1
        assert outcomes[-2]["roster"]["run"] != alive[0]["roster"]["run"]


def test_members_stay_connected_while_nothing_happens() -> None:
    outcomes, _ = run(site("aws", 2), site("gcp", 2), end=1000.0)
    assert [o["connected"] for o in outcomes] == [True, True]


def test_an_unreachable_coordinator_is_named_at_the_deadline() -> None:
    (outcome,), _ = run(site("aws", 2, timeout=7.5), coordinators=[])
    assert outcome["code"] == "timeout"
    assert outcome["settled"] == 7.5
    assert (
        "cannot reach the coordinator at site0:7000 within 7.5 s (last error: " in outcome["text"]
    )
    assert 'is "isthmus coordinator" running there' in outcome["text"]


def test_a_coordinator_that_does_not_come_back_leaves_the_names_of_those_that_came() -> None:
    outcomes, _ = run(site("aws", 3), site("gcp", 3), coordinators=[(0.0, 5.0)])
    for outcome in outcomes:
        assert outcome["code"] == "timeout"
        assert "lost the coordinator at site0:7000" in outcome["text"]
        assert "of 3 sites had come: aws, gcp" in outcome["text"]


def test_too_few_sites_name_those_that_came() -> None:
    outcomes, _ = run(site("gcp", 3), site("aws", 3))
    for outcome in outcomes:
        assert outcome["code"] == "timeout"
        assert "only 2 of 3 sites came within 60 s: aws, gcp; 1 missing" in outcome["text"]
        assert "site0:7000" in outcome["text"]


def test_a_site_that_leaves_or_dies_before_the_roster_does_not_count() -> None:
    plans = [site("aws", 4), site("gcp", 4, leave=5.0), site("lab", 4, die=5.0)]
    outcomes, _ = run(*plans, site("oci", 4, start=6.0))
    assert "only 2 of 4 sites came within 60 s: aws, oci; 2 missing" in outcomes[0]["text"]


def test_a_site_that_died_makes_room_for_its_next_process() -> None:
    outcomes, _ = run(site("aws", 2, die=5.0), site("aws", 2, start=6.0), site("gcp", 2, start=9.0))
    assert names_in(outcomes[1]) == names_in(outcomes[2]) == ["aws", "gcp"]


def test_a_second_site_of_the_same_name_is_refused() -> None:
    outcomes, _ = run(site("aws", 3), site("aws", 3, start=1.0), site("gcp", 3))
    assert [o["code"] for o in outcomes] == ["timeout", "refused", "timeout"]
    assert 'site "aws" already takes part in run "run" (from ' in outcomes[1]["text"]
    assert "aws, gcp" in outcomes[0]["text"]


def test_a_site_that_asks_for_another_number_of_sites_is_refused() -> None:
    outcomes, _ = run(site("aws", 2), site("gcp", 3, start=1.0), site("lab", 2, start=2.0))
    assert outcomes[1]["code"] == "refused"
    for part in ('"gcp"', "sites=3", '"aws"', "sites=2"):
        assert part in outcomes[1]["text"]
    assert names_in(outcomes[0]) == ["aws", "lab"]


def test_a_site_with_another_codec_table_is_refused() -> None:
    plans = [site("aws", 2, codec_table=7), site("gcp", 2, codec_table=8, start=1.0)]
    outcomes, _ = run(*plans)
    assert outcomes[1]["code"] == "refused"
    for part in ('"gcp"', "0x0000000000000008", '"aws"', "0x0000000000000007"):
        assert part in outcomes[1]["text"]


def test_another_protocol_version_is_told_both_versions() -> None:
    other = bytearray(_core.mesh_frame(kind=JOIN, payload=join_payload()))
    other[4] += 1
    outcomes, heard = run(
        site("aws", 1), strangers=[{"says": bytes(other)}, {"says": bytes(other)}]
    )
    assert outcomes[0]["code"] == "ok"
    for said, closed in heard:
        assert b"protocol version 4 there, 3 here" in said
        assert said[5] == REFUSE
        assert closed


def test_a_coordinator_of_another_version_is_named() -> None:
    answer = bytearray(_core.mesh_frame(kind=REFUSE, payload=text16("no")))
    answer[4] += 1
    (outcome,), _ = run(site("aws", 1), coordinators=[], impostor=bytes(answer))
    assert outcome["code"] == "refused"
    assert "site0:7000: protocol version 4 there, 3 here" in outcome["text"]


def test_a_join_to_a_complete_run_is_refused_with_its_sites() -> None:
    outcomes, _ = run(site("aws", 2), site("gcp", 2), site("lab", 2, start=5.0))
    assert outcomes[2]["code"] == "refused"
    assert 'run "run" is complete with sites aws, gcp' in outcomes[2]["text"]


@pytest.mark.parametrize("how", ["leave", "die"])
def test_a_join_waits_for_the_last_of_a_run_that_ends_and_then_has_its_id(how: str) -> None:
    first = [site("aws", 2, **{how: 5.0}), site("gcp", 2, **{how: 9.0})]
    outcomes, _ = run(*first, site("lab", 1, start=5.5))
    assert names_in(outcomes[2]) == ["lab"]
    assert outcomes[2]["settled"] >= 9.0


def test_a_join_is_refused_where_the_others_of_such_a_run_stay() -> None:
    outcomes, _ = run(site("aws", 2, die=5.0), site("gcp", 2), site("aws", 2, start=6.0))
    assert outcomes[2]["code"] == "refused" and "is complete" in outcomes[2]["text"]
    assert outcomes[1]["code"] == "ok" and outcomes[1]["connected"]


def test_a_lost_connection_takes_its_seat_again_with_the_same_ticket() -> None:
    plans = [site("aws", 2, ticket=5), site("gcp", 2), site("aws", 2, ticket=5, start=5.0)]
    outcomes, _ = run(*plans)
    assert outcomes[2]["roster"] == outcomes[1]["roster"]


def test_a_report_reaches_all_other_members_and_ends_the_run() -> None:
    why = "site aws cannot reach site gcp at gcp:4242"
    plans = [site("aws", 3, report=5.0, text=why), site("gcp", 3), site("lab", 3)]
    other = site("hpc", 1, run="other")
    outcomes, _ = run(*plans, other, site("new", 1, start=6.0))
    assert [(o["code"], o["text"]) for o in outcomes[1:3]] == [("refused", why)] * 2
    assert outcomes[3]["connected"]
    assert names_in(outcomes[4]) == ["new"]


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        ({"name": ""}, "site name"),
        ({"name": "a b"}, "site name"),
        ({"name": "x" * 65}, "site name"),
        ({"run": "x" * 129}, "run id"),
        ({"run": 'a"'}, "run id"),
        ({"sites": 0}, "sites=0"),
        ({"sites": 65}, "sites=65"),
        ({"streams": 33}, "33 streams"),
        ({"address": "no port"}, "host:port"),
    ],
)
def test_settings_beyond_the_limits_are_refused_at_once(plan: dict[str, Any], part: str) -> None:
    (outcome,), _ = run({**site("aws", 2), **plan})
    assert outcome["code"] == "refused"
    assert part in outcome["text"]


def test_the_longest_names_are_taken() -> None:
    (outcome,), _ = run(site("x" * 64, 1, run="r" * 128))
    assert names_in(outcome) == ["x" * 64]


def hostile() -> list[bytes]:
    whole = _core.mesh_frame(kind=JOIN, payload=join_payload())
    bad = bytearray(whole)
    bad[20] ^= 1
    return [
        b"",
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" * 3,
        bytes(range(256)) * 16,
        whole[:63],
        whole[:-1],
        bytes(bad),
        whole + _core.mesh_frame(kind=JOIN, payload=join_payload()),
        _core.mesh_frame(kind=JOIN, payload=join_payload(name="a\nb")),
        _core.mesh_frame(kind=JOIN, payload=join_payload() + b"x"),
        _core.mesh_frame(kind=JOIN, payload=bytes(5000)),
        _core.mesh_frame(kind=ROSTER, payload=b""),
        _core.mesh_frame(kind=REFUSE, payload=text16("no")),
        _core.mesh_frame(kind=LEAVE, payload=b""),
        _core.mesh_frame(kind=SLICE, payload=bytes(100)),
        _core.mesh_frame(kind=PRESENCE, payload=b""),
        _core.mesh_frame(kind=PRESENCE, payload=bytes(100)),
        _core.mesh_frame(kind=WAITING, payload=bytes(8)),
        _core.mesh_frame(kind=COME, payload=bytes(8)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_strangers_are_sent_away_and_harm_nobody(seed: int) -> None:
    strangers = [{"says": says} for says in hostile()]
    plans = [site("gcp", 2, start=30.0), site("lab", 2, start=31.0)]
    outcomes, heard = run(*plans, strangers=strangers, seed=seed)
    assert [names_in(o) for o in outcomes] == [["gcp", "lab"]] * 2
    assert all(closed for _, closed in heard)


def test_more_strangers_than_there_is_room_for_delay_a_site_but_do_not_stop_it() -> None:
    strangers: list[dict[str, Any]] = [{"says": b"", "start": 0.0} for _ in range(300)]
    (outcome,), heard = run(site("aws", 1, start=1.0), strangers=strangers)
    assert names_in(outcome) == ["aws"]
    assert outcome["settled"] > 10.0
    assert all(closed for _, closed in heard)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n" * 4, bytes(64)])
def test_whatever_else_answers_at_the_address_is_named(says: bytes) -> None:
    (outcome,), _ = run(site("aws", 1), coordinators=[], impostor=says)
    assert outcome["code"] == "wire_error"
    assert "what answers at site0:7000 is no isthmus coordinator" in outcome["text"]


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-server\r\n"])
def test_whatever_does_not_answer_at_the_address_is_named(says: bytes) -> None:
    (outcome,), _ = run(site("aws", 1), coordinators=[], impostor=says)
    assert outcome["code"] == "timeout"
    assert "something listens at site0:7000, but it did not answer as" in outcome["text"]


@pytest.mark.parametrize("seed", range(20))
def test_a_stormy_start_still_ends_in_one_roster(seed: int) -> None:
    names = NAMES[: 2 + seed % 6]
    plans = [site(n, len(names), start=(i * 13 + seed * 7) % 17) for i, n in enumerate(names)]
    deaths = [(0.0, 3.0 + seed % 5), (9.0, 12.0 + seed % 3), (18.0, 1e9)]
    outcomes, _ = run(*plans, coordinators=deaths, seed=seed)
    good = [o for o in outcomes if o["code"] == "ok"]
    assert good
    assert all(names_in(o) == sorted(names) for o in good)


def test_who_dies_after_the_roster_is_named_to_the_others_who_may_come_anew() -> None:
    plans = [site("aws", 3), site("gcp", 3, again=True), site("lab", 3, die=5.0)]
    outcomes, _ = run(*plans, end=8.0)
    assert [o["code"] for o in outcomes] == ["ok"] * 3
    assert 'sites of run "run" joined each other: lab; start it again' in outcomes[0]["broken"]
    again = [site(n, 3, again=True) for n in ("aws", "gcp")]
    outcomes, _ = run(*again, site("lab", 3, die=5.0), site("lab", 3, start=7.0))
    alive = [*outcomes[:2], outcomes[3]]
    assert [names_in(o) for o in alive] == [["aws", "gcp", "lab"]] * 3
    assert len({o["roster"]["run"] for o in alive} - {outcomes[2]["roster"]["run"]}) == 1


def test_who_leaves_with_a_word_makes_no_roster_void() -> None:
    plans = [site("aws", 3), site("gcp", 3), site("lab", 3, leave=5.0)]
    outcomes, _ = run(*plans, site("lab", 3, start=8.0))
    assert [o["broken"] for o in outcomes[:3]] == [""] * 3
    assert outcomes[3]["code"] == "refused" and "is complete" in outcomes[3]["text"]


@pytest.mark.parametrize("seed", range(100))
def test_whenever_sites_die_while_they_join_those_that_come_last_meet(seed: int) -> None:
    """Each dies once or not at all, and starts again a little later; who lives comes anew when it
    hears of a loss."""
    draw = random.Random(seed)
    names = NAMES[: draw.choice([2, 3, 5])]
    starts = [draw.random() * 0.3 for _ in names]
    deaths = [at + draw.random() * 0.4 if draw.random() < 0.4 else None for at in starts]
    plans = []
    for name, at, death in zip(names, starts, deaths, strict=True):
        die = {} if death is None else {"die": death}
        plans.append(site(name, len(names), start=at, again=True, **die))
        if death is not None:
            plans.append(site(name, len(names), start=death + 1.0, again=True))
    outcomes, _ = run(*plans, seed=seed)
    last = [o for p, o in zip(plans, outcomes, strict=True) if "die" not in p]
    assert {o["code"] for o in last} == {"ok"}, (seed, plans, outcomes)
    assert len({o["roster"]["run"] for o in last}) == 1, (seed, plans, outcomes)
