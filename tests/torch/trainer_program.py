"""A Hugging Face Trainer whose DDP model is registered by a callback."""

import os
import pathlib
import tempfile
from typing import Any

import isthmus
import programs
import torch
from isthmus.testing import Place
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Register(TrainerCallback):
    """`kwargs["model"]` is the bare model, so the callback holds the trainer."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.trainer: Any = None
        self.hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.hook = isthmus.register(self.trainer.model_wrapped, self.session)


class Texts(torch.utils.data.Dataset):
    def __init__(self, seed: int) -> None:
        self.rows = torch.randint(0, 64, (32, 8), generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


def train(session: Any, place: Place) -> tuple[dict[str, Any], str]:
    torch.manual_seed(place.first)
    # What torchrun sets, and accelerate reads although the process group is there already.
    for name, value in {
        "RANK": place.rank,
        "LOCAL_RANK": place.rank,
        "WORLD_SIZE": place.ranks,
    }.items():
        os.environ[name] = str(value)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    config = GPT2Config(vocab_size=64, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    callback = Register(session)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=str(pathlib.Path(folder)),
            max_steps=3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            ddp_backend="gloo",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=GPT2LMHeadModel(config),
            args=arguments,
            train_dataset=Texts(place.first),
            callbacks=[callback],
        )
        callback.trainer = trainer
        trainer.train()
    seen = callback.hook.stats()
    callback.hook.close()
    return {"steps": seen["steps"], "buckets": seen["buckets"]}, programs.digest(trainer.model)
