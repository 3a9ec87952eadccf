"""learner: what the sites train: a small transformer over the bytes of Python's own library.

Its parameter `ledger` learns nothing. Its gradient at a site is 1 at the site's own place, so the
mean that comes back says which sites are in it, and with what weight each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from isthmus.demo.data import corpus_files, deal, read_text
from isthmus.soak.settings import SITES, Settings

BYTES = 256
HELD_OUT = len(SITES)  # the number of the shard that nobody trains on
HELD_OUT_BATCHES = 16
SHARD_BYTES = 300_000

Text = NDArray[np.uint8]


def codecs(codec: str) -> dict[str, str]:
    """The ledger's numbers must come back as they are."""
    return {"*ledger": "f32", "*bias": "bf16", "*norm*": "bf16", "*": codec}


class Learner(nn.Module):
    """Tokens (rows, length + 1) to the mean loss of predicting each from those before it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.words = nn.Embedding(BYTES, width)
        self.places = nn.Embedding(settings.length, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, BYTES)
        self.ledger = nn.Parameter(torch.zeros(len(SITES)))
        mask = nn.Transformer.generate_square_subsequent_mask(settings.length)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: torch.Tensor, seat: int | None = None) -> torch.Tensor:
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        x = self.words(inputs) + self.places.weight
        x = self.norm(self.layers(x, mask=self.mask, is_causal=True))
        loss = nn.functional.cross_entropy(self.head(x).flatten(0, 1), targets.flatten())
        # Adds nothing to the loss, and 1 to the gradient at the seat.
        return loss if seat is None else loss + self.ledger[seat] - self.ledger[seat].detach()


def prepare(folder: Path) -> None:
    """Every site's text, and one that nobody trains on."""
    for number, files in enumerate(deal(corpus_files(), seats=len(SITES) + 1)):
        text = "".join(read_text(files, limit_bytes=SHARD_BYTES)).encode()[:SHARD_BYTES]
        np.save(folder / f"shard{number}.npy", np.frombuffer(text, np.uint8))


def shard(folder: Path, number: int) -> Text:
    text: Text = np.load(folder / f"shard{number}.npy")
    return text


def batch(text: Text, settings: Settings, *, seat: int, step: int) -> torch.Tensor:
    """The same for the same seed, seat and step, whatever happened before."""
    rng = np.random.default_rng((settings.seed, seat, step))
    starts = rng.integers(0, len(text) - settings.length - 1, size=settings.rows)
    rows = [text[begin : begin + settings.length + 1] for begin in starts]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def held_out_loss(model: Learner, folder: Path, settings: Settings) -> float:
    """Over text and places that are the same in every run."""
    text, same = shard(folder, HELD_OUT), Settings(rows=settings.rows, length=settings.length)
    model.eval()
    with torch.no_grad():
        losses: list[float] = [
            model(batch(text, same, seat=HELD_OUT, step=step)).item()
            for step in range(HELD_OUT_BATCHES)
        ]
    return sum(losses) / len(losses)
