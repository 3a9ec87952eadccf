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


def test_the_documented_join_is_one() -> None:
    assert len(EXAMPLE) == 34
    assert _core.mesh_payload_decodes(kind="join", payload=EXAMPLE) is True


def test_a_roster_comes_back_as_it_was() -> None:
    assert _core.mesh_payload_decodes(kind="roster", payload=ROSTER) is True


@pytest.mark.parametrize(("kind", "whole"), [("join", EXAMPLE), ("roster", ROSTER)])
def test_no_part_and_no_extension_of_a_payload_is_taken(kind: str, whole: bytes) -> None:
    for payload in [whole[:end] for end in range(len(whole))] + [whole + b"\0"]:
        with pytest.raises(ValueError, match=r"join|roster|sites|name"):
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


@pytest.mark.parametrize("kind", ["join", "roster", "refuse"])
def test_random_and_damaged_payloads_are_taken_whole_or_not_at_all(kind: str) -> None:
    source = random.Random(kind)
    whole = EXAMPLE if kind == "join" else ROSTER
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
