"""Hugging Face's Trainer, with the hook registered from a callback."""

import pytest
from isthmus.testing import run_sites

pytest.importorskip("transformers")
pytest.importorskip("accelerate")


def test_a_trainer_callback_registers_and_the_hook_is_called() -> None:
    import trainer_program

    results = run_sites(trainer_program.train, sites=[2, 2], preload=["transformers"])
    ranks = [rank for site in results for rank in site]
    assert [seen["steps"] for seen, _ in ranks] == [3] * 4
    assert all(seen["buckets"] >= 3 for seen, _ in ranks)
    assert len({digest for _, digest in ranks}) == 1
