"""The demo's text: the same in every run, and no file at two sites."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from isthmus.demo import data, topology

TEXTS = [path.read_text() for path in sorted(Path(data.__file__).parent.glob("*.py"))]


def test_no_file_of_the_corpus_is_in_two_shards() -> None:
    files = data.corpus_files()
    shards = data.deal(files, seats=topology.WORLD)
    assert sorted(f for shard in shards for f in shard) == sorted(files)
    assert len(set(files)) == len(files)
    assert all(shards)


def test_the_corpus_has_the_same_order_in_every_run() -> None:
    assert data.corpus_files() == data.corpus_files()


def test_the_order_of_files_depends_on_names_below_the_root_alone(tmp_path: Path) -> None:
    names = ["a.py", "b/c.py", "b/d.py", "e.py"]
    for root in ("one", "two"):
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x = 1\n")
    one, two = (
        [p.relative_to(tmp_path / root) for p in data.corpus_files(tmp_path / root)]
        for root in ("one", "two")
    )
    assert one == two
    assert sorted(p.as_posix() for p in one) == sorted(names)


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.py" for i in range(4)]
    for f in files:
        f.write_text("x" * 100)
    assert len(data.read_text(files, limit_bytes=150)) == 2


def test_the_same_texts_give_the_same_vocabulary() -> None:
    one, two = (data.train_tokenizer(TEXTS, entries=600) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
    assert one.get_vocab_size() == 600


def test_tokens_turn_back_into_the_text() -> None:
    tokenizer = data.train_tokenizer(TEXTS, entries=600)
    text = 'naïve = "Straße ✓"\n\tpass\n'
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_every_text_begins_with_the_file_mark() -> None:
    tokenizer = data.train_tokenizer(TEXTS, entries=600)
    run = data.tokenize(tokenizer, ["a = 1\n", "b = 2\n"])
    mark = tokenizer.token_to_id("<|file|>")
    assert run[0] == mark
    assert np.count_nonzero(run == mark) == 2


def test_a_batch_depends_on_step_and_seat_and_on_nothing_else() -> None:
    tokens = np.arange(1000, dtype=np.uint16)

    def batch(step: int, seat: int) -> list[list[int]]:
        rows: list[list[int]] = data.batch(tokens, step=step, seat=seat, rows=2, length=8).tolist()
        return rows

    assert batch(3, 1) == batch(3, 1)
    assert batch(3, 1) != batch(4, 1)
    assert batch(3, 1) != batch(3, 2)
    assert all(row == list(range(row[0], row[0] + 9)) for row in batch(3, 1))


def test_prepare_writes_every_ranks_tokens_from_its_own_shard(tmp_path: Path) -> None:
    corpus = data.prepare(tmp_path, shard_bytes=20_000)
    runs = [
        np.load(topology.tokens_file(tmp_path, i, r))
        for i, site in enumerate(topology.SITES)
        for r in range(site.ranks)
    ]
    assert corpus.tokens == sum(len(run) for run in runs)
    assert all(run.max() < data.VOCABULARY for run in runs)
    assert len({run.tobytes() for run in runs}) == topology.WORLD
