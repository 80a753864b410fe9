"""What to train, on what, from which weights: data, no torch.

A `Trainer` is a handle that carries a job out; it is execution, so it has no identity. `SftOptions`
and `DpoOptions` are what a paper would report, plus a listed set of execution fields; a job holds one
of them, or the `MergeOptions` of a merge. What a trainer leaves in its directory has fixed names
(`MODEL`, `RESULT`, `CURVES`), so that ops and reports read real and fake training alike.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import Field, field_validator

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import Precision
from woolgather.core.options import Options

EXECUTION_ARGS = frozenset(
    {
        "per_device_eval_batch_size",
        "gradient_checkpointing_kwargs",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataset_num_proc",
        "report_to",
        "use_cpu",
        "deepspeed",
        "fsdp",
        "torch_compile",
    }
)
"""Fields of TRL's config that change how a job runs and not what comes out."""

OURS = {
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "schedule",
    "warmup_steps": "warmup_updates",
    "num_train_epochs": "epochs",
    "max_steps": "max_updates",
    "max_length": "max_length",
    "weight_decay": "weight_decay",
    "optim": "optimizer",
    "bf16": "precision",
    "fp16": "precision",
    "tf32": "precision",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "gradient_checkpointing": "gradient_checkpointing",
}
"""Fields of TRL's configs with a setting of our own, which has to be used instead."""
DPO_OURS = {"beta": "beta", "loss_type": "loss", "loss_weights": "nll_weight"}
"""The same for DPOConfig alone."""
_FIXED = frozenset(
    {
        "output_dir",
        "seed",
        "data_seed",
        "pad_token",
        "model_init_kwargs",
        "remove_unused_columns",
        "resume_from_checkpoint",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "logging_strategy",
        "logging_steps",
        "eval_strategy",
        "auto_find_batch_size",
        "do_train",
        "do_eval",
        "do_predict",
        "push_to_hub",
        "trust_remote_code",
    }
)
FIXED = _FIXED | {
    "dataset_kwargs",
    "dataset_text_field",
    "completion_only_loss",
    "assistant_only_loss",
    "chat_template_path",
    "eos_token",
    "shuffle_dataset",
}
"""Fields of SFTConfig that woolgather sets itself: rows come rendered, tokenized and labelled."""
DPO_FIXED = _FIXED | {
    "truncation_mode",
    "padding_free",
    "precompute_ref_log_probs",
    "precompute_ref_batch_size",
    "sync_ref_model",
    "ref_model_mixup_alpha",
    "ref_model_sync_steps",
}
"""The same of DPOConfig: the opponent is frozen and named by the job."""
TrlConfig = Literal["SFTConfig", "DPOConfig"]
JobKind = Literal["sft", "dpo", "merge"]

MODEL = "model"
"""What was trained or merged, a directory in a trainer's `out`."""
RESULT = "result.json"
"""Numbers of a job, in `out`: updates, epochs, tokens, seconds, losses; None where unknown."""
CURVES = "curves.parquet"
"""By update, in `out`: `update`, `epoch`, `loss`, `learning_rate`, `validation_loss` (null where not
measured), and for preferences `PAIR_NUMBERS`."""
PAIR_NUMBERS = (
    "real_logp",
    "generated_logp",
    "real_gain",
    "generated_gain",
    "margin",
    "accuracy",
    "validation_accuracy",
)
"""Means over the pairs of an update, log-probabilities summed over an answer, in nats: of the real
and the generated ones; by how much the policy gives them more than the opponent; beta times the
difference of the two gains, which the loss takes; the share of pairs where it is above 0."""
STAMP = "fake.json"
"""Marks a directory that a fake trainer made."""


class LoraOptions(Options):
    """A low-rank adapter on every linear layer."""

    r: int = Field(default=8, ge=1)
    """Rank of the adapter's matrices."""
    alpha: float = Field(default=16, gt=0)
    """Scale of the adapter: what it adds is multiplied by alpha / r."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout before the adapter's matrices, in training alone."""
    four_bit: bool = False
    """The frozen base in 4 bits (QLoRA), on a GPU with bitsandbytes; elsewhere the adapter learns on
    the base as it is, and the training step says so."""

    def __canonical__(self) -> dict[str, object]:
        fields = super().__canonical__()
        return fields if self.four_bit else {k: v for k, v in fields.items() if k != "four_bit"}


