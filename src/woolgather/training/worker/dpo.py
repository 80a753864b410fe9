"""Preference training: TRL's DPO, on our token ids, against the opponent that the job names.

The one idea: a wrong opponent trains in silence, so none is guessed. Its directory must have the
content that the job's digest names. With an adapter the opponent is the model below it, hence start
and opponent must be one; when all weights are trained it is the start before its first update, or
read from a directory of its own. It is asked before the first update, see opponent.py.

The loss is TRL's ("sigmoid" is the logistic one). Ours are: that rows are taken as they come (TRL
would tokenize texts again and append an end token of its own), that pairs weigh the same whatever
number is on a device at once, and the anchor on the real answers, for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import peft
import torch
import transformers
import trl

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.core.storage import digest
from woolgather.training.batches import ByUpdate
from woolgather.training.checkpoints import is_complete, opponent_dir
from woolgather.training.job import DpoOptions
from woolgather.training.job_file import Weights, WorkerJob
from woolgather.training.worker.adapter import adapter_for, show_bias
from woolgather.training.worker.devices.processes import EpochTeller, rank, rows_at_once
from woolgather.training.worker.opponent import (
    add_logps,
    new_scores,
    own_batches,
    read_opponent,
    write_opponent,
)
from woolgather.training.worker.setup import (
    Setup,
    carry_out,
    prepare_training,
    read_data,
    weights_dtype,
    write_log,
)
from woolgather.training.worker.shared_prompt import SharedPrompt, says_the_same, takes_masks
from woolgather.training.worker.weights.places import place_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers.utils import ModelOutput

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
LOSSES = {"logistic": "sigmoid", "hinge": "hinge"}
"""Ours to TRL's names."""
BLANK: dict[str, list[int]] = {"prompt_ids": [0, 0], "chosen_ids": [], "rejected_ids": []}
"""A pair of empty answers: their log-probabilities are 0 whatever the weights are."""
BLANK_LOSS = {"logistic": math.log(2), "hinge": 1.0}
"""The loss of a blank pair."""
FEW = 4
"""Updates whose mean says whether real answers fall."""
Batch = Mapping[str, torch.Tensor]
Model = Callable[..., "ModelOutput"]


def train(job: WorkerJob) -> dict[str, JSON]:
    """Tune the start model; returns what result.json says. Raises ConfigError for weights that are not
    those the job names."""
    config = job.options
    assert isinstance(config, DpoOptions)
    opponent = check_weights(job, adapter=config.lora is not None)
    rows, held = read_data(job, COLUMNS)
    lengths = lengths_of(rows)
    setup = prepare_training(
        job,
        config,
        lengths,
        lambda settings: make_args(config, settings),
        validated=held is not None,
    )
    trainer = trainer_of(setup, opponent, rows, held)
    tokens = sum(
        2 * len(p) + len(c) + len(r) for p, c, r in zip(*(rows[n] for n in COLUMNS), strict=True)
    )
    falling = StopAtFall(config, sum(map(len, rows["chosen_ids"])) / len(rows))
    trainer.add_callback(falling)
    replies = list(zip(rows["prompt_ids"], rows["chosen_ids"], strict=True))
    result = carry_out(setup, trainer, replies, tokens)
    trained = [row for row in write_log(setup, trainer, _log_names(config.beta)) if "margin" in row]
    first, last = (trained[0], trained[-1]) if trained else ({}, {})
    return {
        **result,
        "margin_at_start": first.get("margin"),
        "margin": last.get("margin"),
        "accuracy": last.get("accuracy"),
        "stopped_at_fall": falling.stopped,
    }


class StopAtFall(transformers.TrainerCallback):  # type: ignore[misc]
    """Callback that ends training where real answers have become less likely than `stop_fall` allows,
    by the mean of the last few updates: one has few pairs."""

    def __init__(self, config: DpoOptions, tokens: float) -> None:
        self.most, self.beta, self.tokens = config.stop_fall, config.beta, tokens
        """`tokens` is the mean length of a real answer, its end token included."""
        self.stopped = False

    def on_log(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **_: object,
    ) -> None:
        """Look at the gain of real answers, which the log holds times beta. A resumed training finds the
        log as it was."""
        gains = [
            e["rewards/chosen"] / self.beta for e in state.log_history if "rewards/chosen" in e
        ]
        last = gains[-FEW:]
        if self.most is not None and last and -sum(last) / len(last) > self.most * self.tokens:
            self.stopped = control.should_training_stop = True


def check_weights(job: WorkerJob, *, adapter: bool) -> Weights:
    """Returns the opponent. Raises ConfigError where it or the start are not what the job names."""
    start, reference = job.start, job.reference
    if reference is None:
        raise ConfigError("preference training needs a reference: the frozen opponent.")
    # The opponent first: where both are one directory, its digest is the one that counts.
    named = {reference.path: ("the opponent", reference.digest)}
    named.setdefault(start.path, ("the start", start.digest))
    for path, (who, expected) in named.items():
        if expected and Path(path).is_dir() and (found := digest(Path(path))) != expected:
            raise ConfigError(
                f"{path} does not hold the weights that {who} of this training names: its content "
                f"is {found[:12]}, not {expected[:12]}. Something has changed the files; make the "
                "model again (--redo with the step that made it)."
            )
    if adapter and Path(start.path).resolve() != Path(reference.path).resolve():
        raise ConfigError(
            f"with lora the opponent is the model below the adapter, {start.path}, and the job names "
            f"{reference.path}. Train all weights (lora=null), or start from the opponent."
        )
    return reference


