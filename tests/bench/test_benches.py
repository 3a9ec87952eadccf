"""The benches themselves, small: they run from end to end, and say what they lack."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from isthmus.bench import ddp, options
from isthmus.bench.carriers import carriers
from isthmus.bench.command import main
from isthmus.bench.job import Case, Job, Sample, cpu_s_per_gb, job_of, seconds
from isthmus.bench.rails import Took, together
from isthmus.bench.rows import Coding, Timing, Training, read
from isthmus.bench.scaling import Shape, check_shapes, simulate
from isthmus.demo.record import Record
from isthmus.errors import Refused

SCRIPT = Path(__file__).parents[2] / "bench" / "rails.py"
LINE = [sys.executable, "-m", "isthmus.cli", "bench"]


def test_a_job_comes_back_from_its_command() -> None:
    job = Job(
        addresses=["a", "b"],
        ports=[1, 2],
        interface="lo",
        cases=[Case(elements=5, repeats={"gloo": 3}, inner=2)],
        libraries=["gloo"],
        lead_s=0.1,
        uplink_mbit=[0.0, 100.0],
        idle_s=3.0,
    )
    assert job_of(job.line(Path("x"))[-2]) == job


def test_an_operation_ends_with_its_last_rank() -> None:
    def samples(ends: list[float]) -> dict[str, list[Sample]]:
        return {"gloo": [Sample(start_s=10.0, end_s=end, cpu_s=0.5) for end in ends]}

    case = [samples([12.0, 11.0, 13.0]), samples([11.0, 14.0, 13.0])]
    assert seconds(case, "gloo") == 3.0  # of 2, 4 and 3
    assert seconds(case, "gloo", inner=2) == 1.5
    assert seconds(case, "isthmus f32") is None
    found = cpu_s_per_gb(case, {"gloo": "gloo", "isthmus": "isthmus f32"}, bytes=500_000_000)
    assert found == {"gloo": 1.0}


def record(step: int, *, start_s: float, step_s: float, cpu_s: float = 0.25) -> Record:
    return Record(
        step=step,
        loss=5.0 - step,
        tokens=100,
        start_s=start_s,
        step_s=step_s,
        compute_s=0.5,
        optimizer_s=0.1,
        exchange_s=None,
        cpu_s=cpu_s,
        wan_bytes=None,
    )


def test_tokens_count_from_the_first_begin_to_the_last_end_of_each_turn() -> None:
    fast = [record(0, start_s=0.0, step_s=1.0), record(1, start_s=1.0, step_s=1.0)]
    slow = [record(0, start_s=0.0, step_s=2.0), record(1, start_s=2.0, step_s=2.0)]
    later = [record(2, start_s=100.0, step_s=2.0)]
    way = ddp.summary([[fast, slow], [later, later]])
    assert way.tokens_per_s == pytest.approx((400 + 200) / (4.0 + 2.0))
    assert way.step_s == pytest.approx((4.0 + 2.0) / 3)
    assert [step.step for step in way.steps] == [0, 1, 2]


def test_processor_time_of_a_step_is_the_mean_over_ranks_whatever_the_step_took() -> None:
    here = [record(0, start_s=0.0, step_s=1.0, cpu_s=0.5)]
    beside_other_load = [record(0, start_s=0.0, step_s=9.0, cpu_s=0.75)]
    way = ddp.summary([[here, beside_other_load]])
    assert way.mean("cpu_s") == pytest.approx(0.625)


def test_a_way_of_training_says_what_is_not_as_usual() -> None:
    ways = carriers(["int4"], ["topk"], [25.0, 4.0], gloo=True)
    assert [way.name for way in ways] == [
        "alone",
        "isthmus int4",
        "isthmus int4, buckets of 4 MB",
        "isthmus topk, a step late",
        "gloo",
        "gloo, buckets of 4 MB",
    ]
    assert len(set(ways)) == len(ways)


def test_a_step_of_all_ranks_ends_with_the_last_and_begins_when_all_have() -> None:
    pytest.importorskip("torch")
    from isthmus.bench.rail_steps import Step

    ranks = [
        [Step(begin_s=1.0, end_s=4.0, cpu_s=0.5), Step(begin_s=10.0, end_s=11.0, cpu_s=0.25)],
        [Step(begin_s=2.0, end_s=3.5, cpu_s=1.0), Step(begin_s=10.5, end_s=12.0, cpu_s=0.25)],
    ]
    assert together(ranks) == [Took(step_s=2.0, cpu_s=1.5), Took(step_s=1.5, cpu_s=0.5)]


def test_rails_without_one_rail_beside_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="one rail, to compare with"):
        main(["rails", f"--out={tmp_path}", "--rails", "2", "3"])


def test_results_of_the_tree_are_only_saved_in_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="root"):
        main(["scaling", "--save"])


def test_what_is_missing_is_named_with_the_extra() -> None:
    with pytest.raises(Refused, match=r"no_such_module.*isthmus\[bench\]"):
        options.require("exchange", "json", "no_such_module")


def test_help_lists_the_benches() -> None:
    done = subprocess.run([*LINE, "--help"], capture_output=True, text=True, check=True)
    for bench in ("codecs", "exchange", "wan", "ddp", "rails", "scaling", "report", "all"):
        assert f"\n    {bench} " in done.stdout


def test_codecs_are_measured_and_kept(tmp_path: Path) -> None:
    assert main(["codecs", f"--out={tmp_path}", "--codecs=bf16", "--elements=4096"]) == 0
    rows = [entry.row for entry in read(tmp_path / "codecs.jsonl")]
    ours = {row.operation for row in rows if isinstance(row, Coding) and row.codec == "bf16"}
    assert {"encode", "decode", "decode_add", "owner"} <= ours


@pytest.mark.slow
def test_a_tiny_exchange_is_measured_beside_gloo_and_resumed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    small = ["exchange", f"--out={tmp_path}", "--ranks=2", "--mb=.1", "--repeats=2"]
    line = [*LINE, *small, "--codecs", "f32", "int4"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = (tmp_path / "exchange.jsonl").read_text()
    rows = [entry.row for entry in read(tmp_path / "exchange.jsonl")]
    assert [row.key for row in rows] == [("100 KB, 2 ranks", c) for c in ("f32", "int4")]
    for row in rows:
        assert isinstance(row, Timing)
        assert row.isthmus_s and row.floor_s > 0 and row.peers["gloo"] > 0
    again = subprocess.run([*line, "--resume"], capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert "100 KB, 2 ranks" in again.stdout
    assert (tmp_path / "exchange.jsonl").read_text() == kept


@pytest.mark.slow
@pytest.mark.parametrize("program", [[*LINE, "rails"], [sys.executable, str(SCRIPT)]])
def test_a_small_step_is_measured_with_one_rail_and_with_two(
    program: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    small = [f"--out={tmp_path}", "--mb=1", "--turns=1", "--steps=1", "--codecs=int4"]
    done = subprocess.run([*program, *small], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [entry.row for entry in read(tmp_path / "rails.jsonl")]
    assert [row.key[1:] for row in rows] == [("int4", "1"), ("int4", "2")]


@pytest.mark.slow
def test_a_tiny_training_takes_turns_with_gloo_and_with_itself_alone(tmp_path: Path) -> None:
    for module in ("torch", "transformers", "tokenizers"):
        pytest.importorskip(module)
    small = ["--loopback", "--size=tiny", "--rows=2", "--turns=1", "--steps=2"]
    small += ["--shard-bytes=30000", "--bucket-mb", "25", "0.05", "--codecs=f32", "--late=int4"]
    line = [*LINE, "ddp", f"--out={tmp_path}", *small]
    done = subprocess.run(line, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(text) for text in (tmp_path / "ddp.jsonl").read_text().splitlines()]
    ways = {row["way"]: row for row in rows}
    ours = ["isthmus f32", "isthmus f32, buckets of 0.05 MB", "isthmus int4, a step late"]
    assert [*ways] == ["alone", *ours, "gloo", "gloo, buckets of 0.05 MB"]
    assert all(set(ways[name]["peers"]) == {"alone", "gloo"} for name in ours)
    for name in ours[:2]:  # f32 is the same training, whatever carries it
        assert ways[name]["loss"] == pytest.approx(ways["gloo"]["loss"], rel=1e-4)
    kinds = {type(entry.row) for entry in read(tmp_path / "ddp.jsonl")}
    assert kinds == {Training}


def test_a_scaled_step_takes_as_long_as_it_did() -> None:
    small = [
        Shape(codec="int4", sites=2, gbit_per_s=g, rtt_ms=80, elements=1e6 * g, scale=g)
        for g in (1.0, 4.0)
    ]
    first, second = (simulate(shape) for shape in small)
    assert second == pytest.approx(first, rel=0.03)


def test_the_check_of_scales_keeps_slices_alike() -> None:
    shapes = check_shapes(80.0)
    assert len({shape.slice_elements * shape.scale for shape in shapes}) == 1
    assert len({shape.elements for shape in shapes}) == 1
