"""Real text without a download: the sources of Python's own library, as tokens."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 2048
TRAINED_ON_BYTES = 3_000_000
MOST_BYTES = 12_000_000
HELD_OUT = 16  # one file in so many is for validation
HELD_OUT_BYTES = 6_000  # at most of each, so that many files are heard
VALIDATION_TOKENS = 64 * 1024

Tokens = NDArray[np.int64]


def tokens(cache: Path) -> tuple[Tokens, Tokens]:
    """(training, validation): byte-level BPE, trained here; kept in `cache`."""
    kept = cache / f"tokens-{VOCABULARY}-{MOST_BYTES}-{HELD_OUT}-{HELD_OUT_BYTES}.npz"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        training, validation = _texts()
        encoded = _encode(training, validation)
        new = kept.with_suffix(f".{os.getpid()}.npz")  # two runs may begin at once
        np.savez(new, training=encoded[0], validation=encoded[1])
        new.replace(kept)
    with np.load(kept) as every:
        return every["training"].astype(np.int64), every["validation"].astype(np.int64)


def _texts() -> tuple[str, str]:
    """(training, validation): no file gives to both."""
    library = Path(sysconfig.get_paths()["stdlib"])
    # By a hash of the name: neighbours in the alphabet are alike, and sites should not differ.
    paths = [p for p in library.rglob("*.py") if "site-packages" not in p.parts]
    paths.sort(key=lambda p: (hash_of(str(p.relative_to(library))), str(p)))
    parts, size, held_out = [], 0, []
    for i, path in enumerate(paths):
        part = path.read_text(encoding="utf-8", errors="ignore")
        if i % HELD_OUT == 0:
            held_out.append(part[:HELD_OUT_BYTES])
        elif size < MOST_BYTES:
            parts.append(part)
            size += len(part)
    return "\n".join(parts), "\n".join(held_out)


def hash_of(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _encode(training: str, validation: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([training[:TRAINED_ON_BYTES]], trainer)

    def encoded(text: str) -> NDArray[np.uint16]:
        pieces = [text[i : i + 100_000] for i in range(0, len(text), 100_000)]
        found = [np.array(e.ids, np.uint16) for e in tokenizer.encode_batch(pieces)]
        return np.concatenate(found)

    return encoded(training), encoded(validation)[:VALIDATION_TOKENS]
