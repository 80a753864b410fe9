"""What to train, on what, from which weights: data, no torch.

A `Trainer` is a handle that carries a job out; it is execution, so it has no identity. `SftOptions`
is what a paper would report, plus a listed set of execution fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from woolgather.artifacts import Model
from woolgather.options import Options
from woolgather.records import JSON

EXECUTION_ARGS = frozenset(
    {
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "gradient_checkpointing_kwargs",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataset_num_proc",
        "report_to",
        "save_steps",
        "save_total_limit",
        "logging_steps",
        "use_cpu",
        "deepspeed",
        "fsdp",
        "torch_compile",
    }
)
"""Fields of TRL's config that change how a job runs and not what comes out."""


class LoraOptions(Options):
    """A low-rank adapter on every linear layer."""

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class SftOptions(Options):
    """Supervised fine-tuning. Defaults are those of I-SHEEP (arXiv 2408.08072)."""

    execution: ClassVar[frozenset[str]] = frozenset({"micro_batch_size", "gradient_checkpointing"})

    lora: LoraOptions | None = LoraOptions()
    """None trains all weights."""
    learning_rate: float = Field(default=5e-5, gt=0)
    schedule: str = "cosine"
    warmup_updates: float = Field(default=20, ge=0)
    """Below 1 a share of all updates, otherwise their number."""
    epochs: float = Field(default=2, gt=0)
    max_updates: int | None = Field(default=None, ge=1)
    """Stops (and schedules) at this many updates instead of `epochs`."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in an update, over all devices and accumulation."""
    max_length: int = Field(default=1024, ge=16)
    """Tokens in a row, prompt and response; longer rows are set aside, never cut."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of rows held back for validation loss."""
    max_rows: int | None = Field(default=None, ge=1)
    """A random choice of this many rows when there are more; None uses all."""
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: str = "adamw_torch"
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """auto: bfloat16. Part of identity."""
    args: Mapping[str, Any] = Field(default_factory=dict)
    """Any other field of TRL's SFTConfig; checked against the installed version."""
    micro_batch_size: int = Field(default=0, ge=0)
    """Rows on a device at once; 0 chooses. Execution only."""
    gradient_checkpointing: bool | None = None
    """None switches it on only where memory asks for it. Execution only."""

    def __canonical__(self) -> dict[str, Any]:
        fields = super().__canonical__()
        fields["args"] = {k: v for k, v in self.args.items() if k not in EXECUTION_ARGS}
        return fields


@dataclass(frozen=True)
class TrainJob:
    kind: Literal["sft", "merge"]
    start: Model
    """Whose weights training starts from; a merge's adapter (or model to copy)."""
    data: Path | None = None
    """Parquet with `input_ids` and `labels` (lists of int; -100 where no loss), in training order."""
    config: Mapping[str, JSON] = field(default_factory=dict)
    """`SftOptions` as JSON; for a merge its own options."""
    seed: int = 0


class Trainer(Protocol):
    """Carries out a job in `out`, a directory of its own attempt; returns the model it made there.

    Raises TrainingError with the last lines of the log."""

    def __call__(self, job: TrainJob, out: Path) -> Model: ...

    def __canonical__(self) -> None: ...
