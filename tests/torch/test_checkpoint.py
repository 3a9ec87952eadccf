"""A run that is resumed is the run that was not interrupted, bit for bit."""

from pathlib import Path

import checkpoint_programs
import pytest
from isthmus.testing import run_sites

SITES = [2, 1]
HALF, STEPS = 4, 8


@pytest.mark.parametrize("delay", [0, 1])
def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(
    tmp_path: Path, delay: int
) -> None:
    arguments = (str(tmp_path), HALF, STEPS, delay)
    whole = run_sites(checkpoint_programs.without_a_break, sites=SITES, arguments=arguments)
    for distributed in (False, True):
        again = run_sites(
            checkpoint_programs.resumed, sites=SITES, arguments=(*arguments, distributed)
        )
        assert [[digests for digests, _ in site] for site in again] == whole
        assert {counted for site in again for _, counted in site} == {STEPS}


@pytest.mark.parametrize("half", [1, 2])
def test_so_has_one_that_was_saved_before_ddp_built_its_buckets_anew(
    tmp_path: Path, half: int
) -> None:
    arguments = (str(tmp_path), half, half + 2, 0)
    whole = run_sites(checkpoint_programs.without_a_break, sites=SITES, arguments=arguments)
    again = run_sites(checkpoint_programs.resumed, sites=SITES, arguments=(*arguments, False))
    assert [[digests for digests, _ in site] for site in again] == whole


def test_without_the_state_the_bits_differ_and_a_state_of_another_run_is_refused(
    tmp_path: Path,
) -> None:
    arguments = (str(tmp_path), HALF, STEPS)
    whole = run_sites(checkpoint_programs.without_a_break, sites=SITES, arguments=(*arguments, 0))
    again = run_sites(checkpoint_programs.without_the_state, sites=SITES, arguments=arguments)
    remedies = {"codec": "same codec=", "layout": "build the model", "delay": "same delay="}
    remedies["sites"] = "start the same sites"
    for number, site in enumerate(again):
        for rank, (digests, refusals) in enumerate(site):
            assert digests != whole[number][rank]
            for key, remedy in remedies.items():
                kind, _, text = refusals[key]
                assert kind == "Refused"
                assert text.startswith(
                    f"site 'site{number:02}', rank {rank}: the checkpoint's {key}"
                )
                assert remedy in text
