"""Real text without downloads: the sources of Python's own standard library, tokenized on the
spot.

The files are dealt to the ranks before anything is tokenized, so no text is in two shards and a
site's data stays in that site. Only the vocabulary is common to all; it is learnt from the first
site's shard.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.demo.topology import SITES, WORLD, seat, tokens_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = 4096
SHARD_BYTES = 500_000
# Neither of these is prose of the standard library; some systems install none of them.
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}

Tokens = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What was prepared, for the report."""

    files: int
    text_bytes: int
    tokens: int


def corpus_files(root: Path | None = None) -> list[Path]:
    """The standard library's sources, in an order that mixes its packages and is the same in every
    run."""
    root = root or Path(sysconfig.get_path("stdlib"))
    files = [p for p in root.rglob("*.py") if not _LEFT_OUT & set(p.relative_to(root).parts)]
    return sorted(
        files, key=lambda p: hashlib.sha256(p.relative_to(root).as_posix().encode()).digest()
    )


def deal(files: Sequence[Path], *, seats: int) -> list[list[Path]]:
    """Every file to exactly one of `seats` ranks, in turn."""
    return [list(files[i::seats]) for i in range(seats)]


def read_text(files: Sequence[Path], *, limit_bytes: int = SHARD_BYTES) -> list[str]:
    """The files' texts, until `limit_bytes` are read."""
    texts, total = [], 0
    for path in files:
        if total >= limit_bytes:
            break
        raw = path.read_bytes()
        total += len(raw)
        texts.append(raw.decode("utf-8", errors="replace"))
    return texts


def train_tokenizer(texts: Sequence[str], *, entries: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE; the same texts give the same vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=entries,
        show_progress=False,
        special_tokens=["<|file|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """All texts as one run of tokens, each behind a file mark."""
    mark = [tokenizer.token_to_id("<|file|>")]
    runs = [np.array(mark + e.ids, dtype=np.uint16) for e in tokenizer.encode_batch(list(texts))]
    return np.concatenate(runs)


def prepare(folder: Path, *, shard_bytes: int = SHARD_BYTES) -> Corpus:
    """Write the vocabulary and every rank's tokens into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = deal(corpus_files(), seats=WORLD)
    if not all(shards):
        raise RuntimeError(
            f"too little text: {sysconfig.get_path('stdlib')} has no sources for {WORLD} ranks;"
            " install Python with its standard library's sources"
        )
    first = [
        text
        for shard in shards[: SITES[0].ranks]
        for text in read_text(shard, limit_bytes=shard_bytes)
    ]
    tokenizer = train_tokenizer(first)
    tokenizer.save(str(folder / "tokenizer.json"))
    files = text_bytes = tokens = 0
    for i, site in enumerate(SITES):
        for local_rank in range(site.ranks):
            texts = read_text(shards[seat(i, local_rank)], limit_bytes=shard_bytes)
            run = tokenize(tokenizer, texts)
            np.save(tokens_file(folder, i, local_rank), run)
            files += len(texts)
            text_bytes += sum(len(t.encode()) for t in texts)
            tokens += len(run)
    return Corpus(files=files, text_bytes=text_bytes, tokens=tokens)


def batch(tokens: Tokens, *, step: int, seat: int, rows: int, length: int) -> NDArray[np.int64]:
    """The rank's input of one step: rows by (length + 1) tokens, the same whatever carries the
    gradients."""
    rng = np.random.default_rng((7, seat, step))
    starts = rng.integers(0, len(tokens) - length - 1, size=rows)
    return np.stack([tokens[s : s + length + 1] for s in starts]).astype(np.int64)
