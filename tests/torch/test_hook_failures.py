"""What the hook does when sites disagree or disappear: a typed error at every rank, no hang."""

from pathlib import Path

import programs
from isthmus.testing import run_sites


def test_handing_over_a_bucket_does_not_wait_for_other_sites(tmp_path: Path) -> None:
    results = run_sites(programs.overlapped_step, sites=[1, 1], arguments=(str(tmp_path),))
    assert results == [[True], [True]]


def test_several_ranks_hand_over_without_waiting_too(tmp_path: Path) -> None:
    results = run_sites(programs.overlapped_step, sites=[2, 1], arguments=(str(tmp_path),))
    assert results == [[True, True], [True]]


def test_a_lost_site_stops_the_step_at_every_rank_of_every_survivor() -> None:
    results = run_sites(
        programs.lose_a_site, sites=[2, 1, 1], arguments=("site02",), expect_death=True
    )
    assert results.pop() == [None]
    for outcome in [outcome for site in results for outcome in site]:
        for where in ("step", "forward", "check"):
            kind, peer, text = outcome[where]
            assert (kind, peer) == ("PeerLost", "site02"), outcome
            assert "site02" in text
        assert outcome["evaluation"] == (8, 1)
        assert outcome["untouched"]


def test_a_lost_rank_makes_its_site_leave_and_all_stop() -> None:
    results = run_sites(
        programs.lose_a_rank, sites=[2, 1], arguments=("site00",), expect_death=True
    )
    gateway, dead = results[0]
    assert dead is None
    assert gateway["step"][0] == "PeerLost"
    assert results[1][0]["step"][:2] == ("PeerLost", "site00")


def test_buckets_that_differ_between_sites_are_refused() -> None:
    for site in run_sites(programs.other_order, sites=[1, 1]):
        assert site[0][0] == "Refused", site


def test_register_refuses_what_cannot_work_and_names_it_at_every_rank() -> None:
    expected = {
        "shape": ("Refused", "1.weight (2, 8) float32 at site00"),
        "number": ("Refused", "the number of parameters: 1 at site00; 2 at site01"),
        "dtype": ("Refused", "0.weight (8, 4) float64 at site01"),
        "codec": ("Refused", '"codec": "bf16"'),
        "sparse": ("Refused", "sparse=False"),
        "complex": ("Refused", "parameter 'weight' is torch.complex64"),
        "twice": ("Refused", "only one"),
        "bare": ("Refused", "not Sequential"),
        "no session": ("Refused", "rank 0 of the model's process group"),
        "own state": ("nothing", ""),
        "other codec": ("Refused", "codec is 'int4', this hook's is 'f32'"),
        "other layout": ("Refused", "layout is '00'"),
        "no state": ("Refused", "not a hook's state"),
        "good step": ("nothing", ""),
        "closed": ("Cancelled", "wrap the module in a new DDP"),
        "closed step": ("nothing", ""),
        "let go": ("nothing", ""),
        "closed backward": ("Cancelled", "wrap the module in a new DDP"),
        "failed step": ("nothing", ""),
    }
    for site in run_sites(programs.refusals, sites=[1, 2]):
        for seen in site:
            assert set(seen) == set(expected)
            for name, (kind, text) in expected.items():
                assert seen[name][0] == kind, (name, seen[name])
                assert text in seen[name][2], (name, seen[name])
