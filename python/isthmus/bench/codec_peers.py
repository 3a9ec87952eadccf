"""What a user has without isthmus: eager torch, bitsandbytes and torchao, timed beside codecs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

LIBRARIES = ("torch", "bitsandbytes", "torchao")
Action = Callable[[], object]
Peer = tuple[str, str, str, Action]  # library, codec, operation, action


def peers(x: Any) -> Iterator[Peer]:
    """On one thread, as this installation has them. torchao leaves int4 a byte an element."""
    import torch

    torch.set_num_threads(1)
    values = torch.from_numpy(x)
    for codec, operation, action in torch_actions(values):
        yield "torch", codec, operation, action
    for library, actions in (("bitsandbytes", bitsandbytes), ("torchao", torchao)):
        if importlib.util.find_spec(library) is not None:
            for codec, operation, action in actions(values):
                yield library, codec, operation, action


def bitsandbytes(values: Any) -> Iterator[tuple[str, str, Action]]:
    from bitsandbytes import functional as quantizers

    wide = quantizers.quantize_blockwise(values, blocksize=256)
    narrow = quantizers.quantize_4bit(values, blocksize=128)
    yield "int8", "encode", lambda: quantizers.quantize_blockwise(values, blocksize=256)
    yield "int8", "decode", lambda: quantizers.dequantize_blockwise(*wide)
    yield "int4", "encode", lambda: quantizers.quantize_4bit(values, blocksize=128)
    yield "int4", "decode", lambda: quantizers.dequantize_4bit(*narrow)


def torchao(values: Any) -> Iterator[tuple[str, str, Action]]:
    import torch
    from torchao.quantization import quant_primitives as quantizers

    blocks, shape = values.view(-1, 128), (1, 128)
    symmetric = quantizers.MappingType.SYMMETRIC

    def encode(limit: int) -> tuple[Any, Any, Any]:
        levels = (torch.int8, -limit, limit)
        scale, zero = quantizers.choose_qparams_affine(blocks, symmetric, shape, *levels)
        return quantizers.quantize_affine(blocks, shape, scale, zero, *levels), scale, zero

    def decode(coded: tuple[Any, Any, Any], limit: int) -> object:
        codes, scale, zero = coded
        levels = (torch.int8, -limit, limit)
        return quantizers.dequantize_affine(codes, shape, scale, zero, *levels)

    for codec, limit in (("int8", 127), ("int4", 7)):
        coded = encode(limit)
        yield codec, "encode", partial(encode, limit)
        yield codec, "decode", partial(decode, coded, limit)


def torch_actions(values: Any) -> Iterator[tuple[str, str, Action]]:
    """Eager torch, as a user would write it."""
    import torch

    residual = torch.zeros_like(values)
    yield "bf16", "encode", lambda: values.to(torch.bfloat16)

    def integers(limit: int, fed: bool) -> None:
        p = values + residual if fed else values
        blocks = p.view(-1, 128)
        scale = blocks.abs().amax(1, keepdim=True) / limit
        codes = (blocks / scale.clamp_min(1e-30)).round_().to(torch.int8)
        if limit == 7:
            flat = codes.view(-1)
            (flat[0::2] & 15) | (flat[1::2] << 4)
        if fed:
            torch.sub(blocks, codes * scale, out=residual.view(-1, 128))

    yield "int8", "encode", lambda: integers(127, False)
    yield "int4", "encode", lambda: integers(7, False)
    yield "int4", "encode, residual", lambda: integers(7, True)

    def largest(fed: bool) -> None:
        p = values + residual if fed else values
        blocks = p.view(-1, 4096)
        places = blocks.abs().topk(64, dim=1, sorted=False).indices
        kept = blocks.gather(1, places)
        if fed:
            residual.copy_(p)
            residual.view(-1, 4096).scatter_(1, places, kept - kept.sign() * kept.abs().mean())

    yield "topk", "encode", lambda: largest(False)
    yield "topk", "encode, residual", lambda: largest(True)
