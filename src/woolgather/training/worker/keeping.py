"""Models that are kept while training goes on: one after each epoch, and the best so far.

The one idea: a kept model lies complete on disk, marked as checkpoints are, before training goes on; so
a kill loses none, and the next attempt brings them along (see launch.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import peft
import torch
import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from woolgather.core.errors import ConfigError
from woolgather.training.checkpoints import best_dir, best_of, complete, is_complete
from woolgather.training.job import PreferenceOptions, epoch_dir
from woolgather.training.worker.devices.processes import rank, wait_for_all
from woolgather.training.worker.weights.files import convert_files
from woolgather.training.worker.weights.places import place_of, read_stored_dtype
from woolgather.training.worker.weights.sharded import (
    is_stored_as_named,
    put_back,
    save_adapter,
    save_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

    from woolgather.training.worker.setup import AnySetup


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Callback that saves what `keep_epochs` and `keep_best` ask for."""

    def __init__(self, setup: AnySetup, trainer: transformers.Trainer) -> None:
        config, job = setup.config, setup.job
        if config.keep_best and not _can_put_back(setup):
            raise ConfigError(
                f"keep_best: weights that --accelerate {setup.machine.sharding} shares out cannot be "
                "put back. Leave it, or use zero2."
            )
        self.setup, self.trainer = setup, trainer
        self.out, self.digest = job.out, job.digest
        self.epochs = config.earlier_epochs if isinstance(config, PreferenceOptions) else range(0)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Save the model of an epoch that is whole."""
        epoch = round(state.epoch)
        folder = epoch_dir(self.out, epoch)
        whole = abs(state.epoch - epoch) < 1e-6
        if whole and epoch in self.epochs and not is_complete(folder, self.digest):
            self._save(folder, state.global_step)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **_: object,
    ) -> None:
        """Save the model when its loss is the lowest so far; the start is not among the rivals."""
        if not self.setup.config.keep_best or not state.global_step:
            return
        best, loss = best_of([self.out], self.digest), float(metrics["eval_loss"])
        if best is None or loss < best.loss:
            self._save(best_dir(self.out, state.global_step), state.global_step, loss)
            if best is not None and rank() == 0:
                shutil.rmtree(best.path)

    def _save(self, folder: Path, update: int, loss: float | None = None) -> None:
        save_model(self.setup, self.trainer, folder)
        wait_for_all()  # the parts that other processes write belong to it
        if rank() == 0:
            complete(folder, update, self.digest, loss)

    def take_best(self) -> int | None:
        """Give the model the kept weights; returns their update, None where the last are the best."""
        best = best_of([self.out], self.digest) if self.setup.config.keep_best else None
        if best is None or best.update == self.trainer.state.global_step:
            return None
        _put_back(self.trainer.model, best.path)
        return best.update


def save_model(setup: AnySetup, trainer: transformers.Trainer, folder: Path) -> None:
    """Save the model as it is handed on: with its tokenizer, in the precision its start is stored in
    (all weights are trained in float32), and without what trainers leave beside it."""
    model, sharding, first = trainer.model, setup.machine.sharding, rank() == 0
    dtype = None if setup.config.lora else _stored_dtype(setup)
    if sharding == "fsdp2" and dtype is None:
        save_adapter(model, folder, write=first)
    elif sharding == "fsdp2" and dtype and is_stored_as_named(model):
        save_weights(model, folder, dtype, write=first)
    else:
        with _stored_as(model, dtype if sharding == "ddp" else None):
            trainer.save_model(str(folder))
        if first and sharding != "ddp" and dtype:
            convert_files(folder, dtype)
    if first:
        for name in ("training_args.bin", "README.md"):
            (folder / name).unlink(missing_ok=True)
        setup.finish_folder(folder)


def _stored_dtype(setup: AnySetup) -> torch.dtype:
    return read_stored_dtype(*place_of(setup.job.start.path))


@contextmanager
def _stored_as(model: torch.nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Within it the parameters are of `dtype`; afterwards they are what they were, to the last bit."""
    before = [(p, p.data) for p in model.parameters()] if dtype else []
    for parameter, data in before:
        parameter.data = data.to(dtype)
    try:
        yield
    finally:
        for parameter, data in before:
            parameter.data = data


def _can_put_back(setup: AnySetup) -> bool:
    """Returns whether weights that were saved while training goes on can become the model's again."""
    sharding = setup.machine.sharding
    own = setup.config.lora is not None or is_stored_as_named(setup.model)
    return sharding in ("ddp", "zero2") or (sharding == "fsdp2" and own)


def _put_back(model: torch.nn.Module, folder: Path) -> None:
    if isinstance(model, peft.PeftModel) or is_stored_as_named(model):
        put_back(model, folder)
        return
    kept = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    model.load_state_dict(kept.state_dict())
