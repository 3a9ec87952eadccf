"""What two sites do to measure the path between them.

Echoes; then one stream each way; then many, one way after the other, as a way back that is full of
data delays acknowledgements, and hides what the way out carries; then the many both ways, held to
half of their rate: what is lost then, no queue of ours has dropped. The site that dialled leads: it
asks for echoes, and says when and for how long data flows. Both are done before the deadline.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from socket import socket
from typing import Literal

from isthmus.doctor import sockets, transfer
from isthmus.doctor.measurements import Echo, Flow, Probe, Receiving, Sending
from isthmus.doctor.wire import Conversation, Kind, Message, ProbeError

pair_s = 5.0  # a pair takes no longer
many_streams = 8
streams = 1 + many_streams  # the conversation, and data
_echoes, _least_echoes, _echoes_s = 20, 3, 0.3
_margin_s = 0.5  # for what is said after the last data, and for a late thread


@dataclass(frozen=True, kw_only=True)
class _Test:
    """share: of the time that is left for tests."""

    name: Literal["one", "many", "calm"]
    sender: Literal["leader", "follower", "both"]
    share: float


_tests = (
    _Test(name="one", sender="both", share=0.34),
    _Test(name="many", sender="leader", share=0.25),
    _Test(name="many", sender="follower", share=0.25),
    _Test(name="calm", sender="both", share=0.16),
)
_calm_share = 0.5
_least_test_s = 0.2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    probe: Probe
    busy: float


class _Turn:
    """One pair's turn: the connections, and what has been measured so far."""

    def __init__(self, found: Sequence[socket], *, leads: bool, deadline: float) -> None:
        self.talk = Conversation(found[0], deadline)
        self.leads = leads
        self.deadline = deadline
        # The one goes on among the many: they need not find its share of the path again.
        self.streams = {"one": found[1:2], "many": found[1:], "calm": found[1:]}
        self.echo: Echo | None = None
        self.sent: dict[str, Sending] = {}
        self.received: dict[str, Receiving] = {}
        self.busy = 0.0

    def bulk(self, test: _Test, seconds: float) -> None:
        streams = self.streams[test.name]
        sends = test.sender == "both" or (test.sender == "leader") == self.leads
        receives = test.sender == "both" or not sends
        if test.name == "calm":
            sockets.pace(streams, _calm_share * self.sent["many"].rate)
        result = transfer.exchange([streams], seconds=seconds, sends=sends)
        flow = result.flows[0]
        if flow is None:
            raise ProbeError("the connection broke under load")
        if sends:
            self.sent[test.name] = flow.sending
        if receives:
            self.received[test.name] = flow.receiving
        self.busy = max(self.busy, result.busy)

    def flow(self, name: str) -> Flow | None:
        if name not in self.sent or name not in self.received:
            return None
        count = len(self.streams[name])
        return Flow(streams=count, sending=self.sent[name], receiving=self.received[name])

    def outcome(self, peer: str, failure: str) -> Outcome:
        one, many, calm = self.flow("one"), self.flow("many"), self.flow("calm")
        if calm is not None:
            failure = ""  # all that was to be measured has been, whatever was said at the end
        probe = Probe(peer=peer, echo=self.echo, one=one, many=many, calm=calm, failure=failure)
        return Outcome(probe=probe, busy=self.busy)


def measure(peer: str, found: Sequence[socket], *, leads: bool, deadline: float) -> Outcome:
    """One pair's turn, over `streams` connections, which it drops. Raises nothing for a peer."""
    turn = _Turn(found, leads=leads, deadline=deadline)
    failure = ""
    try:
        (_lead if leads else _follow)(turn)
    except (ProbeError, OSError) as error:
        failure = str(error)
    finally:
        sockets.drop(found)
    return turn.outcome(peer, failure)


def _lead(turn: _Turn) -> None:
    turn.echo = _ask_echoes(turn.talk)
    # Each test begins with a word and its answer. The other site begins, and is done, half a round
    # trip before us: its "done" comes when we are.
    spoken_s = (len(_tests) + 1) * turn.echo.usual_round_trip_s
    left = turn.deadline - time.monotonic() - _margin_s - spoken_s
    for test in _tests:
        milliseconds = round(1000 * max(_least_test_s, test.share * left))
        count = len(turn.streams[test.name])
        turn.talk.say(Message(kind=Kind.start, streams=count, milliseconds=milliseconds))
        turn.talk.hear(Kind.ready)
        turn.bulk(test, milliseconds / 1000)
        turn.talk.hear(Kind.done)
    turn.talk.say(Message(kind=Kind.done))


def _follow(turn: _Turn) -> None:
    for test in _tests:
        start = _answer_echoes(turn.talk)
        if start.streams != len(turn.streams[test.name]) or start.milliseconds > 1000 * pair_s:
            raise ProbeError("the peer asks for another test than this doctor knows")
        turn.talk.say(Message(kind=Kind.ready))
        turn.bulk(test, start.milliseconds / 1000)
        turn.talk.say(Message(kind=Kind.done))
    turn.talk.hear(Kind.done)  # until then it needs our end of the connections


def _ask_echoes(talk: Conversation) -> Echo:
    """The four times of each echo as in RFC 5905: both clocks, there and back."""
    begin = time.monotonic()
    trips: list[float] = []
    offsets: list[float] = []
    while len(trips) < _echoes:
        if len(trips) >= _least_echoes and time.monotonic() - begin > _echoes_s:
            break
        sent, ticks = time.time_ns(), time.monotonic_ns()
        talk.say(Message(kind=Kind.ping, times_ns=(sent, 0, 0)))
        _, came, left = talk.hear(Kind.pong).times_ns
        # By the clock that nobody sets.
        trip = time.monotonic_ns() - ticks - (left - came)
        trips.append(max(0, trip) / 1e9)
        offsets.append(((came - sent) - trip / 2) / 1e9)
    fastest = min(range(len(trips)), key=trips.__getitem__)
    return Echo(
        round_trip_s=trips[fastest],
        usual_round_trip_s=statistics.median(trips),
        clock_offset_s=offsets[fastest],
    )


def _answer_echoes(talk: Conversation) -> Message:
    """Answers pings until data is to flow; the message that says so."""
    while True:
        message = talk.hear(Kind.ping, Kind.start)
        if message.kind is Kind.start:
            return message
        came = time.time_ns()
        sent, _, _ = message.times_ns
        talk.say(Message(kind=Kind.pong, times_ns=(sent, came, time.time_ns())))
