"""Frames: headers and their checks, and channels over torn, tampered and hostile streams."""

import random
import re
from pathlib import Path

import pytest
from isthmus._core import (
    SimActor,
    SimChannel,
    SimNet,
    crc32c,
    frame_header,
    parse_frame_header,
)
from isthmus.errors import IsthmusError, Refused, WireError
from site_programs import ADDRESS, NEVER, SECOND, Sender, said

KINDS = [*range(1, 13), 16, 17, 18, 19, 20, 21, 22]
LIMIT = 1 << 20
WIDTHS = {
    "source": 16,
    "run": 64,
    "generation": 32,
    "attempt": 32,
    "operation": 64,
    "transfer": 32,
    "offset": 64,
    "watermark": 64,
    "payload_check": 32,
}


def some_header(rng: random.Random) -> dict[str, int]:
    fields = {name: rng.getrandbits(bits) for name, bits in WIDTHS.items()}
    return {"kind": rng.choice(KINDS), "length": rng.randint(0, LIMIT), **fields}


def with_check(header: bytes) -> bytes:
    return header[:60] + crc32c(header[:60]).to_bytes(4, "little")


def test_crc32c_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's check value
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("way", [0, 1, 2])
def test_each_way_to_a_crc_is_the_definition_wherever_it_is_cut(way: int) -> None:
    try:
        crc32c(b"", way=way)
    except ValueError:
        pytest.skip("this machine has no instruction for it")
    rng = random.Random(way)
    for size in [
        *range(40),
        255,
        768,
        1023,
        1024,
        1279,
        1300,
        2048,
        769,
        1000,
        12_287,
        12_288,
        12_295,
        30_001,
    ]:
        data = rng.randbytes(size)
        cut = rng.randint(0, size)
        head = crc32c(data[:cut], way=way)
        assert crc32c(data[cut:], head, way) == slow_crc32c(data), (size, cut)


@pytest.mark.parametrize("seed", range(50))
def test_header_comes_back_from_its_bytes(seed: int) -> None:
    header = some_header(random.Random(seed))
    assert parse_frame_header(frame_header(**header)) == header


def test_one_changed_bit_is_found() -> None:
    for bit in range(512):
        raw = bytearray(frame_header(**some_header(random.Random(bit))))
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises((WireError, Refused)):
            parse_frame_header(bytes(raw))


def test_noise_is_no_header() -> None:
    rng = random.Random(1)
    for _ in range(20_000):
        with pytest.raises(WireError, match="wrong magic"):
            parse_frame_header(rng.randbytes(64))


def test_checked_noise_is_parsed_or_refused_and_never_more() -> None:
    rng = random.Random(2)
    outcomes = set()
    for _ in range(20_000):
        kind = rng.choice([*KINDS, rng.randrange(256)])
        body = b"ISTH\x03" + bytes([kind]) + rng.randbytes(30)
        length = rng.choice([0, LIMIT, LIMIT + 1, rng.getrandbits(32)]).to_bytes(4, "little")
        raw = with_check(body + length + rng.randbytes(20) + bytes(4))
        try:
            fields = parse_frame_header(raw)
        except WireError as error:
            outcomes.add(re.sub(r"\d+", "n", str(error)))
            continue
        outcomes.add("parsed")
        assert fields["kind"] in KINDS and fields["length"] <= LIMIT
        assert frame_header(**fields) == raw
    assert outcomes == {
        "parsed",
        "unknown frame kind n",
        "a frame of n bytes exceeds the limit of n",
    }


def test_other_version_is_refused_with_advice() -> None:
    raw = bytearray(frame_header(kind=5))
    raw[4] = 9
    with pytest.raises(Refused, match="protocol version 9 there, 3 here: install"):
        parse_frame_header(with_check(bytes(raw)))


class Talker(SimActor):
    """Sends frames over a channel and keeps those that come."""

    def __init__(self, limit: int = LIMIT) -> None:
        super().__init__()
        self.channel: SimChannel | None = None
        self.frames: list[tuple[dict[str, int], bytes]] = []
        self.got: list[tuple[dict[str, int], bytes]] = []
        self.error = ""
        self.limit = limit

    def step(self, now_ns: int) -> int:
        if self.channel is None or self.error:
            return NEVER
        try:
            for fields, payload in self.frames:
                self.channel.send(fields, payload)
            self.frames = []
            self.channel.flush()
            while message := self.channel.receive(self.limit):
                self.got.append(message)
        except IsthmusError as error:
            self.error = said(error)
        return NEVER


class Host(Talker):
    def __init__(self, net: SimNet, limit: int = LIMIT) -> None:
        super().__init__(limit)
        self.listener = net.listen(1, ADDRESS)

    def step(self, now_ns: int) -> int:
        if self.channel is None and (stream := self.listener.accept()):
            self.channel = SimChannel(stream)
        return super().step(now_ns)


def talk(
    frames: list[tuple[dict[str, int], bytes]],
    answers: list[tuple[dict[str, int], bytes]],
    seed: int,
) -> tuple[Talker, Talker, SimNet]:
    net = SimNet(seed=seed, window_bytes=50_000, jitter_ns=1000)
    host, guest = Host(net), Talker()
    guest.channel = SimChannel(net.connect(0, ADDRESS))
    guest.frames, host.frames = list(frames), list(answers)
    net.add(1, host)
    net.add(0, guest)
    return guest, host, net


