"""A small GPT: about a million parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

VOCABULARY = 2048
CONTEXT = 128
WIDTH = 128
LAYERS = 4
HEADS = 4


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.before_mlp = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        qkv = self.qkv(self.before_attention(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        hidden = functional.gelu(self.up(self.before_mlp(x)))
        return x + self.down(hidden)  # type: ignore[no-any-return]


class Model(nn.Module):
    """Returns the mean cross entropy of the next token, in nats."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.last = nn.LayerNorm(WIDTH)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                scale = (
                    0.02 / (2 * LAYERS) ** 0.5
                    if name.endswith(("out.weight", "down.weight"))
                    else 0.02
                )
                nn.init.normal_(parameter, std=scale)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        inputs, targets = window[:, :-1], window[:, 1:]
        x = self.tokens(inputs) + self.places.weight[: inputs.shape[1]]
        logits = self.last(self.blocks(x)) @ self.tokens.weight.T
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
