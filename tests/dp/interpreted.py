"""Clip and noise in Triton's interpreter, alone and within encoders: see test_clip_noise.py."""

import numpy as np
import torch
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors
from isthmus.kernels.codecs.triton import Noise
from isthmus.kernels.dp.clip_noise import triton

KEY, GROUP = 2**63 + 3, 2**32 - 5


def check(x: np.ndarray, norm: float) -> None:
    given = torch.from_numpy(x)
    squares = triton.sum_of_squares(given)
    assert squares.item() == _core.sum_of_squares(x) or not np.isfinite(squares.item())
    factor = triton.clip_factor(squares, norm)
    assert factor.item() == _core.clip_factor(squares.item(), norm)
    noise = Noise(factor, 1.5, KEY, GROUP, 1, 2, 3)
    place = (factor.item(), 1.5, KEY, 1, 2, 3, GROUP)
    made = triton.clip_noise(given, noise).numpy()
    assert made.tobytes() == _core.clip_noise(x, place).tobytes()
    for codec in ("f32", "bf16", "int8", "int4", "int2", "sign", "topk", "topk-128-int8"):
        options, native = {}, {}
        if codecs.feeds(codec):
            now = vectors.normal(x.size, 4)
            options = {"residual": torch.from_numpy(now), "next_residual": torch.empty(x.size)}
            native = {"residual": now, "next_residual": np.empty_like(now)}
        wire = codecs.device(codec).encode(given, noise=noise, **options)
        assert wire.numpy().tobytes() == _core.encode(codec, x, noise=place, **native).tobytes()
        if options:
            assert vectors.same(options["next_residual"].numpy(), native["next_residual"])


if __name__ == "__main__":
    np.seterr(all="ignore")
    for elements in (1, 5, 1023, 1024, 1025, 4097, 9000):
        values = np.random.default_rng(elements).standard_normal(elements).astype(np.float32)
        check(values, 1.0)
        if elements == 1025:  # kernels are given the factor, whatever made it 1 or 0
            check(values, 1e9)
            values[elements // 2] = np.nan
            check(values, 1.0)
