"""Supervised fine-tuning on the job's token ids and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trl

from woolgather.core.rows import JSON
from woolgather.training.batches import ByUpdate
from woolgather.training.job import SftOptions
from woolgather.training.worker.setup import (
    carry_out,
    curves,
    lora,
    place_of,
    prepare_training,
    rows_of,
)

COLUMNS = ("input_ids", "labels")


def train(job: Mapping[str, JSON], out: Path) -> dict[str, JSON]:
    """Tunes the start model; what result.json says."""
    config = SftOptions.model_validate(job["config"])
    rows, held = (rows_of(job, name, COLUMNS) for name in ("train", "validation"))
    lengths = [len(ids) for ids in rows["input_ids"]]
    setup = prepare_training(job, out, config, lengths, validated=held is not None)
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
        peft_config=lora(config, place_of(job["start"])[1]),
        callbacks=[setup.told],
        rows_per_update=config.batch_size,
    )
    result = carry_out(setup, trainer, sum(lengths))
    curves(trainer, out)
    return result


class UpdateTrainer(trl.SFTTrainer):  # type: ignore[misc]
    """TRL's, with our order of rows and no model card in checkpoints. `rows_per_update` is the
    global batch."""

    def __init__(self, *args: Any, rows_per_update: int, **kwargs: Any) -> None:
        self._rows_per_update = rows_per_update
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return ByUpdate(lengths, self._rows_per_update, self.args.seed)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a checkpoint is not a model to publish."""
