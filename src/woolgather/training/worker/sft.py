"""Supervised fine-tuning on the job's token ids and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trl

from woolgather.core.rows import JSON
from woolgather.training.batches import ByUpdate
from woolgather.training.job import SftOptions
from woolgather.training.job_file import WorkerJob
from woolgather.training.worker.setup import (
    carry_out,
    make_adapter,
    prepare_training,
    read_data,
    write_log,
)

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("input_ids", "labels")


def train(job: WorkerJob) -> dict[str, JSON]:
    """Tune the start model; returns what result.json says."""
    config = job.options
    assert isinstance(config, SftOptions)
    rows, held = read_data(job, COLUMNS)
    lengths = lengths_of(rows)
    setup = prepare_training(job, config, lengths, validated=held is not None)
    own = {
        "max_length": config.max_length,
        "dataset_kwargs": {"skip_prepare_dataset": not config.args.get("packing")},
    }
    trainer = UpdateTrainer(
        model=setup.model,
        args=trl.SFTConfig(**{**setup.settings, **own, **config.args}),
        train_dataset=rows,
        eval_dataset=held,
        processing_class=setup.renderer.tokenizer,
        peft_config=make_adapter(setup),
        callbacks=[setup.told],
        rows_per_update=config.batch_size,
    )
    result = carry_out(setup, trainer, sum(lengths))
    write_log(setup, trainer)
    return result


def lengths_of(rows: Dataset) -> list[int]:
    """Returns the tokens of each row."""
    return [len(ids) for ids in rows["input_ids"]]


class UpdateTrainer(trl.SFTTrainer):  # type: ignore[misc]
    """TRL's, with our order of rows and no model card in checkpoints. `rows_per_update` is the
    global batch."""

    def __init__(self, *args: object, rows_per_update: int, **kwargs: object) -> None:
        self._rows_per_update = rows_per_update
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> ByUpdate:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return ByUpdate(lengths_of(rows), self._rows_per_update, self.args.seed)

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Writes nothing: a checkpoint is not a model to publish."""
