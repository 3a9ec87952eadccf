"""What a site's operator is told: in stats(), and by the logger, in plain sentences."""

import gc
import logging
import threading
import time
from typing import Any

import isthmus
import numpy as np
import pytest
from isthmus import _core, testing
from isthmus.events import Event, Events, of_native, partial_step
from isthmus.session import Session

ALL = ("aws", "azure", "gcp", "oci")


def told(session: Session, kind: str) -> list[dict[str, Any]]:
    return [event for event in session.stats()["events"] if event["kind"] == kind]


def awaited(session: Session, kind: str) -> list[dict[str, Any]]:
    """A thread of its own takes events in, perhaps after the works that they end are over."""
    end = time.monotonic() + 20
    while not (found := told(session, kind)):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def reduce(sessions: list[Session]) -> list[tuple[str, ...]]:
    works = [session.all_reduce(np.ones(1000, np.float32)) for session in sessions]
    for work in works:
        work.wait(20)
    return [work.contributors for work in works]


def test_who_is_left_says_who_was_lost_and_how_many_remain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with testing.sites(4, on_loss="continue") as sessions, caplog.at_level(logging.WARNING):
        sessions[2].close()
        left = [session for session in sessions if session.rank != 2]
        reduce(left)
        for session in left:
            (lost,) = awaited(session, "lost")
            assert (lost["site"], lost["remaining"], lost["of"]) == ("site02", 3, 4)
            assert lost["text"].startswith('site "site02" ')
            assert lost["text"].endswith("; 3 of 4 sites remain, generation 2")
            assert lost["text"] in str(session.stats())
    records = [record for record in caplog.records if getattr(record, "event", "") == "lost"]
    assert len(records) == 3
    assert {(record.name, record.site) for record in records} == {("isthmus", "site02")}


def test_a_session_that_ends_for_a_loss_says_why_and_one_that_is_closed_says_nothing() -> None:
    with testing.sites(2) as sessions:
        work = sessions[0].all_reduce(np.ones(1000, np.float32))
        sessions[1].close()
        with pytest.raises(isthmus.PeerLost):
            work.wait(20)
        (ended,) = awaited(sessions[0], "ended")
        assert ended["code"] == "peer_lost" and ended["site"] == "site01"
        assert 'site "site01"' in ended["text"]
        assert [event["kind"] for event in sessions[1].stats()["events"]] == ["joined"]


def test_streams_that_come_and_go_are_told_of_at_both_ends() -> None:
    with testing.sites(2) as sessions:
        reduce(sessions)
        before = sessions[0].stats()["links"]["site01"]["streams"]
        for count in (before + 2, before):
            for session in sessions:
                session._native.set_streams(1 - session.rank, count)
            while any([e["streams"] for e in told(s, "streams")][-1:] != [count] for s in sessions):
                reduce(sessions)
        for session in sessions:
            first, last = told(session, "streams")[0], told(session, "streams")[-1]
            assert first["before"] == before and last["streams"] == before


def test_events_are_kept_newest_last_and_no_more_than_a_bounded_number() -> None:
    events = Events()
    for i in range(1000):
        events.add(Event(kind="test", text=str(i), level=logging.DEBUG))
    kept = events.kept()
    assert len(kept) == 256
    assert [kept[0]["text"], kept[-1]["text"]] == ["744", "999"]


def test_a_session_that_nobody_holds_ends_though_its_events_are_awaited() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    session = Session(testing.settings("aws", 1, keeper.address))
    (waiting,) = [each for each in threading.enumerate() if each.name == "isthmus-events"]
    del session
    gc.collect()
    waiting.join(20)
    assert not waiting.is_alive()
    keeper.close()


def test_that_the_coordinator_is_lost_and_back_is_said_once_each_however_often_it_is_dialled() -> (
    None
):
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    address = keeper.address
    session = Session(testing.settings("aws", 1, address, on_loss="continue"))
    session._native.attend(changed_over=True)

    assert session.stats()["coordinator"]
    keeper.close()
    awaited(session, "coordinator_lost")
    assert not session.stats()["coordinator"]
    time.sleep(1.5)  # it is dialled again meanwhile, more than once
    keeper = _core.Coordinator(listen=address)
    awaited(session, "coordinator_back")
    (lost,), (back,) = told(session, "coordinator_lost"), told(session, "coordinator_back")
    assert lost["level"] == "warning" and back["level"] == "info"
    assert lost["text"].startswith(f"coordinator at {address} lost (")
    assert back["text"] == f"coordinator at {address} is back"
    assert session.stats()["event_counts"] == {
        "joined": 1,
        "coordinator_lost": 1,
        "coordinator_back": 1,
    }
    session.close()
    keeper.close()


def test_sessions_of_two_epochs_that_see_the_same_loss_make_one_event() -> None:
    away = {"kind": "coordinator", "peer": -1, "why": "coordinator at x lost (gone)", "now": 0}
    there = {**away, "why": "coordinator at x is back", "now": 1}
    events = Events()
    facts = [there, away, away, there, there, away]
    assert [events.is_news(fact) for fact in facts] == [False, True, False, True, False, True]


def test_sentences_count_right() -> None:
    three, four = ALL[:3], ALL
    assert partial_step(812, [four] * 4 + [three] * 5).text == (
        "step 812: 5 of 9 buckets with 3 sites, 4 with 4 sites"
    )
    assert partial_step(7, [("aws",)]).text == "step 7: 1 of 1 bucket with 1 site"
    fact = {"kind": "lost", "peer": 2, "code": "peer_lost", "before": 4, "now": 3, "generation": 2}
    assert of_native({**fact, "why": 'site "gcp" lost (no bytes for 5.0 s, generation 1)'}, ALL)
    unseen = of_native({**fact, "why": ""}, ALL).text
    assert unseen == ('site "gcp" lost (the other sites say so); 3 of 4 sites remain, generation 2')
