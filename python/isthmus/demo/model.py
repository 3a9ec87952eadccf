"""A GPT-2 from scratch: transformers' class, our sizes, a fixed seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from isthmus.demo.data import VOCABULARY


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size of the model; `length` is the longest text it sees, in tokens."""

    layers: int
    width: int
    heads: int
    length: int


SIZES = {
    "demo": Size(layers=7, width=320, heads=5, length=128),  # 10.0 million parameters, 40 MB
    "tiny": Size(layers=1, width=32, heads=2, length=32),  # for tests
}


def build(size: Size, *, seed: int = 1) -> GPT2LMHeadModel:
    """The model with random weights. No dropout: two runs over the same data are to agree."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=size.length,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return GPT2LMHeadModel(config)


def digest(model: torch.nn.Module) -> str:
    """SHA-256 over the names and bits of all parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
