"""A bucket of several segments, encoded on a "device" and in host memory: see test_stages.py."""

import numpy as np
import torch
from isthmus.codecs import Bf16, Feedback, Int4, TopK
from isthmus.doors import Bucket
from isthmus.packing import EXACT, Packing, Way, pack
from isthmus.stages.encode import Draw, Memory, encode
from isthmus.stages.noise import without_privacy

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


def main() -> None:
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


if __name__ == "__main__":
    main()
