"""Settings and errors: what is wrong is named, with its value and what is expected."""

import pickle
import subprocess
import sys

import pytest
from isthmus import errors
from isthmus.config import (
    Address,
    join_settings,
    on_rail,
    parse_address,
    rails_of_site,
    ranks_on_machine,
    spare_threads,
)
from isthmus.errors import Refused

_good = {"ISTHMUS_RENDEZVOUS": "10.0.0.1:29600", "ISTHMUS_SITE": "aws", "ISTHMUS_SITES": "3"}


def test_variables_alone_are_enough_and_the_rest_has_defaults() -> None:
    settings = join_settings(environment=_good)
    assert settings.rendezvous == Address("10.0.0.1", 29600)
    assert (settings.site, settings.sites, settings.run) == ("aws", 3, "default")
    assert (settings.serve, settings.advertise) == (False, None)
    assert settings.listen == Address("0.0.0.0", 0)
    assert (settings.streams, settings.timeout, settings.heartbeat) == (0, 60.0, 5.0)
    assert (settings.uplink_mbit, settings.congestion) == (0.0, "bbr")
    assert settings.relay is True
    assert (settings.rails, settings.rail) == (1, 0)


def test_every_variable_is_read() -> None:
    rest = {
        "ISTHMUS_RUN": "night",
        "ISTHMUS_SERVE": "1",
        "ISTHMUS_LISTEN": "0.0.0.0:0",
        "ISTHMUS_ADVERTISE": "[fd00::1]:29700",
        "ISTHMUS_STREAMS": "4",
        "ISTHMUS_TIMEOUT": "12.5",
        "ISTHMUS_HEARTBEAT": "2",
        "ISTHMUS_UPLINK_MBIT": "200",
        "ISTHMUS_CONGESTION": "cubic",
        "ISTHMUS_CODEC_THREADS": "3",
        "ISTHMUS_RELAY": "0",
        "ISTHMUS_RAILS": "3",
    }
    settings = join_settings(environment={**_good, **rest})
    assert (settings.run, settings.serve, settings.streams) == ("night", True, 4)
    assert (settings.timeout, settings.heartbeat) == (12.5, 2.0)
    assert (settings.uplink_mbit, settings.congestion) == (200.0, "cubic")
    assert settings.codec_threads == 3 and settings.relay is False
    assert settings.rails == 3
    assert str(settings.listen) == "0.0.0.0:0"
    assert str(settings.advertise) == "[fd00::1]:29700"


def test_codec_threads_are_spare_cores_and_two_cores_spare_none() -> None:
    assert [spare_threads(cores, 1) for cores in (1, 2, 4, 8, 96)] == [0, 0, 1, 3, 4]
    assert [spare_threads(cores, 8) for cores in (8, 16, 20, 96)] == [0, 0, 2, 4]
    assert join_settings(codec_threads=0, environment=_good).codec_threads == 0


def test_inside_the_emulator_a_site_need_be_told_nothing() -> None:
    inside = {"WAN_SITE": "1", "WAN_SITES": "3", "WAN_ADDRS": "198.18.0.1,198.18.0.2,198.18.0.3"}
    settings = join_settings(environment=inside)
    assert settings.rendezvous == Address("198.18.0.1", 29600)
    assert (settings.site, settings.sites, settings.serve) == ("site1", 3, False)
    assert settings.listen == Address("198.18.0.2", 0)
    assert join_settings(environment=inside | {"WAN_SITE": "0"}).serve
    assert join_settings(environment=inside, site="gcp").site == "gcp"
    assert join_settings(environment=inside | {"ISTHMUS_STREAMS": "4"}).streams == 4


def test_who_brings_a_rendezvous_into_the_emulator_says_the_rest_too() -> None:
    inside = {"WAN_SITE": "0", "WAN_SITES": "2", "WAN_ADDRS": "198.18.0.1,198.18.0.2"}
    settings = join_settings(environment=inside | _good)
    assert (settings.site, settings.sites, settings.serve) == ("aws", 3, False)
    with pytest.raises(Refused, match="site is missing"):
        join_settings(rendezvous="10.0.0.1:29600", environment=inside)


def test_an_argument_wins_over_its_variable() -> None:
    settings = join_settings(
        site="gcp", sites=2, serve=False, environment={**_good, "ISTHMUS_SERVE": "1"}
    )
    assert (settings.site, settings.sites, settings.serve) == ("gcp", 2, False)


