"""One of three sites encodes and sums on its "device", Triton's interpreter, and ends with the bits
of the others: see test_codecs_in_training.py.
"""

import threading
from typing import Any

import torch
from codec_programs import mixed_rules, one_backward, residuals_of
from isthmus.hook import residuals
from isthmus.testing import Place, run_sites
from programs import digest, start


def one_kernel_at_a_time() -> None:
    """A device queues kernels; the interpreter changes Triton while one runs."""
    from triton.runtime.interpreter import GridExecutor

    lock, run = threading.RLock(), GridExecutor.__call__

    def run_alone(self: Any, *arguments: Any, **options: Any) -> None:
        with lock:
            run(self, *arguments, **options)

    GridExecutor.__call__ = run_alone


def train(session: Any, place: Place, steps: int) -> list[dict[str, Any]]:
    if place.site == "site01":
        residuals.can_encode_on = lambda device: True
        one_kernel_at_a_time()
    answers = []
    for codec in ("f32", "int4", "topk", mixed_rules):
        model, hook, optimizer = start(session, place, codec=codec)
        unchanged = True
        for step in range(steps):
            before = residuals_of(hook)
            # A step that is not finite commits no residual, on any device.
            bad = step == 2
            one_backward(model, place, step, float("inf") if bad and session.rank == 0 else 1.0)
            if bad:
                unchanged = _same_as(before, hook)
            else:
                optimizer.step()
            optimizer.zero_grad()
        one_backward(model, place, steps)
        kept = {name: float(value.norm()) for name, value in residuals_of(hook).items()}
        answers.append({"digest": digest(model.module), "kept": kept, "unchanged": unchanged})
        hook.close()
    return answers


def _same_as(before: dict[str, torch.Tensor], hook: Any) -> bool:
    now = residuals_of(hook)
    return all(torch.equal(before[name], now[name]) for name in before)


def main() -> None:
    [on_host], [on_device], [another] = run_sites(train, sites=[1, 1, 1], arguments=(3,))
    for one, two, three in zip(on_host, on_device, another, strict=True):
        assert one["digest"] == two["digest"] == three["digest"]
        assert one["kept"].keys() == two["kept"].keys()
        assert all(0 < norm < 1e3 for norm in two["kept"].values())
        assert one["unchanged"] and two["unchanged"]
    assert [bool(each["kept"]) for each in on_device] == [False, True, True, True]


if __name__ == "__main__":
    main()
