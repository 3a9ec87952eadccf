"""What the demo shows while it runs."""

import io
from pathlib import Path

from demo_steps import make_record, make_steps
from isthmus.demo import record
from isthmus.demo.progress import Progress, bar, size, status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_empty_at_nothing_and_full_at_the_end() -> None:
    assert bar(0, 7, width=10) == "·" * 10
    assert bar(7, 7, width=10) == "█" * 10
    assert all(len(bar(done, 7, width=10)) == 10 for done in range(8))


def test_sizes_are_in_powers_of_ten() -> None:
    assert [size(n) for n in (999, 1500, 53.3e6, 2e9)] == ["999 B", "1.5 KB", "53.3 MB", "2.00 GB"]
    assert size(None) == "-"


def test_the_line_has_step_loss_speed_time_and_bytes() -> None:
    line = status("isthmus", make_steps(3, step_s=2.0, wan_bytes=53_300_000), 10)
    for part in ("isthmus", "3/10", "loss 6.000", "1024 tokens/s", "step 2.00 s", "53.3 MB/step"):
        assert part in line


def test_without_a_wan_the_line_says_nothing_of_its_bytes() -> None:
    assert "WAN" not in status("gloo", make_steps(3, wan_bytes=None), 10)


def test_a_log_gets_whole_lines_the_first_step_and_the_last() -> None:
    out = io.StringIO()
    progress = Progress("isthmus", 40, out=out)
    for count in range(41):
        progress.update(make_steps(count))
    lines = out.getvalue().splitlines()
    assert " 1/40" in lines[0]
    assert "40/40" in lines[-1]
    assert len(lines) <= 12
    assert "\r" not in out.getvalue()


def test_a_terminal_gets_one_line_that_moves() -> None:
    out = Terminal()
    progress = Progress("isthmus", 3, out=out)
    for count in (0, 1, 2, 2, 3):
        progress.update(make_steps(count))
    progress.done()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 4


def test_a_step_counts_once_all_ranks_have_finished_it() -> None:
    fast = [make_record(step) for step in range(3)]
    slow = [make_record(step) for step in range(2)]
    assert [s.step for s in record.merge([fast, slow])] == [0, 1]
    assert record.merge([fast, []]) == []


def test_merging_takes_means_of_losses_and_sums_of_tokens_and_bytes() -> None:
    ranks = [[make_record(0, loss=2.0, wan_bytes=10)], [make_record(0, loss=4.0, wan_bytes=None)]]
    (step,) = record.merge(ranks)
    assert (step.loss, step.tokens, step.wan_bytes) == (3.0, 1024, 10)


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "aws-0.jsonl"
    assert record.read(path) == []
    whole = make_record(0)
    path.write_text(whole.line() + make_record(1).line()[:20])
    assert record.read(path) == [whole]


def test_speed_leaves_the_first_two_steps_out() -> None:
    slow, quick = make_steps(2, step_s=100.0), make_steps(4, step_s=2.0)[2:]
    assert record.tokens_per_s([*slow, *quick]) == 2048 / 2.0
