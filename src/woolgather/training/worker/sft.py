"""Supervised fine-tuning on the job's token ids and labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import trl

from woolgather.core.rows import JSON
from woolgather.prompting.renderer import IGNORE
from woolgather.training.batches import ByUpdate
from woolgather.training.job import SftOptions
from woolgather.training.job_file import WorkerJob
from woolgather.training.worker.adapter import adapter_for, show_bias
from woolgather.training.worker.devices.processes import EpochTeller, add_blanks, rows_at_once
from woolgather.training.worker.setup import (
    carry_out,
    prepare_training,
    read_data,
    write_log,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers.utils import ModelOutput

COLUMNS = ("input_ids", "labels")
BLANK: dict[str, list[int]] = {"input_ids": [0, 0], "labels": [IGNORE, IGNORE]}
"""A row without a label: it adds nothing to a loss, nor to the tokens that the loss is a mean of."""


def train(job: WorkerJob) -> dict[str, JSON]:
    """Tune the start model; returns what result.json says."""
    config = job.options
    assert isinstance(config, SftOptions)
    rows, held = read_data(job, COLUMNS)
    lengths = lengths_of(rows)
    own = {
        "max_length": config.max_length,
        "dataset_kwargs": {"skip_prepare_dataset": not config.args.get("packing")},
    }
    setup = prepare_training(
        job,
        config,
        lengths,
        lambda settings: trl.SFTConfig(**{**settings, **own, **config.args}),
        validated=held is not None,
    )
    trainer = UpdateTrainer(
        model=setup.model,
        args=setup.args,
        train_dataset=rows,
        eval_dataset=held,
        processing_class=setup.renderer.tokenizer,
        peft_config=adapter_for(setup),
        callbacks=[setup.told],
        rows_per_update=config.batch_size,
        by_row=config.weigh == "rows",
    )
    replies = [_split(*row) for row in zip(*(rows[n] for n in COLUMNS), strict=True)]
    result = carry_out(setup, trainer, replies, sum(lengths))
    write_log(setup, trainer)
    return result


def _split(ids: list[int], labels: list[int]) -> tuple[list[int], list[int]]:
    """Returns the ids of all that comes before a row's last reply, and those of that reply."""
    reply = next((n for n, label in enumerate(reversed(labels)) if label == IGNORE), len(labels))
    return ids[: len(ids) - reply], ids[len(ids) - reply :]


def lengths_of(rows: Dataset) -> list[int]:
    """Returns the tokens of each row."""
    return [len(ids) for ids in rows["input_ids"]]


class UpdateTrainer(trl.SFTTrainer):  # type: ignore[misc]
    """TRL's, with our order of rows and no model card in checkpoints. `rows_per_update` is the
    global batch; with `by_row` its rows weigh the same, however many tokens they have."""

    train_dataset: Dataset
    eval_dataset: Dataset | None

    def __init__(
        self, *args: object, rows_per_update: int, by_row: bool = False, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)
        self._by_row = by_row
        show_bias(self.model)
        # Packed rows are not ours to add to.
        at_once = 1 if self.args.packing else rows_at_once(self.args)
        lengths = lengths_of(self.train_dataset)
        self._order = ByUpdate(lengths, rows_per_update, self.args.seed, at_once)
        self.add_callback(EpochTeller(self._order))
        # One for training: the order names it as often as it is needed.
        self.train_dataset = add_blanks(self.train_dataset, BLANK, min(1, self._order.blanks))
        if self.eval_dataset is not None:
            missing = -len(self.eval_dataset) % at_once
            self.eval_dataset = add_blanks(self.eval_dataset, BLANK, missing)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> ByUpdate:
        return self._order

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor | int | None:
        """Returns what a sum over an update is divided by to be its mean: tokens with a label, or rows,
        over all devices."""
        if not self._by_row:
            told: torch.Tensor | int | None = super()._get_num_items_in_batch(batch_samples, device)
            return told
        labelled = (batch["labels"] != IGNORE for batch in batch_samples)
        rows = torch.tensor(sum(int(each.any(dim=1).sum()) for each in labelled), device=device)
        if self.args.world_size > 1 and self.args.average_tokens_across_devices:
            rows = self.accelerator.gather(rows).sum()
        return rows

    def compute_loss(
        self,
        model: torch.nn.Module | _ByRow,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ModelOutput]:
        """Returns the loss per token, or in training the mean over rows where they weigh the same; in
        validation such that its mean over rows is the mean over all their tokens, whichever of them
        are on a device at once."""
        told: torch.Tensor | tuple[torch.Tensor, ModelOutput]
        if self._by_row and self.model.training:
            model = _ByRow(model)
        told = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.model.training or "attention_mask" not in inputs:
            return told
        loss, outputs = told if isinstance(told, tuple) else (told, None)
        tokens = (inputs["labels"][:, 1:] != IGNORE).sum()
        loss = loss * tokens / (inputs["labels"].size(0) * self._held_tokens)
        return (loss, outputs) if return_outputs else loss

    @cached_property
    def _held_tokens(self) -> float:
        """Labelled tokens of a row that is held back, on the average."""
        rows: list[list[int]] = list(self.eval_dataset["labels"]) if self.eval_dataset else []
        tokens = sum(len(row) - row.count(IGNORE) for row in rows)
        return max(1, tokens) / max(1, len(rows))

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Writes nothing: a checkpoint is not a model to publish."""


class _ByRow:
    """A model that gives each token's log-probability as a share of its row: summed over a batch, they
    are the rows' means."""

    def __init__(self, model: Callable[..., ModelOutput]) -> None:
        self._model = model

    def __call__(self, **inputs: object) -> ModelOutput:
        output = self._model(**inputs)
        tokens = output.label_mask.sum(dim=1, keepdim=True).clamp(min=1)
        output.log_probs = output.log_probs / tokens
        return output
