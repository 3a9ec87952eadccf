"""Lossy codecs in real DDP jobs: the same bits everywhere, residuals through thick and thin."""

from collections.abc import Callable
from pathlib import Path

import codec_programs
import programs
from isthmus.testing import run_sites


def test_every_codec_trains_and_leaves_the_same_bits_everywhere() -> None:
    results = run_sites(codec_programs.losses_by_codec, sites=[2, 1, 1], arguments=(40,))
    gateways = [site[0] for site in results]
    for name in codec_programs.ways:
        ranks = [rank[name] for site in results for rank in site]
        assert len({rank["digest"] for rank in ranks}) == 1, name
        mean_first = sum(rank["first"] for rank in ranks)
        assert sum(rank["last"] for rank in ranks) < 0.3 * mean_first, name
        assert results[0][1][name]["residuals"] == {}, "only a gateway keeps residuals"
    matrices = {"head.weight", *(f"layers.{i}.weight" for i in range(3))}
    matrices |= {f"branches.{i}.weight" for i in range(3)}
    for name in ("int4", "int4 bf16 residual", "int2", "sign", "topk"):
        norms = [{k: v[2] for k, v in g[name]["residuals"].items()} for g in gateways]
        assert all(set(each) == matrices and min(each.values()) > 0 for each in norms), name
        assert norms[0] != norms[1], "each site owes its own"
    kinds = {v[1] for v in gateways[0]["int4 bf16 residual"]["residuals"].values()}
    assert kinds == {"torch.bfloat16"}
    for name in ("int8", "int4 stochastic"):
        assert gateways[0][name]["residuals"] == {}, name
    fed = set(gateways[0]["rules"]["residuals"])
    assert fed == {"head.weight", *(f"layers.{i}.weight" for i in range(3))}


def test_a_site_that_encodes_and_sums_on_its_device_ends_with_the_others_bits(
    run_interpreted: Callable[[Path], None],
) -> None:
    run_interpreted(Path(__file__).with_name("device_program.py"))


def test_residuals_survive_new_buckets_bad_steps_and_checkpoints() -> None:
    results = run_sites(codec_programs.life_of_residuals, sites=[2, 1])
    for site in results:
        gateway, *others = site
        for seen in site:
            assert seen["not finite"] and seen["kept"] and seen["loaded"] and seen["resumed"]
            assert seen["unchanged"]
            assert seen["another site"] == "nothing"
        assert gateway["at first"] and gateway["moved on"]
        assert "layers.0.weight" in gateway["after one bucket"]
        assert "layers.0.bias" not in gateway["after one bucket"]
        assert "has a residual of 'nobody'" in gateway["unknown"]
        assert "'head.weight' is not of the shape (1, 48)" in gateway["shape"]
        for seen in others:
            assert seen["after one bucket"] == []


def test_find_unused_parameters_works_with_a_lossy_codec() -> None:
    """Who used what is asked exactly, whatever the codec."""
    how = {**programs.variants["find_unused"], "codec": "int4"}
    results = run_sites(codec_programs.train_with, sites=[1, 1], arguments=(12, how))
    assert results[0] == results[1]
