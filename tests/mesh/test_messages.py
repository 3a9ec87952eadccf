"""The payloads of joining, as csrc/mesh/wire.md has them."""

import random

import pytest
from isthmus import _core

# The example in wire.md.
EXAMPLE = bytes.fromhex(
    "0100 72 0100 0200000000000000 0000000000000000 0100 61 0000 0000 00000000 0000".replace(
        " ", ""
    )
)
ROSTER = bytes.fromhex("0300 0200 0100 61 0000 0100 0100 62 0300 683a31 0000".replace(" ", ""))
# Site a of run r, epoch 1, training, called to 2, failed 0, codec table 2, roster a and b, at least
# one site, no favourite.
PRESENCE = bytes.fromhex(
    "0100 72 0100 61 01000000 02 02000000 00000000 0200000000000000".replace(" ", "")
    + "0200 0100 61 0100 62 0100 0000".replace(" ", "")
)
WAITING = bytes.fromhex("01000000 0200 0100 61 0100 62 0100 0100 63".replace(" ", ""))
CALL = bytes.fromhex("02000000 0200 0100 61 0100 62".replace(" ", ""))
WHOLE = {"join": EXAMPLE, "roster": ROSTER, "presence": PRESENCE, "waiting": WAITING, "call": CALL}


def test_the_documented_join_is_one() -> None:
    assert len(EXAMPLE) == 34
    assert _core.mesh_payload_decodes(kind="join", payload=EXAMPLE) is True


def test_a_roster_comes_back_as_it_was() -> None:
    assert _core.mesh_payload_decodes(kind="roster", payload=ROSTER) is True


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_well_formed_comes_back_as_it_was(kind: str) -> None:
    assert _core.mesh_payload_decodes(kind=kind, payload=WHOLE[kind]) is True


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("presence", PRESENCE.replace(b"b", b"a")),  # a name twice
        ("presence", PRESENCE.replace(b"\x01\x00\x61\x01\x00\x62", b"\x01\x00b\x01\x00c")),
        ("presence", PRESENCE[:-4] + b"\0\0\0\0"),  # at least no site
        ("presence", PRESENCE[:10] + b"\x04" + PRESENCE[11:]),  # no such standing
        ("waiting", WAITING.replace(b"b", b"A")),  # not sorted
        ("call", bytes(4) + CALL[4:]),  # to no epoch
        ("join", EXAMPLE[:-6] + CALL),  # of two sites, but one is to come
        ("join", EXAMPLE[:-6] + b"\2\0\0\0\1\0\1\0b"),  # it is not called itself
    ],
)
def test_what_contradicts_itself_is_not_taken(kind: str, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"presence|waits|call|sites"):
        _core.mesh_payload_decodes(kind=kind, payload=payload)


@pytest.mark.parametrize(("kind", "whole"), WHOLE.items())
def test_no_part_and_no_extension_of_a_payload_is_taken(kind: str, whole: bytes) -> None:
    for payload in [whole[:end] for end in range(len(whole))] + [whole + b"\0"]:
        with pytest.raises(ValueError, match=r"join|roster|sites|name|presence|waits|call"):
            _core.mesh_payload_decodes(kind=kind, payload=payload)


@pytest.mark.parametrize(
    "payload",
    [
        ROSTER.replace(b"b", b"a"),  # twice the same name
        ROSTER.replace(b"b", b"A"),  # not sorted
        b"\x01" + ROSTER[1:],  # more than are to come
        b"\x41" + ROSTER[1:],  # more than may be
    ],
)
def test_a_roster_that_contradicts_itself_is_not_taken(payload: bytes) -> None:
    with pytest.raises(ValueError, match="roster"):
        _core.mesh_payload_decodes(kind="roster", payload=payload)


def test_a_refusal_is_shown_in_printable_characters_only() -> None:
    hostile = b"\x1b[2J\xff\nok"
    payload = len(hostile).to_bytes(2, "little") + hostile
    assert _core.mesh_payload_decodes(kind="refuse", payload=payload) == "?[2J??ok"


@pytest.mark.parametrize("kind", [*WHOLE, "refuse"])
def test_random_and_damaged_payloads_are_taken_whole_or_not_at_all(kind: str) -> None:
    source = random.Random(kind)
    whole = WHOLE.get(kind, ROSTER)
    taken = 0
    for _ in range(5000):
        payload = bytearray(whole)
        for _ in range(source.randrange(4)):
            payload[source.randrange(len(payload))] = source.randrange(256)
        if source.random() < 0.3:
            payload = bytearray(source.randbytes(source.randrange(200)))
        try:
            kept = _core.mesh_payload_decodes(kind=kind, payload=bytes(payload))
        except ValueError:
            continue
        taken += 1
        assert isinstance(kept, str) if kind == "refuse" else kept is True
    assert taken > 0 or kind == "refuse"