def make_args(config: DpoOptions, settings: Mapping[str, object]) -> trl.DPOConfig:
    """Returns TRL's config for the settings that all training shares."""
    own = {"loss_type": [LOSSES[config.loss]], "beta": config.beta, "max_length": None}
    # So TRL loads no opponent by itself. With an adapter it never does, and would hash all weights.
    own["precompute_ref_log_probs"] = config.lora is None
    return trl.DPOConfig(**{**settings, **own, **config.args})


def trainer_of(
    setup: Setup[DpoOptions], reference: Weights, rows: Dataset, held: Dataset | None
) -> PairTrainer:
    """Returns policy and opponent, ready to train."""
    config = setup.config
    return PairTrainer(
        model=setup.model,
        ref_model=_load_opponent(setup, reference),
        args=setup.args,
        train_dataset=rows,
        eval_dataset=held,
        processing_class=setup.renderer.tokenizer,
        peft_config=adapter_for(setup),
        callbacks=[setup.told],
        job=setup.job,
        options=config,
    )


def _load_opponent(
    setup: Setup[DpoOptions], reference: Weights
) -> transformers.PreTrainedModel | None:
    """Returns a model of its own, for as long as it is asked; None where the policy answers for it, or
    an earlier attempt has asked it."""
    job, config = setup.job, setup.config
    path, place = place_of(reference.path)
    if (
        config.lora
        or path == place_of(job.start.path)[0]
        or is_complete(opponent_dir(job.out), job.digest)
    ):
        return None
    # In the policy's own precision: a frozen one would do with less, but would differ at once.
    opponent = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=weights_dtype(setup.machine, config), **place
    )
    return opponent.requires_grad_(False)


def lengths_of(rows: Dataset) -> list[int]:
    """Returns the tokens of the longer sequence of each pair."""
    return [
        len(p) + max(len(c), len(r)) for p, c, r in zip(*(rows[n] for n in COLUMNS), strict=True)
    ]


def row_lengths_of(rows: Dataset) -> list[int]:
    """Returns the tokens of each pair where both answers stand behind one prompt."""
    return [len(p) + len(c) + len(r) for p, c, r in zip(*(rows[n] for n in COLUMNS), strict=True)]


