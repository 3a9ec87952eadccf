"""Real text without a download: the sources of Python's own library, as tokens."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 2048
TRAINED_ON_BYTES = 3_000_000
MOST_BYTES = 12_000_000
VALIDATION_TOKENS = 64 * 1024

Tokens = NDArray[np.int64]


def tokens(cache: Path) -> tuple[Tokens, Tokens]:
    """(training, validation): byte-level BPE, trained here; kept in `cache`."""
    kept = cache / f"tokens-{VOCABULARY}.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, _encode(_text()).astype(np.uint16))
    every = np.load(kept).astype(np.int64)
    return every[:-VALIDATION_TOKENS], every[-VALIDATION_TOKENS:]


def _text() -> str:
    library = Path(sysconfig.get_paths()["stdlib"])
    # By a hash of the name: neighbours in the alphabet are alike, and sites should not differ.
    paths = [p for p in library.rglob("*.py") if "site-packages" not in p.parts]
    paths.sort(key=lambda p: (hash_of(str(p.relative_to(library))), str(p)))
    parts, size = [], 0
    for path in paths:
        part = path.read_text(encoding="utf-8", errors="ignore")
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            break
    return "\n".join(parts)


def hash_of(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _encode(text: str) -> NDArray[np.int64]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text[:TRAINED_ON_BYTES]], trainer)
    pieces = [text[i : i + 100_000] for i in range(0, len(text), 100_000)]
    return np.concatenate([np.array(e.ids) for e in tokenizer.encode_batch(pieces)])