def carried(header: dict[str, int], length: int) -> dict[str, int]:
    """A channel makes a payload's check and tests it; nobody else sees it."""
    return {**header, "length": length, "payload_check": 0}


def some_frames(rng: random.Random) -> list[tuple[dict[str, int], bytes]]:
    frames = []
    for _ in range(rng.randint(1, 12)):
        payload = rng.randbytes(rng.choice([0, 1, 63, 64, 65, rng.randint(0, 70_000)]))
        frames.append((carried(some_header(rng), len(payload)), payload))
    return frames


@pytest.mark.parametrize("seed", range(200))
def test_frames_survive_torn_streams(seed: int) -> None:
    rng = random.Random(seed)
    frames, answers = some_frames(rng), some_frames(rng)
    guest, host, net = talk(frames, answers, seed)
    done = net.run_until(
        lambda: len(host.got) == len(frames) and len(guest.got) == len(answers), 100 * SECOND
    )
    assert (done, guest.error, host.error) == ("reached", "", "")
    assert (host.got, guest.got) == (frames, answers)
    assert guest.channel and host.channel
    assert guest.channel.flushed() and guest.channel.between_frames()
    size = sum(64 + len(payload) for _, payload in frames)
    assert (guest.channel.bytes_sent(), host.channel.bytes_received()) == (size, size)


def test_largest_frame_passes() -> None:
    frame = (carried(some_header(random.Random(3)), LIMIT), random.Random(3).randbytes(LIMIT))
    _, host, net = talk([frame], [], 1)
    assert net.run_until(lambda: bool(host.got), 100 * SECOND) == "reached"
    assert host.got == [frame]


def outcome(raw: bytes, limit: int = LIMIT) -> tuple[int, str]:
    """How many frames a channel finds in `raw`, and how it ends."""
    net = SimNet()
    host = Host(net, limit)
    sender = Sender(net, 0, ADDRESS, raw)
    net.add(1, host)
    net.add(0, sender)
    assert net.run_until(lambda: bool(host.error), 10 * SECOND) == "reached"
    return len(host.got), host.error


FRAME = frame_header(kind=5, length=10) + b"0123456789"
CHECKED = frame_header(kind=5, length=10, payload_check=crc32c(b"0123456789")) + b"0123456789"


@pytest.mark.parametrize(
    ("raw", "limit", "frames", "error"),
    [
        (FRAME * 3, LIMIT, 3, "was closed"),
        (FRAME * 2 + FRAME[:-1], LIMIT, 2, "was closed"),
        (b"GET / HTTP/1.1\r\nHost: site1\r\n" + b"\r\n" * 40, LIMIT, 0, "not isthmus frames"),
        (FRAME + b"x" + FRAME, LIMIT, 1, "not isthmus frames"),
        (FRAME + FRAME, 9, 0, "a frame of 10 bytes where at most 9 may come"),
        (FRAME + FRAME, 10, 2, "was closed"),
        (FRAME[:4] + b"\x01" + FRAME[5:], LIMIT, 0, "protocol version 1"),
        (CHECKED + CHECKED[:-1] + b"8", LIMIT, 1, "payload of a frame arrived damaged"),
        (FRAME[:16] + b"x" + FRAME[17:], LIMIT, 0, "damaged"),
        (frame_header(kind=5, length=LIMIT + 1), LIMIT, 0, "exceeds the limit of 1048576"),
        (b"", LIMIT, 0, "was closed"),
    ],
)
def test_channel_takes_whole_frames_and_says_why_no_more(
    raw: bytes, limit: int, frames: int, error: str
) -> None:
    found, why = outcome(raw, limit)
    assert found == frames
    assert error in why


def test_channel_gives_up_on_a_peer_that_does_not_read() -> None:
    net = SimNet(window_bytes=1 << 16)
    listener = net.listen(1, ADDRESS)
    guest = Talker()
    guest.channel = SimChannel(net.connect(0, ADDRESS))
    guest.frames = [({"kind": 5}, bytes(LIMIT))] * 65
    net.add(0, guest)
    assert net.run_until(lambda: bool(guest.error), SECOND) == "reached"
    assert "WireError: the peer at site1:7000 does not read what we send" in guest.error
    del listener


# The example in csrc/net/wire.md.
EXAMPLE = {
    "kind": 4,
    "source": 2,
    "run": 0x1122334455667788,
    "generation": 1,
    "attempt": 0,
    "operation": 41,
    "transfer": 3,
    "length": 16,
    "offset": 65536,
    "watermark": 40,
    "payload_check": crc32c(bytes(range(16))),
}


def test_worked_example_is_what_the_code_writes() -> None:
    text = (Path(__file__).parents[2] / "csrc/net/wire.md").read_text()
    found = re.search(r"```hex\n(.*?)```", text, re.S)
    assert found
    rows = [row.split("|")[0].split(maxsplit=1)[1] for row in found[1].strip().splitlines()]
    assert bytes.fromhex("".join(rows)) == frame_header(**EXAMPLE)


def test_documented_kinds_are_those_that_parse() -> None:
    text = (Path(__file__).parents[2] / "csrc/net/wire.md").read_text()
    documented = {int(n) for n in re.findall(r"^\| (\d+) \| `\w+` \|", text, re.M)}
    parsed = set()
    for kind in range(256):
        try:
            parsed.add(parse_frame_header(frame_header(kind=kind))["kind"])
        except WireError:
            continue
    assert documented == parsed == set(KINDS)
