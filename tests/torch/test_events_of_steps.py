"""The hook tells which steps were made of fewer sites than the step before."""

import event_programs
from isthmus.testing import run_sites

VICTIM = "site02"


def test_a_site_that_dies_in_a_step_is_told_of_with_that_step_and_once() -> None:
    results = run_sites(
        event_programs.survive,
        sites=[1, 1, 1, 1],
        arguments=(VICTIM, 6),
        on_loss="continue",
        expect_death=True,
    )
    assert results.pop(2) == [None]
    for (events,) in results:
        steps = [event for event in events if event["kind"] == "step"]
        assert [event["step"] for event in steps] in ([2], [3])
        assert steps[0]["contributors"] == ("site00", "site01", "site03")
        assert "with 3 sites" in steps[0]["text"]
        lost = [event["site"] for event in events if event["kind"] == "lost"]
        assert lost == [VICTIM]
    assert (
        len({str([e["text"] for e in events if e["kind"] == "step"]) for (events,) in results}) == 1
    )
