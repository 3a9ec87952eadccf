"""From made-up measurements to what limits a link and what is to be changed."""

from dataclasses import replace

import pytest
from isthmus.doctor import limits
from isthmus.doctor.findings import Finding, find, lasting_rate
from isthmus.doctor.limits import Cause, StreamCause
from made_up import KERNEL, MBIT, Line, World, both_ways


def causes(world: World) -> dict[str, Cause]:
    survey = world.survey()
    return {str(link): limits.limit_of(survey, link).cause for link in survey.links()}


def found(world: World, *words: str) -> list[Finding]:
    """Findings with all these words in their sentence."""
    return [it for it in find(world.survey()) if all(word in it.text for word in words)]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert find(World().survey()) == []


def test_equal_sites_are_limited_by_their_ends() -> None:
    assert set(causes(World()).values()) == {Cause.ends}


def test_two_sites_cannot_tell_which_part_of_the_path_is_full() -> None:
    assert set(causes(World(sites="ab")).values()) == {Cause.path}


def test_a_thin_uplink_is_told_from_the_others_downlinks() -> None:
    thin = Line(one=48, many=49, together=24)
    world = World(lines={("a", "b"): thin, ("a", "c"): thin})
    assert causes(world)["a → b"] is Cause.uplink
    assert causes(world)["b → a"] is Cause.ends
    (finding,) = found(world, "the uplink of a is thin: 49 Mbit/s")
    assert finding.grade == "problem"


def test_a_thin_downlink_is_told_from_the_others_uplinks() -> None:
    thin = Line(one=48, many=49, together=24)
    world = World(lines={("a", "c"): thin, ("b", "c"): thin})
    assert causes(world)["a → c"] is Cause.downlink
    assert found(world, "the downlink of c is thin")


def test_a_thin_line_is_named_once_for_both_ways() -> None:
    world = World(lines=both_ways("a", "c", Line(one=48, many=49, together=48)))
    assert causes(world)["a → c"] is Cause.line
    assert len(found(world, "the line between a and c is thin")) == 1
    assert not found(world, "uplink")


def test_lines_that_together_carry_more_are_each_their_own_limit() -> None:
    world = World(sites="abcd", line=Line(one=190, many=195, together=190))
    assert set(causes(world).values()) == {Cause.line}


def test_a_rate_that_rose_to_the_end_is_no_limit() -> None:
    world = World(sites="ab", line=Line(growth=1.3))
    assert set(causes(world).values()) == {Cause.rising}


def test_a_link_without_a_queue_is_limited_by_what_all_do_at_once() -> None:
    quiet = Line(many=600, together=470, loaded_rtt_s=0.081)
    assert set(causes(World(line=quiet)).values()) == {Cause.uplink}


def test_who_cannot_reach_whom_and_what_to_open() -> None:
    world = World(unreachable=frozenset({("a", "b")}))
    (finding,) = found(world, "a cannot reach b at 10.0.0.98:29602: no answer")
    assert (finding.grade, finding.sites) == ("note", ("b",))
    assert "open TCP port 29602 for a" in finding.change
    assert "b reached a, and dialled instead" in finding.text


def test_a_pair_that_cannot_meet_keeps_what_the_session_knows() -> None:
    world = World(unreachable=frozenset({("a", "b"), ("b", "a")}))
    assert [it.grade for it in found(world, "cannot reach")] == ["problem", "problem"]
    link = world.survey().link("a", "b")
    assert (link.round_trip_s, link.rate) == (0.081, None)
    assert causes(world)["a → b"] is Cause.unknown


def test_small_packets_alone_mean_an_mtu_that_is_too_large() -> None:
    hole = Line(one=0.001, many=0.001, together=0.001, many_lost=5)
    world = World(lines={("a", "b"): hole})
    survey = world.survey()
    probe = survey.reports[0].probes[0]
    assert probe.one is not None
    lost = replace(probe.one, sending=replace(probe.one.sending, retransmitted=4))
    report = replace(survey.reports[0], probes=(replace(probe, one=lost),))
    survey = replace(survey, reports=(report, *survey.reports[1:]))
    (finding,) = [it for it in find(survey) if "nothing of full size does" in it.text]
    assert finding.sites == ("a",)
    assert finding.commands == ("sysctl -w net.ipv4.tcp_mtu_probing=1",)


def test_a_small_kernel_limit_is_raised_to_what_isthmus_asks_for() -> None:
    small = replace(KERNEL, send_buffer_bytes=212_992)
    fat = Line(one=20, many=150)
    world = World(kernels={"a": small}, lines={("a", "b"): fat})
    (finding,) = found(world, "the sender's buffer", "a → b (20 Mbit/s; 8 streams 150 Mbit/s)")
    assert finding.commands == ("sysctl -w net.core.wmem_max=4194304",)
    assert (finding.grade, finding.sites) == ("problem", ("a",))


def test_beyond_what_isthmus_asks_for_only_streams_help() -> None:
    world = World(line=Line(one=330, many=900, rtt_s=0.1, loaded_rtt_s=0.11))
    (finding,) = found(world, "the sender's buffer")
    assert (finding.grade, finding.commands) == ("note", ())