class PairTrainer(trl.DPOTrainer):  # type: ignore[misc]
    """TRL's, with our rows, order and weights."""

    train_dataset: Dataset
    eval_dataset: Dataset | None
    _shares_prompts = False
    """Whether both answers of a pair are in one row, see shared_prompt.py."""
    _held_share = 1.0
    """Pairs held back and blank ones, as a multiple of the former."""
    # Our loss divides by the pairs of the whole update, so TRL must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: object,
        job: WorkerJob,
        options: DpoOptions,
        **kwargs: object,
    ) -> None:
        self._job, self._loss, self._nll_weight = job, options.loss, options.nll_weight
        super().__init__(*args, **kwargs)
        show_bias(self.model)
        self._lengths, at_once = row_lengths_of(self.train_dataset), rows_at_once(self.args)
        self._order = ByUpdate(self._lengths, options.batch_size, self.args.seed, at_once)
        self.add_callback(EpochTeller(self._order))

    def train(self, *args: object, **kwargs: object) -> object:
        """Ask the opponent, let it go, and train."""
        self._shares_prompts = self._can_share_prompts()
        # Shared out, an adapter's base is put together in training alone; it takes no memory of its own.
        if self._job.execution.sharding == "ddp" or not isinstance(self.model, peft.PeftModel):
            self.ask_opponent()
        if self._order.blanks:
            columns = self.train_dataset.column_names
            self.train_dataset = self.train_dataset.add_item(
                {c: BLANK.get(c, 0.0) for c in columns}
            )
        return super().train(*args, **kwargs)

    def ask_opponent(self) -> None:
        """Give each pair what the opponent says of it: once per job, whatever attempt it is."""
        out, digest = self._job.out, self._job.digest
        parts = {"train": self.train_dataset}
        if self.eval_dataset is not None:
            parts["validation"] = self.eval_dataset
        known = {part: read_opponent(out, digest, part, rows) for part, rows in parts.items()}
        if None in known.values():
            known = {part: self._ask(part, rows) for part, rows in parts.items()}
            if rank() == 0:
                write_opponent(out, digest, known)
        self.train_dataset, self.eval_dataset = known["train"], known.get("validation")
        self.ref_model, self.precompute_ref_logps = None, True

    def _can_share_prompts(self) -> bool:
        """Returns whether a pair may be one row: the model is whole here, and says the same of one."""
        settings = self.model.config.get_text_config()
        if self._job.execution.sharding != "ddp" or not takes_masks(settings):
            return False
        shortest = min(range(len(self._lengths)), key=lambda i: self._lengths[i])
        batch = self._prepare_inputs(self.data_collator([self.train_dataset[shortest]]))
        was_training = self.model.training
        self.model.eval()
        with self.accelerator.autocast():
            same = says_the_same(self.model, batch)
        self.model.train(was_training)
        return same

    def _form(self, model: torch.nn.Module) -> Model:
        """Returns a model in the form in which it reads pairs."""
        return SharedPrompt(model) if self._shares_prompts else model

    def _ask(self, part: str, rows: Dataset) -> Dataset:
        """Returns the rows with the opponent's log-probabilities."""
        order = [i for i in self._order if i < len(rows)] if part == "train" else range(len(rows))
        model, device = self.ref_model or self.model, self.accelerator.device
        scores, was_training = new_scores(len(rows), device), model.training
        model.eval()
        for batch, counts in own_batches(order, self.args.per_device_train_batch_size):
            inputs = self._prepare_inputs(self.data_collator([rows[i] for i in batch]))
            said = torch.stack(self.compute_ref_log_probs(self._form(model), inputs), dim=1)
            if counts:
                scores[batch] = said.to(scores.dtype)
        model.train(was_training)
        return add_logps(rows, self.accelerator.reduce(scores).T.tolist())

    def _precompute_ref_logps(self, dataset: Dataset, *args: object) -> Dataset:
        """Returns it as it is: TRL would ask in another order, before anything is told."""
        return dataset

    def _prepare_dataset(self, dataset: Dataset, *args: object, **kwargs: object) -> Dataset:
        """Returns it as it is: prompts and both answers are token ids, each answer with its one end
        token, or with none."""
        return dataset

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> ByUpdate:
        return self._order

    def _get_num_items_in_batch(
        self, batch_samples: list[Batch], device: torch.device
    ) -> torch.Tensor:
        """Returns the pairs in an update, over all devices."""
        pairs: torch.Tensor = torch.tensor(
            sum(_pairs(batch) for batch in batch_samples), device=device
        )
        if self.args.world_size > 1:
            pairs = self.accelerator.gather(pairs).sum()
        return pairs

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ModelOutput]:
        """Returns the share of these pairs in the mean over the pairs of their update."""
        heard = _Heard(self._form(model))
        loss: torch.Tensor = super().compute_loss(heard, inputs)
        rows, pairs = int(inputs["input_ids"].size(0)) // 2, _pairs(inputs)
        if pairs < rows:
            loss = loss - (rows - pairs) / rows * BLANK_LOSS[self._loss]
        if self._nll_weight:
            loss = loss + self._nll_weight * _nll(heard.output.log_probs, inputs["completion_mask"])
        if num_items_in_batch is not None:
            share = rows * self.args.world_size / float(num_items_in_batch)
            self._weigh_metrics("train", share * self.current_gradient_accumulation_steps)
            loss = loss * share
        elif not self.model.training:
            self._weigh_metrics("eval", self._held_share)
            loss = loss * self._held_share
        return (loss, heard.output) if return_outputs else loss

    def _weigh_metrics(self, mode: str, weight: float) -> None:
        """Let pairs weigh the same in what is logged, where TRL takes the mean of its batches' means."""
        for name in {logged.removeprefix("eval_") for logged in _log_names(self.beta)}:
            self._metrics[mode][name][-1] *= weight

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Writes nothing: a checkpoint is not a model to publish."""


class _Heard:
    """A model whose last output stays at hand: TRL's loss keeps the tokens' log-probabilities to
    itself, and a second forward pass would cost as much as the first."""

    output: ModelOutput

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, *args: object, **kwargs: object) -> ModelOutput:
        self.output = self.model(*args, **kwargs)
        return self.output


def _nll(log_probs: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Mean over pairs of the mean negative log-probability of a real answer's tokens."""
    mask = completion_mask[:, 1:].chunk(2)[0]
    chosen = log_probs[:, -mask.size(1) :].chunk(2)[0]
    return -((chosen * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def _pairs(batch: Batch) -> int:
    """Pairs with an answer, without the blank ones."""
    chosen, rejected = batch["completion_mask"].any(dim=1).chunk(2)
    return int((chosen | rejected).sum())


def _log_names(beta: float) -> dict[str, tuple[str, float]]:
    """TRL's names for what is logged at each update, ours, and a factor: its rewards are beta
    times what the policy gives more than the opponent."""
    return {
        "logps/chosen": ("real_logp", 1.0),
        "logps/rejected": ("generated_logp", 1.0),
        "rewards/chosen": ("real_gain", 1 / beta),
        "rewards/rejected": ("generated_gain", 1 / beta),
        "rewards/margins": ("margin", 1.0),
        "rewards/accuracies": ("accuracy", 1.0),
        "eval_rewards/accuracies": ("validation_accuracy", 1.0),
    }