class TrainingOptions(Options):
    """Settings that all kinds of training have."""

    execution: ClassVar[frozenset[str]] = frozenset({"micro_batch_size", "gradient_checkpointing"})
    kind: ClassVar[JobKind]
    trl: ClassVar[TrlConfig]
    """The config of TRL's that `args` are fields of."""

    lora: LoraOptions | None = LoraOptions()
    """None trains all weights."""
    schedule: str = "cosine"
    """Learning rate schedule, by its name in transformers."""
    warmup_updates: float = Field(default=20, ge=0)
    """Below 1 a share of all updates, otherwise their number."""
    epochs: float = Field(default=2, gt=0)
    """Passes over the rows."""
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
    """Weight decay of the optimizer."""
    optimizer: str = "adamw_torch"
    """Optimizer, by its name in transformers."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """auto is the faster one on the machine where the run began, by measurement (`woolgather doctor`);
    what it became is part of identity and stays with the run."""
    args: Mapping[str, object] = Field(default_factory=dict)
    """Any other field of TRL's config (SFTConfig, DPOConfig); checked against the installed version.
    Those in `EXECUTION_ARGS` are execution only, all others identity."""
    micro_batch_size: int = Field(default=0, ge=0)
    """Rows on a device at once; 0 chooses. Execution only."""
    gradient_checkpointing: bool | None = None
    """None switches it on only where memory asks for it. Execution only."""

    @field_validator("args")
    @classmethod
    def _known(cls, value: Mapping[str, object]) -> Mapping[str, object]:
        check_args(value, cls.trl)
        return value

    def __canonical__(self) -> dict[str, object]:
        fields = super().__canonical__()
        fields["args"] = {k: v for k, v in self.args.items() if k not in EXECUTION_ARGS}
        return fields

    def updates(self, rows: int) -> int:
        """Returns the optimizer steps of a training on `rows` rows, validation held back."""
        if self.max_updates is not None:
            return self.max_updates
        return self.updates_of(rows - held_back(rows, self.validation))

    def updates_of(self, trained: int) -> int:
        """Returns the same for the number of rows that are left when validation is held back."""
        return max(1, math.ceil(math.ceil(trained / self.batch_size) * self.epochs))


class SftOptions(TrainingOptions):
    """Supervised fine-tuning. Defaults are those of I-SHEEP (arXiv 2408.08072)."""

    kind: ClassVar[JobKind] = "sft"
    trl: ClassVar[TrlConfig] = "SFTConfig"

    learning_rate: float = Field(default=5e-5, gt=0)

    def like(self, rows: int) -> SftOptions:
        """Returns the same training with as many updates as one on `rows` rows has."""
        return self.model_copy(update={"max_updates": self.updates(rows)})


class PreferenceOptions(TrainingOptions):
    """Training on pairs of answers, but for what a method changes from one iteration to the next."""

    trl: ClassVar[TrlConfig] = "DPOConfig"

    loss: Literal["logistic", "hinge"] = "logistic"
    """Loss of the margin m: log(1 + exp(-m)), or max(0, 1 - m)."""
    nll_weight: float = Field(default=0.0, ge=0)
    """Weight of an anchor: the mean negative log-probability of a real answer's tokens."""
    max_prompt_length: int = Field(default=512, ge=8)
    """Tokens in a prompt; pairs with a longer one are set aside."""
    lora: LoraOptions | None = LoraOptions(r=16, alpha=32.0, dropout=0.0)
    """None trains all weights, beside a frozen copy that is the opponent. With an adapter the
    opponent is the model below it, and TRL switches all dropout off."""
    schedule: str = "linear"
    warmup_updates: float = Field(default=0.1, ge=0)
    """Below 1 a share of all updates, otherwise their number."""
    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=64, ge=1)
    """Pairs in an update, over all devices and accumulation."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of prompts whose pairs are held back for validation loss and accuracy."""
    optimizer: str = "rmsprop"

    @field_validator("lora")
    @classmethod
    def _exact(cls, value: LoraOptions | None) -> LoraOptions | None:
        if value is not None and value.four_bit:
            raise ConfigError(
                "lora.four_bit: in 4 bits the opponent would not be the model that generated. "
                "Leave it out for preference training."
            )
        return value


