"""What to train, on what, from which weights: data, no torch.

A `Trainer` is a handle that carries a job out; it is execution, so it has no identity. `SftOptions`
and `DpoOptions` are what a paper would report, plus a listed set of execution fields; a job holds one
of them, or the `MergeOptions` of a merge. What a trainer leaves in its directory has fixed names
(`MODEL`, `RESULT`, `CURVES`), so that ops and reports read real and fake training alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.expected import DeviceMemory
from woolgather.core.machine_speed import Precision
from woolgather.core.options import Options
from woolgather.training.trl_args import EXECUTION_ARGS, TrlConfig, read_args

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
EPOCHS = "epochs"
"""Models after each epoch but the last, in `out`: directories that `epoch_dir` names."""
MARKER = "complete.json"
"""In a checkpoint or a kept model, written last: its update and the digest of its job."""
STAMP = "fake.json"
"""Marks a directory that a fake trainer made."""
EIGHT_BITS = ("adamw_8bit", "paged_adamw_8bit")
"""Optimizers that need bitsandbytes and a GPU."""
ALL_LINEAR = "all-linear"
"""Stands for every linear layer but the one that makes the logits."""


class LoraOptions(Options):
    """A low-rank adapter."""

    added: ClassVar[frozenset[str]] = frozenset({"four_bit", "target_modules"})

    r: int = Field(default=8, ge=1)
    """Rank of the adapter's matrices."""
    alpha: float = Field(default=16, gt=0)
    """Scale of the adapter: what it adds is multiplied by alpha / r."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout before the adapter's matrices, in training alone."""
    four_bit: bool = False
    """The frozen base in 4 bits (QLoRA), on a GPU with bitsandbytes; elsewhere the adapter learns on
    the base as it is, and the training step says so."""
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    """Layers that have an adapter, by their names within the model (q_proj, v_proj); all-linear is every
    linear layer but the one that makes the logits."""

    @field_validator("target_modules", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @field_validator("target_modules")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or (ALL_LINEAR in value and len(value) > 1):
            raise ConfigError(f"lora.target_modules: give names of layers, or {ALL_LINEAR} alone.")
        return value


class TrainingOptions(Options):
    """Settings that all kinds of training have."""

    execution: ClassVar[frozenset[str]] = frozenset({"micro_batch_size", "gradient_checkpointing"})
    added: ClassVar[frozenset[str]] = frozenset({"keep_best", "validate_every"})
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
    validate_every: int | None = Field(default=None, ge=1)
    """Updates from one validation to the next; None validates after each epoch."""
    keep_best: bool = False
    """The result is the model with the lowest validation loss of those that were looked at, not the
    last one. Needs `validation` above 0."""
    max_rows: int | None = Field(default=None, ge=1)
    """A choice of this many rows when there are more, at random unless something else is said; None uses
    all."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of the optimizer."""
    optimizer: str = "adamw_torch"
    """Optimizer, by its name in transformers; adamw_8bit and paged_adamw_8bit keep their states in 8
    bits, the second in the host's memory (on a GPU, with bitsandbytes)."""
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
        return read_args(value, cls.trl)

    def __canonical__(self) -> dict[str, object]:
        fields = super().__canonical__()
        fields["args"] = {k: v for k, v in self.args.items() if k not in EXECUTION_ARGS}
        return fields

    @model_validator(mode="after")
    def _validates(self) -> Self:
        for name in ("keep_best", "validate_every"):
            if getattr(self, name) and not self.validation:
                raise ConfigError(
                    f"{name} goes by the loss of rows that are held back: set validation above 0."
                )
        return self

    def updates(self, rows: int) -> int:
        """Returns the optimizer steps of a training on `rows` rows, those over `max_rows` left out and
        validation held back."""
        if self.max_updates is not None:
            return self.max_updates
        rows = min(rows, self.max_rows or rows)
        return self.updates_of(rows - held_back(rows, self.validation))

    def updates_of(self, trained: int) -> int:
        """Returns the same for the number of rows that are left when validation is held back."""
        return max(1, math.ceil(math.ceil(trained / self.batch_size) * self.epochs))


_OTHER_LOSSES = ("packing", "padding_free", "loss_type", "label_smoothing_factor")
"""Fields of TRL's config under which its loss is no mean over the tokens of rows."""


class SftOptions(TrainingOptions):
    """Supervised fine-tuning. Defaults are those of I-SHEEP (arXiv 2408.08072)."""

    kind: ClassVar[JobKind] = "sft"
    added: ClassVar[frozenset[str]] = TrainingOptions.added | {"dropout", "choose", "weigh"}
    trl: ClassVar[TrlConfig] = "SFTConfig"

    learning_rate: float = Field(default=5e-5, gt=0)
    choose: Literal["random", "first"] = "random"
    """Which rows `max_rows` leaves: a random choice of the machine's own, or the first of them."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of the model itself where all weights are trained (`lora: null`), wherever its
    architecture has some; None leaves what its config says. For an adapter there is `lora.dropout`."""

    weigh: Literal["tokens", "rows"] = "tokens"
    """What weighs the same in an update: each token that is learned, so that long answers count for more,
    or each row, so that a word counts as much as a page."""

    @model_validator(mode="after")
    def _weighs_once(self) -> SftOptions:
        told = [
            name for name in _OTHER_LOSSES if self.args.get(name) not in (None, 0, False, "nll")
        ]
        if self.weigh == "rows" and told:
            raise ConfigError(
                f"weigh=rows beside args.{told[0]}: rows are told apart, and weighed, only in the plain "
                "loss of rows that are not packed. Leave one of the two out."
            )
        return self

    @model_validator(mode="after")
    def _drops_once(self) -> SftOptions:
        if self.dropout is not None and self.lora is not None:
            raise ConfigError(
                "dropout is for training all weights (lora: null); an adapter has lora.dropout."
            )
        return self

    def like(self, rows: int) -> SftOptions:
        """Returns the same training with as many updates as one on `rows` rows has."""
        return self.model_copy(update={"max_updates": self.updates(rows)})


class PreferenceOptions(TrainingOptions):
    """Training on pairs of answers, but for what a method changes from one iteration to the next."""

    added: ClassVar[frozenset[str]] = TrainingOptions.added | {"keep_epochs", "stop_fall"}
    trl: ClassVar[TrlConfig] = "DPOConfig"

    loss: Literal["logistic", "hinge"] = "logistic"
    """Loss of the margin m: log(1 + exp(-m)), or max(0, 1 - m)."""
    nll_weight: float = Field(default=0.0, ge=0)
    """Weight of an anchor: the mean negative log-probability of a real answer's tokens."""
    stop_fall: float | None = Field(default=None, gt=0)
    """Stops where real answers have become less likely than the opponent finds them, by more than this
    many nats per token; None goes on to the end."""
    max_prompt_length: int = Field(default=512, ge=8)
    """Tokens in a prompt; pairs with a longer one are set aside."""
    lora: LoraOptions | None = LoraOptions(r=16, alpha=32.0, dropout=0.0)
    """None trains all weights. With an adapter the opponent is the model below it. Either way it is
    asked once per pair, before the first update, and TRL switches all dropout off."""
    schedule: str = "linear"
    warmup_updates: float = Field(default=0.1, ge=0)
    """Below 1 a share of all updates, otherwise their number."""
    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=64, ge=1)
    """Pairs in an update, over all devices and accumulation."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of prompts whose pairs are held back for validation loss and accuracy."""
    keep_epochs: bool = False
    """Keep the model of every epoch, not only the last, and measure each: the best goes on."""
    optimizer: str = "rmsprop"

    @property
    def earlier_epochs(self) -> range:
        """Returns the numbers, from 1, of the epochs before the last whose models are kept."""
        return range(1, math.ceil(self.epochs)) if self.keep_epochs else range(0)

    @model_validator(mode="after")
    def _keeps_whole_epochs(self) -> Self:
        if self.keep_epochs and (self.keep_best or self.max_updates is not None):
            other = "keep_best" if self.keep_best else "max_updates"
            raise ConfigError(
                f"keep_epochs keeps a model of each of `epochs`, and {other} was set beside it: "
                "leave one of the two out."
            )
        return self

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

    def memory(self, start: Model, options: SftOptions | DpoOptions) -> DeviceMemory | None:
        """Returns what training `start` takes on each device; None where that is not known."""

    def check(self) -> None:
        """Raises ConfigError for what cannot be had on this machine, before any work."""

    def __canonical__(self) -> str | None:
        """None: a trainer has no identity. The fake one names itself."""


def is_fake(model: Model) -> bool:
    """Returns whether the model is only a name for dry runs, or was made by a fake trainer."""
    return model.path.startswith("fake") or (Path(model.path) / STAMP).is_file()


def epoch_dir(out: Path, epoch: int) -> Path:
    """Returns where a trainer leaves the model after an epoch, counted from 1."""
    return out / EPOCHS / f"epoch-{epoch}"


def held_back(rows: int, share: float) -> int:
    """Returns how many of `rows` rows are for validation: at least one stays to train on."""
    return min(round(rows * share), max(0, rows - 1))
