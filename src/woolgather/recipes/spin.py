"""SPIN (arXiv 2401.01335): a tuned model learns to tell its own answers from the real ones, and so
to give answers that cannot be told apart; each iteration plays against the one before.

Defaults are ours; presets `paper` and `code` are the paper's and its scripts'. Departures in all: one
template for generating and training; exactly one end token, trained on, and none where an answer was
cut; empty and identical pairs are set aside; no test split is needed. In `default` only: unfinished
answers are set aside; real answers have the budget of generated ones; an adapter instead of all
weights, at a rate that suits it; one epoch; it stops after an iteration that is no better; a control is
tuned on the real answers alone; the result is the best candidate, the base included. docs/spin.md maps
every parameter.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.errors import ConfigError
from woolgather.core.options import Options
from woolgather.core.rows import Example, PreferencePair
from woolgather.engines.base import Sampling
from woolgather.ops.curate.pair import PairOptions, TokenLimits, pair, real_rows, real_sides
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.ops.measure.select import best_of
from woolgather.ops.train.dpo import dpo
from woolgather.ops.train.epoch import take_epoch
from woolgather.ops.train.merge import merge
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.config import at
from woolgather.recipes.guard import count_rows, guard_control, open_guard
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common
from woolgather.recipes.stages import (
    Tuning,
    list_measured,
    measure,
    open_inputs,
    settle_tier,
)
from woolgather.training.job import DpoOptions, PreferenceOptions, SftOptions

METHOD = "SPIN (arXiv 2401.01335)"
Numbers = float | tuple[float, ...]


class Generating(Options):
    """The opponent's answers."""

    sampling: Sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=512)


class Playing(PreferenceOptions):
    """Training the policy; a list has a number for each iteration."""

    learning_rate: Numbers = 5e-6
    beta: Numbers = 0.1
    """How much a difference of log-probabilities counts: higher stays nearer to the opponent."""

    def at(self, t: int) -> DpoOptions:
        """Returns the training as iteration `t` has it."""
        now = {"learning_rate": at(self.learning_rate, t), "beta": at(self.beta, t)}
        return DpoOptions.model_validate(dict(self) | now)


class Config(Common):
    """Settings of SPIN."""

    base_format: Literal["chat"] = "chat"
    """SPIN starts from a model that was tuned to answer: it is asked, and trained, as a chat."""
    iterations: int = Field(default=3, ge=1)
    start_iteration: int = Field(default=0, ge=0)
    """The base is the model before this iteration. Pairs of earlier ones that the window reaches
    can be given: --given iter0/pairs=FILE."""
    window: int | tuple[int, ...] = 2
    """An iteration trains on the pairs of this many iterations, its own included."""
    respond: Generating = Generating()
    pairs: PairOptions = PairOptions()
    dpo: Playing = Playing()
    sft: SftOptions = SftOptions(warmup_updates=0.1, validation=0.0)
    """The control: tuned on the real answers, with as many updates."""
    shots: int = Field(default=5, ge=0)
    """Answered tasks that the few-shot base of the controls is shown."""
    patience: int | None = Field(default=1, ge=1)
    """Stop after this many iterations without a better one; None never stops early."""

    @model_validator(mode="after")
    def _whole(self) -> Config:
        lists = {"dpo.learning_rate": self.dpo.learning_rate, "dpo.beta": self.dpo.beta}
        for name, value in {**lists, "window": self.window}.items():
            if isinstance(value, tuple) and len(value) < self.iterations:
                raise ConfigError(
                    f"{name} has {len(value)} values for {self.iterations} iterations. Give one for "
                    f"each, or a single number for all: {name}=[...]."
                )
            least = min(value) if isinstance(value, tuple) else value
            if least <= 0:
                raise ConfigError(f"{name} holds {least:g}: give numbers above 0.")
        if self.start_iteration >= self.iterations:
            raise ConfigError(
                f"start_iteration={self.start_iteration} leaves nothing of iterations="
                f"{self.iterations}, which counts from 0: give a larger number of iterations."
            )
        return self