class DpoOptions(PreferenceOptions):
    """Preference training with TRL's DPO, as one job has it."""

    kind: ClassVar[JobKind] = "dpo"

    learning_rate: float = Field(default=5e-6, gt=0)
    beta: float = Field(default=0.1, gt=0)
    """How much a difference of log-probabilities counts: higher stays nearer to the opponent."""


class MergeOptions(Options):
    """How an adapter and its base become one directory."""

    kind: ClassVar[JobKind] = "merge"

    scale: float = 1.0
    """The adapter's dial: 0 is the base, 1 the trained model."""
    max_shard_size: str = "4GB"
    card: str = ""
    """Text of README.md; empty writes none."""
    system: str = ""
    """Lines that the chat template sends when no system turn is given; empty keeps what there is."""


JobOptions = SftOptions | DpoOptions | MergeOptions


@dataclass(frozen=True)
class TrainJob:
    """What a trainer is to make, and of what."""

    options: JobOptions
    start: Model
    """Whose weights training starts from; a merge's adapter (or model to copy)."""
    data: Path | None = None
    """A directory with train.parquet and, where rows are held back, validation.parquet, lists of
    int: `input_ids` and `labels` (-100 where no loss); for dpo `prompt_ids`, `chosen_ids` and
    `rejected_ids`. None for a merge."""
    seed: int = 0
    reference: Model | None = None
    """dpo: the frozen opponent. Its directory must still have the content that `digest` names."""

    @property
    def kind(self) -> JobKind:
        """Returns which of the worker's programs carries the job out."""
        return self.options.kind

    @property
    def trains(self) -> bool:
        """Returns whether there are updates, hence checkpoints and curves; a merge has none."""
        return not isinstance(self.options, MergeOptions)


class Trainer(Protocol):
    """Carries out a job in `out`, a directory of its own attempt; returns the model it made there.

    Raises TrainingError with the last lines of the log."""

    def __call__(self, job: TrainJob, out: Path) -> Model: ...

    def precision(self, *, measure: bool = True) -> Precision | None:
        """What `precision: auto` becomes where this trainer trains; None when that would have to be
        measured and `measure` is False. Raises ConfigError without torch."""

    def __canonical__(self) -> str | None:
        """None: a trainer has no identity. The fake one names itself."""


def is_fake(model: Model) -> bool:
    """Returns whether the model is only a name for dry runs, or was made by a fake trainer."""
    return model.path.startswith("fake") or (Path(model.path) / STAMP).is_file()


def held_back(rows: int, share: float) -> int:
    """Returns how many of `rows` rows are for validation: at least one stays to train on."""
    return min(round(rows * share), max(0, rows - 1))


@cache
def known_args(config: TrlConfig = "SFTConfig") -> frozenset[str]:
    """Returns the fields of the installed TRL's config, read from its source so that nothing heavy is
    imported; empty when TRL is not installed."""
    names: set[str] = set()
    for package, file in (
        ("trl", f"trainer/{config[:3].lower()}_config.py"),
        ("trl", "trainer/base_config.py"),
        ("transformers", "training_args.py"),
    ):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        source = next((p for place in places if (p := Path(place, file)).is_file()), None)
        if source is None:
            return frozenset()
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names |= {
                    part.target.id
                    for part in node.body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                }
    return frozenset(n for n in names if not n.startswith("_"))


def check_args(args: Mapping[str, object], config: TrlConfig = "SFTConfig") -> None:
    """Raises ConfigError for a field that the installed config lacks, or that is not free."""
    ours, fixed = OURS, FIXED
    if config == "DPOConfig":
        ours, fixed = OURS | DPO_OURS, DPO_FIXED
    for name in args:
        if name in ours:
            raise ConfigError(f"args.{name}: set `{ours[name]}` instead.")
        if name in fixed:
            raise ConfigError(f"args.{name} is set by woolgather and cannot be given.")
        if (known := known_args(config)) and name not in known:
            near = difflib.get_close_matches(name, known - fixed - ours.keys(), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"args.{name}: TRL {metadata.version('trl')} has no such field in {config}.{hint}"
            )