def test_a_receive_buffer_is_raised_at_the_receiver() -> None:
    held = Line(one=240, many=900, rtt_s=0.1, receive_window_s=0.8)
    world = World(line=Line(one=900, many=900, rtt_s=0.1), lines={("a", "b"): held})
    (finding,) = found(world, "the receiver's buffer")
    assert finding.sites == ("b",)
    assert finding.commands == ('sysctl -w net.ipv4.tcp_rmem="4096 131072 67108864"',)


def test_a_path_that_limits_each_connection_is_named() -> None:
    policed = Line(one=40, many=190, loaded_rtt_s=0.081)
    survey = World(lines=both_ways("a", "b", policed)).survey()
    assert limits.stream_limit(survey, survey.link("a", "b")) is StreamCause.other
    assert limits.stream_limit(survey, survey.link("a", "c")) is None


def test_a_stream_slowed_by_a_full_way_back_has_no_limit_of_its_own() -> None:
    slowed = Line(one=40, many=190, loaded_rtt_s=0.081)
    survey = World(lines={("a", "b"): slowed}).survey()
    assert limits.stream_limit(survey, survey.link("a", "b")) is None


def test_what_is_lost_at_half_rate_is_lost_by_the_path() -> None:
    world = World(lines={("a", "b"): Line(calm_lost=20)})
    (finding,) = found(world, "packets are lost while no queue is full on a → b (0.2 %)")
    assert finding.grade == "note"
    assert "BBR does not slow down" in finding.text


def test_one_lost_packet_may_be_an_accident() -> None:
    assert not found(World(lines={("a", "b"): Line(calm_lost=1)}), "lost")


def test_a_control_that_backs_off_is_a_problem_on_a_lossy_path() -> None:
    cubic = replace(KERNEL, congestion="cubic", wanted_congestion="cubic")
    world = World(kernels={"a": cubic}, lines={("a", "b"): Line(calm_lost=20)})
    (finding,) = found(world, "packets are lost", "a stream of cubic")
    assert (finding.grade, finding.commands) == ("problem", ())
    assert "ISTHMUS_CONGESTION=bbr" in finding.change
    assert causes(world)["a → b"] is Cause.loss


def test_the_lasting_rate_is_that_of_the_formulas() -> None:
    link = World(lines={("a", "b"): Line(calm_lost=25)}).survey().link("a", "b")
    reno = 1.22 / 0.05 * 1448 / 0.08  # p = 25 of 10,000
    assert lasting_rate("reno", link) == pytest.approx(reno)
    lines = both_ways("a", "b", Line(calm_lost=25, rtt_s=1.0, loaded_rtt_s=1.5))
    far = World(lines=lines).survey().link("a", "b")
    assert lasting_rate("cubic", far) == pytest.approx(1.054 * 400**0.75 * 1448)


def test_a_kernel_without_bbr_is_told_to_load_it() -> None:
    plain = replace(KERNEL, congestion="cubic", available_congestion=("reno", "cubic"))
    world = World(kernels={"b": plain})
    (finding,) = found(world, "b uses cubic, as its kernel does not offer bbr")
    assert finding.commands[0] == "modprobe tcp_bbr"
    assert found(world, "b would begin slowly after each pause")
    assert not found(World(kernels={"b": plain}, loopback=True), "does not offer")


def test_a_queue_that_overflows_is_told() -> None:
    world = World(lines={("a", "b"): Line(many_lost=1500)})
    (finding,) = found(world, "when a sent all that TCP would", "15 % was sent twice")
    assert "no faster than its uplink" in finding.change


def test_a_vpn_mtu_is_a_note_and_clocks_apart_too() -> None:
    line = Line(mtu=1420, mss=1368, clock_s=-0.5)
    world = World(lines=both_ways("b", "a", line))
    assert found(world, "the path MTU is 1420 on a → b and b → a")
    (finding,) = found(world, "the clock of b is 500 ms ahead of that of a")
    assert finding.sites == ("b",)


def test_a_clamped_segment_size_is_seen() -> None:
    assert found(World(lines={("a", "b"): Line(mss=1000)}), "segments carry only 1000 bytes")


def test_a_busy_processor_is_no_network() -> None:
    world = World(busy={"c": 1.0})
    assert causes(world)["a → c"] is Cause.machine
    assert found(world, "a processor of c busy")
    assert found(World(loopback=True), "all sites are on this machine's loopback")


def test_problems_come_first() -> None:
    line = Line(calm_lost=20)
    plain = replace(KERNEL, congestion="cubic", available_congestion=("cubic",))
    grades = [it.grade for it in find(World(line=line, kernels={"b": plain}).survey())]
    assert grades == sorted(grades, key=lambda grade: grade != "problem")
    assert {"problem", "note"} == set(grades)


def test_made_up_rates_are_what_was_asked_for() -> None:
    assert World().survey().uplink("a") == pytest.approx(195 * MBIT)
    assert World(line=Line(together=150)).survey().uplink("a") == pytest.approx(300 * MBIT)