def recipe(run: Scope, cfg: Config) -> Model:
    """Returns the result of the loop; see the module's docstring. `run` is a Run or a Scope."""
    seeds, held_out, base = open_inputs(run, cfg)
    cfg = settle_tier(run, cfg, seeds, base)
    longest = cfg.dpo.max_length
    limits = TokenLimits(
        answer=cfg.respond.sampling.max_tokens, row=longest, prompt=cfg.dpo.max_prompt_length
    )
    real = run.step("real", real_rows, seeds, start=base, limits=limits, options=cfg.pairs)
    guard = open_guard(run, cfg, list_measured(run, cfg, held_out))
    real = guard_control(run, real, guard, "contamination")

    found = Candidates(run, cfg, base, held_out, guard)
    pairs: dict[int, Rows[PreferencePair]] = {}
    windows: list[list[Rows[PreferencePair]]] = []
    for t in range(cfg.iterations):
        it, opponent, earlier = run.scope(f"iter{t}"), found.last, t < cfg.start_iteration
        if earlier and not it.given("pairs"):
            continue
        answers = answer_prompts(it, real, opponent, cfg)
        pairs[t] = it.step(
            "pairs", pair, real, answers, start=base, max_length=longest, options=cfg.pairs
        )
        if earlier:
            continue
        count_rows(it, pairs[t], guard)
        first = t - at(cfg.window, t) + 1
        windows.append([rows for i, rows in pairs.items() if i >= first])
        name = f"iter{t}" if cfg.start_iteration else ""
        policy, measured = play(it, opponent, windows[-1], cfg.dpo.at(t), found)
        found.add(it, policy, measured, name)
        if found.stop(it):
            break

    chosen = found.choose()
    controls: dict[str, Metrics] = {}
    if cfg.controls:
        used = windows[: int(chosen.value) or len(windows)]
        controls = control(found, run.scope("control"), used, real, cfg)
    facts = {"method": METHOD, "real answers": len(real), "iterations": len(windows)}
    return found.hand_over(chosen, controls, facts=facts, seeds=seeds)


def answer_prompts(
    scope: Scope, real: Rows[Example], opponent: Model, cfg: Config
) -> Rows[Example]:
    """What the opponent says to the real answers' prompts; `pair` decides about unfinished ones."""
    how = Responding(sampling=cfg.respond.sampling, unfinished="keep")
    return scope.step("respond", respond, real, scope.engine(opponent), how=how)


def play(
    scope: Scope,
    opponent: Model,
    window: list[Rows[PreferencePair]],
    config: DpoOptions,
    found: Candidates,
) -> tuple[Model, Metrics | None]:
    """Returns the policy, which starts as the opponent, learns to be told apart from it, and is merged:
    the next opponent, the next start and what generates are then one and the same. Where each epoch is
    kept it is the best of them and comes with its measure, taken as that of the others in `found`."""
    tuned = scope.step(
        "train",
        dpo,
        window,
        trainer=scope.trainer(),
        start=opponent,
        reference=opponent,
        config=config,
    )
    last = merge_policy(scope, "train-merge", tuned, config)
    if not config.earlier_epochs:
        return last, None
    models = [last]
    for epoch in reversed(config.earlier_epochs):
        taken = scope.step(f"epoch{epoch}", take_epoch, tuned, epoch=epoch)
        models.insert(0, merge_policy(scope, f"epoch{epoch}-merge", taken, config))
    measures = [
        measure(scope, f"epoch{i}-measure", model, found.held_out, found.cfg.measure)
        for i, model in enumerate(models, start=1)
    ]
    chosen = scope.step("epoch", best_of, measures, by=found.cfg.select_by)
    return models[int(chosen.value)], measures[int(chosen.value)]


def merge_policy(scope: Scope, name: str, tuned: Model, config: DpoOptions) -> Model:
    """Returns a policy in plain weights."""
    if config.lora is None:
        return tuned
    return scope.step(name, merge, tuned, trainer=scope.trainer())


def control(
    found: Candidates,
    scope: Scope,
    windows: list[list[Rows[PreferencePair]]],
    real: Rows[Example],
    cfg: Config,
) -> dict[str, Metrics]:
    """Returns measures of what stands beside the result: SFT on the real answers, as many updates."""
    rows = scope.step("real", real_sides, [window[-1] for window in windows])
    updates = sum(
        cfg.dpo.at(cfg.start_iteration + i).updates(sum(map(len, window)))
        for i, window in enumerate(windows)
    )
    shots = scope.step("shots", fixed_shots, real, k=cfg.shots)
    alike = cfg.sft.model_copy(update={"max_updates": updates})
    return found.controls(scope, {"SFT on the real answers": rows}, Tuning(alike), shots)
