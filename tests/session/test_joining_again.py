"""A site dies while all join, and is started again: the others wait for it and do not end."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import isthmus
import numpy as np
import pytest
from isthmus import _core, testing
from isthmus.session import Session

HEARTBEAT, JOIN, ROSTER, PRESENCE = 5, 16, 17, 20
HEADER_BYTES = 64
NAMES = testing.site_names(3)


def text16(text: str) -> bytes:
    return len(text).to_bytes(2, "little") + text.encode()


def join_frame(name: str) -> bytes:
    """Of a site that listens where nobody answers, so that nobody is done with it."""
    fields = text16("default") + (3).to_bytes(2, "little")
    fields += _core.codec_table_hash().to_bytes(8, "little") + bytes(8)
    fields += text16(name) + text16("127.0.0.1:1") + bytes(2 + 4 + 2)
    return _core.mesh_frame(kind=JOIN, payload=fields)


def presence_frame(name: str, roster: list[str]) -> bytes:
    """Of a site that trains in epoch 0."""
    fields = text16("default") + text16(name) + bytes(4) + b"\x02" + bytes(8)
    fields += _core.codec_table_hash().to_bytes(8, "little")
    fields += len(roster).to_bytes(2, "little") + b"".join(map(text16, roster))
    fields += (1).to_bytes(2, "little") + text16("")
    return _core.mesh_frame(kind=PRESENCE, payload=fields)


@contextlib.contextmanager
def doomed(rendezvous: str, name: str) -> Iterator[socket.socket]:
    """What is left of a site that joins and then does nothing."""
    host, _, port = rendezvous.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as talk:
        talk.sendall(join_frame(name))
        yield talk


def read(talk: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = talk.recv(size - len(data))
        assert more, "the coordinator has hung up"
        data += more
    return data


def wait_for_roster(talk: socket.socket) -> None:
    while True:
        header = _core.parse_frame_header(read(talk, HEADER_BYTES))
        read(talk, header["length"])
        if header["kind"] == ROSTER and header["generation"] == 1:
            return


@pytest.mark.parametrize("on_loss", ["raise", "continue"])
def test_sites_whose_roster_names_one_that_died_meet_its_next_process(on_loss: str) -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")

    def join(name: str) -> Session:
        return Session(testing.settings(name, 3, keeper.address, on_loss=on_loss))

    with ThreadPoolExecutor(3) as pool:
        with doomed(keeper.address, NAMES[0]) as talk:
            others = [pool.submit(join, name) for name in NAMES[1:]]
            wait_for_roster(talk)
        sessions = [join(NAMES[0]), *(other.result(30) for other in others)]
        works = [session.all_reduce(np.ones(10, np.float32)) for session in sessions]
        for work in works:
            work.wait(20)
            assert work.contributors == tuple(NAMES)
        for session in sessions:
            pool.submit(session.close)
    keeper.close()


def test_where_nobody_starts_it_again_the_others_say_who_is_there_and_how_many_are_missing() -> (
    None
):
    keeper = _core.Coordinator(listen="127.0.0.1:0")

    def join(name: str) -> Session:
        return Session(testing.settings(name, 3, keeper.address, timeout=2))

    with ThreadPoolExecutor(2) as pool:
        with doomed(keeper.address, NAMES[0]) as talk:
            others = [pool.submit(join, name) for name in NAMES[1:]]
            wait_for_roster(talk)
        errors = [other.exception(30) for other in others]
    assert {type(error) for error in errors} == {isthmus.Timeout}
    # Who gives up first sees the other one still there.
    assert any("only 2 of 3 sites came" in str(error) for error in errors), errors
    keeper.close()


def test_who_takes_part_is_asked_whether_it_lives_when_another_process_of_its_name_waits() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    host, _, port = keeper.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as silent:
        alive = _core.mesh_frame(kind=HEARTBEAT, payload=b"")
        silent.sendall(presence_frame(NAMES[0], NAMES) + alive)
        answer = _core.parse_frame_header(read(silent, HEADER_BYTES))
        assert answer["kind"] == HEARTBEAT  # the coordinator knows it now
        with doomed(keeper.address, NAMES[0]):
            asked = _core.parse_frame_header(read(silent, HEADER_BYTES))
            assert asked["kind"] == HEARTBEAT
    keeper.close()
