"""Steps as the demo's ranks would note them, for tests of what is made of them."""

from __future__ import annotations

from isthmus.demo.record import Record, Step


def make_record(step: int, *, loss: float = 5.0, wan_bytes: int | None = 1000) -> Record:
    return Record(
        step=step,
        loss=loss,
        tokens=512,
        start_s=100.0 + step,
        step_s=1.0,
        compute_s=0.6,
        optimizer_s=0.1,
        exchange_s=0.5,
        cpu_s=0.4,
        wan_bytes=wan_bytes,
    )


def make_steps(count: int, *, step_s: float = 2.0, wan_bytes: int | None = 1000) -> list[Step]:
    return [
        Step(
            step=i,
            loss=8.0 - i,
            tokens=2048,
            end_s=(i + 1) * step_s,
            step_s=step_s,
            compute_s=step_s / 4,
            optimizer_s=step_s / 20,
            exchange_s=step_s * 0.9,
            cpu_s=step_s / 5,
            wan_bytes=wan_bytes,
        )
        for i in range(count)
    ]