@pytest.mark.parametrize("name", ["rendezvous", "site", "sites"])
def test_what_is_missing_is_named_with_both_ways_to_give_it(name: str) -> None:
    variable = f"ISTHMUS_{name.upper()}"
    with pytest.raises(Refused, match=rf"{name} is missing: pass {name}=.* or set {variable}"):
        join_settings(environment={k: v for k, v in _good.items() if k != variable})


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ISTHMUS_RENDEZVOUS", "somewhere", '"host:port"'),
        ("ISTHMUS_RENDEZVOUS", "host:0", "a port from 1 to 65535"),
        ("ISTHMUS_RENDEZVOUS", "host:65536", "a port from"),
        ("ISTHMUS_RENDEZVOUS", "::1:29600", "in brackets"),
        ("ISTHMUS_LISTEN", ":29600", '"host:port"'),
        ("ISTHMUS_LISTEN", "host:²", '"host:port"'),
        ("ISTHMUS_SITES", "0", "a whole number from 1"),
        ("ISTHMUS_SITES", "three", "a whole number from 1"),
        ("ISTHMUS_STREAMS", "0", "a whole number from 1"),
        ("ISTHMUS_TIMEOUT", "soon", "seconds, a number above 0"),
        ("ISTHMUS_TIMEOUT", "inf", "seconds, a number above 0"),
        ("ISTHMUS_HEARTBEAT", "-1", "seconds, a number above 0"),
        ("ISTHMUS_UPLINK_MBIT", "0", "Mbit/s, a number above 0"),
        ("ISTHMUS_CONGESTION", "b\nr", "printable bytes"),
        ("ISTHMUS_SERVE", "perhaps", "1 or 0"),
        ("ISTHMUS_RAILS", "17", "a whole number from 1 to 16"),
        ("ISTHMUS_SITE", "a" * 65, "at most 64"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(variable: str, value: str, expected: str) -> None:
    with pytest.raises(Refused) as caught:
        join_settings(environment={**_good, variable: value})
    text = str(caught.value)
    assert variable in text and repr(value) in text and expected in text


def test_a_bad_argument_is_named_as_an_argument() -> None:
    with pytest.raises(Refused, match=r"timeout \(argument\) is '-2'"):
        join_settings(timeout=-2, environment=_good)
    with pytest.raises(Refused, match=r"sites \(argument\) is 'True'"):
        join_settings(sites=True, environment=_good)


def test_sites_that_meet_on_the_loopback_listen_there_alone() -> None:
    settings = join_settings(environment=_good | {"ISTHMUS_RENDEZVOUS": "127.0.0.1:29600"})
    assert settings.listen == Address("127.0.0.1", 0)


def test_a_rail_has_a_run_and_ports_of_its_own_and_its_part_of_the_uplink() -> None:
    ports = {"ISTHMUS_LISTEN": "0.0.0.0:29601", "ISTHMUS_ADVERTISE": "10.8.0.2:29701"}
    more = {"ISTHMUS_SERVE": "1", "ISTHMUS_UPLINK_MBIT": "300"}
    settings = join_settings(rails=3, environment={**_good, **ports, **more})
    first, last = on_rail(settings, 0), on_rail(settings, 2)
    assert (first.run, first.rail, first.serve, str(first.listen)) == (
        "default",
        0,
        True,
        "0.0.0.0:29601",
    )
    assert (last.run, last.rail, last.serve) == ("default.rail-2", 2, False)
    assert (str(last.listen), str(last.advertise)) == ("0.0.0.0:29603", "10.8.0.2:29703")
    assert first.uplink_mbit == last.uplink_mbit == 100
    alone = join_settings(environment={**_good, **ports})
    assert on_rail(alone, 0) == alone


def test_a_rail_listens_at_any_port_where_rail_0_does() -> None:
    settings = on_rail(join_settings(rails=2, environment=_good), 1)
    assert (settings.listen, settings.advertise) == (Address("0.0.0.0", 0), None)


def test_a_rail_without_a_port_is_refused() -> None:
    settings = join_settings(rails=2, listen="0.0.0.0:65535", environment=_good)
    with pytest.raises(
        Refused, match=r"listen is 0\.0\.0\.0:65535, and rail 1 needs port 65535 \+ 1"
    ):
        on_rail(settings, 1)


def test_rails_are_known_where_nothing_else_is() -> None:
    assert rails_of_site(None, {}) == 1
    assert rails_of_site(None, {"ISTHMUS_RAILS": "2"}) == 2
    assert rails_of_site(4, {"ISTHMUS_RAILS": "2"}) == 4


def test_port_0_is_for_listening() -> None:
    assert parse_address("[::]:0", "listen", any_port=True) == Address("::", 0)
    with pytest.raises(Refused):
        parse_address("[::]:0", "rendezvous", any_port=False)


@pytest.mark.parametrize("code", list(errors.by_code))
def test_an_error_keeps_code_text_and_peer_even_through_pickle(code: str) -> None:
    made = errors.make(code, 'site "gcp" lost', "gcp")
    copy = pickle.loads(pickle.dumps(made))
    for error in (made, copy):
        assert type(error) is errors.by_code[code]
        assert (error.code, str(error), error.peer) == (code, 'site "gcp" lost', "gcp")


def test_errors_are_what_python_calls_them() -> None:
    assert issubclass(errors.Timeout, TimeoutError)
    assert issubclass(errors.PeerLost, ConnectionError)
    assert issubclass(errors.Refused, ValueError)
    assert type(errors.make("no such code", "text")) is errors.InternalError


def test_importing_isthmus_imports_no_torch() -> None:
    script = "import sys, isthmus, isthmus.session; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("local", "found"), [("2", 2), ("8", 4), ("", 4), ("0", 4), ("two", 4), ("-1", 4)]
)
def test_a_site_has_as_many_ranks_on_a_machine_as_torchrun_says_and_no_more_than_in_all(
    local: str, found: int
) -> None:
    assert ranks_on_machine(4, {"LOCAL_WORLD_SIZE": local} if local else {}) == found
