"""The processes that train together: the number of this one, and what all must agree on.

The one idea: a launcher that cannot give what it was asked for gives something else and says nothing,
so what came is compared with what was asked, and so are the rows that each process read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments

from woolgather.core.errors import ConfigError
from woolgather.core.storage import digest
from woolgather.training.batches import ByUpdate
from woolgather.training.job_file import Execution
from woolgather.training.layouts import distributed_types

if TYPE_CHECKING:
    import accelerate
    import transformers
    from datasets import Dataset


def rank() -> int:
    """Returns the number of this process among those that train together, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Returns how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agree(*flags: bool) -> tuple[bool, ...]:
    """Returns what the first process sees: saving is collective, so all must do it at one update."""
    if world() == 1:
        return flags
    from accelerate.utils import broadcast_object_list

    return tuple(broadcast_object_list(list(flags)))


def rows_at_once(args: transformers.TrainingArguments) -> int:
    """Returns how many rows are on all devices together."""
    return int(args.per_device_train_batch_size) * world()


class EpochTeller(TrainerCallback):  # type: ignore[misc]
    """Callback that tells an order which epoch begins: accelerate tells it to no sampler that lies behind
    both its shards and the batches that a resumed training leaves out."""

    def __init__(self, order: ByUpdate) -> None:
        self.order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: object, **_: object
    ) -> None:
        """Set the epoch: its number from 0, of which a resumed training may have done a part."""
        self.order.set_epoch(int(state.epoch or 0))


def add_blanks(rows: Dataset, blank: Mapping[str, object], count: int) -> Dataset:
    """Returns the rows with blank ones behind them, so that accelerate neither takes a row twice nor
    leaves one out where devices cannot share them evenly. What `blank` lacks is 0."""
    for _ in range(count):
        rows = rows.add_item({name: blank.get(name, 0.0) for name in rows.column_names})
    return rows


def wait_for_all() -> None:
    """Return once every process is here, so that what each has written is there for all."""
    if world() > 1:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()


def check_same_rows(data: Path) -> None:
    """Raises ConfigError where the processes have read different rows."""
    if world() == 1:
        return
    from accelerate.utils import gather_object

    found = gather_object([digest(data)])
    other = next((number for number, one in enumerate(found) if one != found[0]), None)
    if other is not None:
        raise ConfigError(
            f"the processes that train together have different rows: {data} is {found[0][:12]} for "
            f"process 0 and {found[other][:12]} for process {other}. Put the run directory on a disk "
            "that all machines share."
        )


def check_layout(execution: Execution, accelerator: accelerate.Accelerator) -> None:
    """Raises ConfigError where the processes do not share the work as was asked."""
    found = str(accelerator.distributed_type.value)
    stage = getattr(accelerator.state.deepspeed_plugin, "zero_stage", None)
    version = getattr(accelerator.state.fsdp_plugin, "fsdp_version", None) if found == "FSDP" else 2
    asked = execution.sharding
    right = found in distributed_types(asked) and version == 2
    if right and found == "DEEPSPEED":
        right = stage == 3 if asked == "zero3" else stage in (1, 2)
    if not right or accelerator.num_processes != execution.processes:
        told = f"{found} of stage {stage}" if found == "DEEPSPEED" else found
        raise ConfigError(
            f"--accelerate {asked} with {execution.processes} processes was asked for, and accelerate "
            f"made {told} with {accelerator.num_processes}. Layouts other than ddp need GPUs, and zero2 "
            "and zero3 need DeepSpeed (pip install deepspeed)."
        )


def count_values(parameter: torch.nn.Parameter) -> int:
    """Returns the values of a parameter, also where this process holds a part of it."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
