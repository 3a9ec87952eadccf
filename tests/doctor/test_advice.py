"""What to set and how long a step takes, from made-up measurements."""

from dataclasses import replace

import pytest
from isthmus.doctor.advice import Advice, advise, rounded_up
from isthmus.doctor.wording import binary, count, duration, milliseconds, names, size
from made_up import KERNEL, MBIT, Line, World, both_ways


def advice(world: World, *, parameters: int = 10**8, compute_s: float | None = None) -> Advice:
    return advise(world.survey(), parameters=parameters, compute_s=compute_s)


def test_the_exchange_takes_what_bytes_and_rates_allow() -> None:
    world = World(sites="abcd", line=Line(one=1000, many=1000, together=333, rtt_s=0.1))
    by_codec = {it.codec: it for it in advice(world).forecasts}
    f32 = by_codec["f32"]
    assert f32.wire_bytes == 4 * 10**8
    # Of `direct`: 3/4 of both the wires up and the sums down.
    assert f32.exchange_s == pytest.approx(1.5 * 4e8 / (1000 * MBIT) + 0.05, rel=0.1)
    times = [by_codec[name].exchange_s for name in ("f32", "bf16", "int8", "int4", "int2")]
    assert times == sorted(times, reverse=True)


def test_a_step_hides_what_leaves_during_the_backward_pass() -> None:
    short, long = (advice(World(), compute_s=s) for s in (1.0, 1000.0))
    for it in long.forecasts:
        assert it.step_s == pytest.approx(1000 + it.last_bucket_s)
    for it in short.forecasts:
        assert it.step_s == pytest.approx(max(1 / 3 + it.exchange_s, 1 + it.last_bucket_s))


def test_who_computes_longer_than_hidden_from_waits_for_no_more_than_a_twentieth() -> None:
    for before in advice(World()).forecasts:
        compute_s = before.hidden_from_s
        after = next(
            it for it in advice(World(), compute_s=compute_s).forecasts if it.codec == before.codec
        )
        assert after.step_s == pytest.approx(1.05 * compute_s)


def test_the_most_exact_codec_that_hides_is_recommended() -> None:
    for codec, compute_s in (("f32", 1000.0), ("int8", 15.0), ("int4", 0.5)):
        assert advice(World(), compute_s=compute_s).codec == codec
    assert advice(World()).codec == "int4"
    assert "wait for the network" in advice(World(), compute_s=0.5).codec_reason


def test_without_all_links_nothing_is_forecast() -> None:
    world = World(unreachable=frozenset({("a", "b"), ("b", "a")}))
    told = advice(world)
    assert (told.links, told.forecasts, told.codec) == (None, (), "int4")
    assert "without all links" in told.codec_reason


def test_a_site_is_told_what_its_uplink_carries_with_headers() -> None:
    for uplink in advice(World()).uplinks:
        assert uplink.mbit == rounded_up(195 / 0.95) == 210


def test_a_site_whose_uplink_is_not_its_limit_is_told_nothing() -> None:
    line = Line(one=48, many=49, together=24)
    lines = {("a", "c"): line, ("b", "c"): line}
    lines |= both_ways("a", "b", Line(one=48, many=49, together=48))
    told = {it.site: it for it in advice(World(lines=lines)).uplinks}
    assert told["c"].mbit == 210
    assert told["a"].mbit is None
    assert "not its limit" in told["a"].reason


def test_what_was_not_found_out_is_not_told() -> None:
    for world, reason in (
        (World(sites="ab", line=Line(growth=1.5)), "not found out: 195 Mbit/s at least"),
        (World(busy={"a": 1.0, "b": 1.0, "c": 1.0}), "the machine was the limit"),
        (World(loopback=True), "the machine was the limit"),
    ):
        for uplink in advice(world).uplinks:
            assert uplink.mbit is None
            assert reason in uplink.reason


def test_streams_are_as_many_as_the_buffer_makes_necessary() -> None:
    # 4 MiB at 100 ms are 335 Mbit/s.
    fat = Line(one=330, many=900, together=900, rtt_s=0.1, loaded_rtt_s=0.12)
    told = advice(World(sites="ab", line=fat))
    assert told.streams == 3
    assert "a stream carries 336 Mbit/s, and the link has room for 3" in told.streams_reason
    assert advice(World()).streams is None


def test_links_that_share_an_uplink_need_no_streams_for_all_of_it() -> None:
    fat = Line(one=330, many=900, together=300, rtt_s=0.1, loaded_rtt_s=0.12)
    assert advice(World(sites="abcd", line=fat)).streams == 2
    shared = replace(fat, together=150)
    assert advice(World(sites="abcdefg", line=shared)).streams is None


def test_rails_are_for_what_one_gateway_may_not_fill() -> None:
    assert advice(World()).rails == 1
    fat = Line(one=20_000, many=30_000, together=15_000, rtt_s=0.002, loaded_rtt_s=0.005)
    assert advice(World(line=fat)).rails == 2
    assert advice(World(loopback=True, line=fat)).rails == 1


def test_uneven_shares_are_told() -> None:
    line = Line(one=48, many=49, together=24)
    lines = {("a", "b"): line, ("a", "c"): line}
    assert "uneven shares: a" in advice(World(lines=lines)).schedule_reason
    assert "uneven" not in advice(World()).schedule_reason


def test_advice_depends_on_nothing_but_the_survey() -> None:
    world = World(kernels={"a": replace(KERNEL, congestion="cubic")})
    assert advice(world) == advice(world)


@pytest.mark.parametrize(
    ("value", "told"), [(0.5, 1), (58.7, 59), (101.6, 105), (203.1, 205), (964, 965), (1011, 1050)]
)
def test_uplinks_are_rounded_up_a_little(value: float, told: int) -> None:
    assert rounded_up(value) == told


def test_numbers_read_well() -> None:
    assert [duration(s) for s in (0.0034, 0.34, 9.9, 83.2)] == ["3 ms", "0.34 s", "9.90 s", "83 s"]
    assert [milliseconds(s) for s in (0.0804, 0.25, None)] == ["80.4 ms", "250 ms", "?"]
    assert [count(n) for n in (1.3e9, 350e6, 12)] == ["1.3B", "350M", "12"]
    assert [size(n) for n in (999, 5.2e9, 93e6)] == ["999 B", "5.2 GB", "93 MB"]
    assert [binary(n) for n in (4 << 20, 212_992)] == ["4 MiB", "208 KiB"]
    assert [names(w) for w in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
