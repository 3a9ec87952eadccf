"""Buckets of several segments on a "device" and in host memory: see test_stages.py."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from isthmus.arrays import pinned_bytes
from isthmus.codecs import Bf16, Feedback, Int4, TopK
from isthmus.doors import Bucket, Parts
from isthmus.packing import EXACT, Packing, Way, pack
from isthmus.session import Session
from isthmus.stages.decode import decode
from isthmus.stages.encode import Draw, Memory, encode
from isthmus.stages.noise import without_privacy
from isthmus.testing import sites

PARTS = [
    (Way(Int4(), Feedback()), 3000),
    (Way(Bf16()), 77),
    (Way(TopK(), Feedback("bfloat16", 0.95)), 9000),
    (Way(Int4(rounding="stochastic")), 1025),
    (EXACT, 5),
]


def memory(packing: Packing, seed: int) -> Memory:
    torch.manual_seed(seed)
    wire, host = (torch.zeros(packing.offsets[-1], dtype=torch.uint8) for _ in range(2))

    def residuals(fill: float) -> tuple[torch.Tensor | None, ...]:
        return tuple(
            None
            if s.way.feedback is None
            else (fill * torch.randn(s.elements)).to(getattr(torch, s.way.feedback.dtype))
            for s in packing.segments
        )

    return Memory(wire, host, residuals(1.0), residuals(0.0))


def encoded_alike() -> None:
    packing = pack(PARTS)
    values = torch.randn(packing.elements)
    host, device = memory(packing, 1), memory(packing, 1)
    draw = Draw(key=2**63 + 5, step=17, bucket=2)
    made = []
    for given, own in ((values.numpy(), host), (values, device)):
        made.append(encode(without_privacy(Bucket(given, 7)), packing, own, draw).data)
    assert np.array_equal(made[0], made[1])
    assert made[1].ctypes.data == device.host.data_ptr()
    for mine, theirs in zip(host.next, device.next, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or (mine.any() and torch.equal(mine, theirs))


def mean_of(session: Session, packing: Packing, *, schedule: str, on_device: bool) -> torch.Tensor:
    """Of all sites' buckets; for one with a NaN, see main()."""
    torch.manual_seed(session.rank)
    values = torch.randn(packing.elements)
    if schedule == "gather" and session.rank == 1:
        values[7] = float("nan")
    wire = encode(
        without_privacy(Bucket(values.numpy(), 7)), packing, memory(packing, 3), Draw(5, 6, 7)
    )
    how = {"segments": packing.table, "op": "mean", "weight": 0.25 + session.rank, "layout": 7}
    if not on_device:
        session.exchange(wire.data, values.numpy(), schedule=schedule, **how).wait()
        return values
    terms = session.terms(packing.table, schedule)
    assert terms.count == (session.world_size if schedule == "gather" else 1)
    room = pinned_bytes(terms.bytes)
    work = session.exchange(wire.data, room.numpy(), schedule=schedule, terms=True, **how)
    work.wait()
    gradient = torch.empty(packing.elements)
    finite = decode(Parts(terms, room, work.term_sum), gradient)
    assert finite == (schedule != "gather")
    return gradient


def decoded_alike() -> None:
    """One site takes the terms and sums them on the "device"; the others never notice."""
    recodable = pack([each for each in PARTS if not isinstance(each[0].codec, TopK)])
    with sites(3) as sessions, ThreadPoolExecutor(3) as pool:
        for schedule in ("gather", "direct", "ring"):
            packing = pack(PARTS) if schedule == "gather" else recodable

            def mean(taker: Session) -> torch.Tensor:
                on_device = taker.rank == 1
                return mean_of(taker, packing, schedule=schedule, on_device=on_device)  # noqa: B023

            first, *others = (made.view(torch.int32) for made in pool.map(mean, sessions))
            for other in others:
                assert torch.equal(first, other), schedule


if __name__ == "__main__":
    encoded_alike()
    decoded_alike()
