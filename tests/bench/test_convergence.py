"""What the convergence bench rests on: its exchange is the library's, and it resumes exactly."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core, testing
from isthmus.codecs import parse

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "convergence"))

torch = pytest.importorskip("torch")

from exchange import Exchange  # noqa: E402
from train import Job, Run  # noqa: E402

ELEMENTS = 70_001


def by_sessions(sessions, values, up, down, schedule):
    """The mean as real sites end with it, from wires that are encoded already."""

    def one(rank: int) -> np.ndarray:
        out = np.zeros(ELEMENTS, np.float32)
        sessions[rank].exchange(
            _core.encode(up, values[rank]),
            out,
            segments=[(up, down, ELEMENTS)],
            op="mean",
            weight=1.0,
            schedule=schedule,
            layout=0,
        ).wait(30)
        return out

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(one, range(len(sessions))))


def test_the_benchs_exchange_is_what_sessions_do_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(ELEMENTS).astype(np.float32) for _ in range(3)]
    with testing.sites(3) as sessions:
        for name in ("f32", "bf16", "int8", "int4", "int2", "sign", "topk"):
            down = parse(name).down
            direct = Exchange(name, down).mean(values)
            gather = Exchange(name, None).mean(values)
            for schedule, expected in (("direct", direct), ("gather", gather)):
                for made in by_sessions(sessions, values, name, down, schedule):
                    assert made.tobytes() == expected.tobytes(), (name, schedule)


class NoText:
    """In place of the text: a few tokens that repeat."""

    training = validation = np.arange(4000, dtype=np.int64) * 7 % 50

    def batch(self, job: Job, site: int, step: int) -> "torch.Tensor":
        begin = (site * 1000 + step * 31) % 2000
        rows = [self.training[begin + i : begin + i + 129] for i in range(2)]
        return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("inner", [1, 2])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(inner: int, tmp_path: Path) -> None:
    job = Job("x", 0, up="int4", down="int8", feedback=True, inner=inner, steps=6)
    whole = Run(job, NoText())
    for _ in range(6):
        whole.advance()
    first = Run(job, NoText())
    for _ in range(3):
        first.advance()
    torch.save(first.state(), tmp_path / "x.pt")
    second = Run(replace(job), NoText())
    second.load(torch.load(tmp_path / "x.pt", weights_only=False))
    for _ in range(3):
        second.advance()
    for mine, theirs in zip(
        whole.models[0].parameters(), second.models[0].parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert whole.window == second.window
