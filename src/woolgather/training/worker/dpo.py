"""Preference training: TRL's DPO, on our token ids, against the opponent that the job names.

The one idea: a wrong opponent trains in silence, so none is guessed. Its directory must have the
content that the job's digest names. With an adapter the opponent is the model below it, hence start
and opponent must be one; when all weights are trained it is a frozen copy of its own, read from the
opponent's directory. Both see the very batches the policy sees, so that at the first update the
margin is exactly 0.

The loss is TRL's ("sigmoid" is the logistic one). Ours are: that rows are taken as they come (TRL
would tokenize texts again and append an end token of its own), that pairs weigh the same whatever
number is on a device at once, and the anchor on the real answers, for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.core.storage import digest
from woolgather.training.batches import ByUpdate
from woolgather.training.job import DpoOptions
from woolgather.training.worker.setup import (
    Setup,
    carry_out,
    curves,
    lora,
    place_of,
    prepare_training,
    rows_of,
)

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
LOSSES = {"logistic": "sigmoid", "hinge": "hinge"}
"""Ours to TRL's names."""


def train(job: Mapping[str, JSON], out: Path) -> dict[str, JSON]:
    """Tunes the start model; what result.json says."""
    check_weights(job)
    config = DpoOptions.model_validate(job["config"])
    rows, held = (rows_of(job, name, COLUMNS) for name in ("train", "validation"))
    lengths = lengths_of(rows)
    setup = prepare_training(job, out, config, lengths, validated=held is not None, sequences=2)
    trainer = trainer_of(setup, rows, held)
    tokens = sum(
        2 * len(p) + len(c) + len(r) for p, c, r in zip(*(rows[n] for n in COLUMNS), strict=True)
    )
    result = carry_out(setup, trainer, tokens)
    line = curves(trainer, out, _log_names(config.beta))
    trained = [row for row in line if row.get("margin") is not None]
    return {
        **result,
        "margin_at_start": trained[0]["margin"] if trained else None,
        "margin": trained[-1]["margin"] if trained else None,
        "accuracy": trained[-1]["accuracy"] if trained else None,
    }


def check_weights(job: Mapping[str, JSON]) -> None:
    """Raises ConfigError where start or opponent are not what the job names."""
    start, reference = job["start"], job["reference"]
    if not reference:
        raise ConfigError("preference training needs a reference: the frozen opponent.")
    named = {reference["path"]: ("the opponent", reference["digest"])}
    named.setdefault(start, ("the start", job.get("start_digest") or ""))
    for path, (who, expected) in named.items():
        if expected and Path(path).is_dir() and (found := digest(Path(path))) != expected:
            raise ConfigError(
                f"{path} does not hold the weights that {who} of this training names: its content "
                f"is {found[:12]}, not {expected[:12]}. Something has changed the files; make the "
                "model again (--redo with the step that made it)."
            )
    if job["config"].get("lora") and Path(start).resolve() != Path(reference["path"]).resolve():
        raise ConfigError(
            f"with lora the opponent is the model below the adapter, {start}, and the job names "
            f"{reference['path']}. Train all weights (lora=null), or start from the opponent."
        )


def trainer_of(setup: Setup[DpoOptions], rows: Any, held: Any) -> PairTrainer:
    """Policy and opponent, ready to train."""
    config, opponent = setup.config, None
    if config.lora is None:
        path, place = place_of(setup.job["reference"]["path"])
        # In the policy's own precision: a frozen one would do with less, but would differ at once.
        opponent = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=setup.dtype, **place
        )
        opponent.requires_grad_(False)
    own = {"loss_type": [LOSSES[config.loss]], "beta": config.beta, "max_length": None}
    return PairTrainer(
        model=setup.model,
        ref_model=opponent,
        args=trl.DPOConfig(**{**setup.settings, **own, **config.args}),
        train_dataset=rows,
        eval_dataset=held,
        processing_class=setup.renderer.tokenizer,
        peft_config=lora(config, place_of(setup.job["start"])[1]),
        callbacks=[setup.told],
        rows_per_update=config.batch_size,
        nll_weight=config.nll_weight,
    )


def lengths_of(rows: Any) -> list[int]:
    """Tokens of the longer sequence of each pair."""
    return [
        len(p) + max(len(c), len(r)) for p, c, r in zip(*(rows[n] for n in COLUMNS), strict=True)
    ]


class PairTrainer(trl.DPOTrainer):  # type: ignore[misc]
    """TRL's, with our rows, order and weights. `rows_per_update` is the global batch in pairs."""

    # Our loss divides by the pairs of the whole update, so TRL must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self, *args: Any, rows_per_update: int, nll_weight: float = 0.0, **kwargs: Any
    ) -> None:
        self._rows_per_update, self._nll_weight = rows_per_update, nll_weight
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """As it is: prompts and both answers are token ids, each answer with its one end token,
        or with none."""
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return ByUpdate(lengths_of(rows), self._rows_per_update, self.args.seed)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Pairs in an update, over all devices."""
        pairs = torch.tensor(sum(_pairs(batch) for batch in batch_samples), device=device)
        return self.accelerator.gather(pairs).sum() if self.args.world_size > 1 else pairs

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the pairs of an update, of which these are some."""
        heard = _Heard(model)
        loss = super().compute_loss(heard, inputs)
        if self._nll_weight:
            loss = loss + self._nll_weight * _nll(heard.output.log_probs, inputs["completion_mask"])
        if num_items_in_batch is not None:
            loss = loss * _pairs(inputs) * self.args.world_size / num_items_in_batch
        return (loss, heard.output) if return_outputs else loss

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a checkpoint is not a model to publish."""


class _Heard:
    """A model whose last output stays at hand: TRL's loss keeps the tokens' log-probabilities to
    itself, and a second forward pass would cost as much as the first."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self.model(*args, **kwargs)
        return self.output


def _nll(log_probs: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Mean over pairs of the mean negative log-probability of a real answer's tokens."""
    mask = completion_mask[:, 1:].chunk(2)[0]
    chosen = log_probs[:, -mask.size(1) :].chunk(2)[0]
    return -((chosen * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def _pairs(batch: Mapping[str, Any]) -> int:
    return int(batch["input_ids"].size(0)) // 2


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
