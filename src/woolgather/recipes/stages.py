"""Stretches of steps that several methods have in common.

The one idea: a recipe is a page because what every method does (open the inputs, choose an assessor,
rate, mix, train, measure, choose, compare with controls, hand over) is written once, here. Nothing in
this module knows which recipe calls it.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TypeVar

from woolgather.core.artifacts import Choice, Metrics, Model, PromptFormat
from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.data import builtin_heldout, builtin_seeds
from woolgather.engines.base import Engine
from woolgather.ops.curate.keep import KeepRule, keep
from woolgather.ops.curate.mix import MixOptions, Replaying, RowLimits, mix, shuffle
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.ops.judge.assessors import Assessor, Questionnaire
from woolgather.ops.judge.audition import AuditionOptions, audition
from woolgather.ops.judge.judge import judge
from woolgather.ops.measure.embedding_map import FEWEST, MapOptions, fit_axes, map_rows, place_rows
from woolgather.ops.measure.evaluate import evaluate
from woolgather.ops.measure.probe_sets import (
    BOTH,
    Measured,
    choose_tier,
    count_listed,
    list_probes,
)
from woolgather.ops.measure.prompt_format import choose_format
from woolgather.ops.train.merge import is_adapter, merge
from woolgather.ops.train.sft import sft
from woolgather.prompting.forms import FORMS, is_text
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Hiring, Measuring
from woolgather.training.job import SftOptions

CommonT = TypeVar("CommonT", bound=Common)


def open_inputs(run: Scope, cfg: Common) -> tuple[Rows[Example], Rows[Example], Model]:
    """Returns seeds, held-out tasks, and the base with the form it is asked in."""
    seeds = run.rows("seeds", cfg.seeds or builtin_seeds())
    held_out = run.rows("held_out", cfg.held_out or builtin_heldout())
    base = run.model("base", cfg.base, chat_template=cfg.chat_template.text)
    if is_adapter(base):  # training starts from full weights
        base = run.step("base-merge", merge, base, trainer=run.trainer())
    return seeds, held_out, replace(base, prompt_format=form_of(run, cfg, base, seeds))


def form_of(run: Scope, cfg: Common, base: Model, seeds: Rows[Example]) -> PromptFormat:
    """Returns the form in which the base is asked: the one that is named, or what a step chooses."""
    if cfg.base_format != "auto":
        return cfg.base_format
    text, chat = (run.engine(replace(base, prompt_format=form)) for form in ("raw", "chat"))
    chosen = run.step("format", choose_format, seeds, text, chat)
    return next(form for form in FORMS if form == chosen.value)


def settle_tier(run: Scope, cfg: CommonT, seeds: Rows[Example], base: Model) -> CommonT:
    """Returns the settings with the tier of the probes that select: as named, or as the base shows on
    probes of its own before anything is trained. The same settings where no base is asked for it."""
    how = cfg.measure
    if how.tier or not how.calibration or not how.probes:
        return cfg
    shots = run.step("tier-shots", fixed_shots, seeds)
    chosen = run.step(
        "tier",
        choose_tier,
        shots,
        run.engine(base),
        probes=how.calibration,
        max_tokens=how.max_tokens,
    )
    settled = how.model_copy(update={"tier": chosen.value})
    return cfg.model_copy(update={"measure": settled})


def list_measured(
    run: Scope, cfg: Common, held_out: Rows[Example]
) -> list[Rows[Example] | Sequence[Example]]:
    """Returns all that models are measured on, which no training row may be like: the held-out tasks,
    and the probes that select and that report."""
    how = cfg.measure
    if not how.probes:
        return [held_out]
    probes = run.step(
        "probes", list_probes, reporting=count_listed(how.probes), probe_seed=how.probe_seed
    )
    return [held_out, probes]


def answer_tasks(
    scope: Scope,
    tasks: Rows[Example],
    model: Model,
    how: Responding,
    shots: Rows[Example],
    name: str = "respond",
) -> Rows[Example]:
    """Returns what `model` answers; `shots` are for one that completes text."""
    shown = shots if is_text(model.prompt_format) else ()
    return scope.step(name, respond, tasks, scope.engine(model), how=how, shots=shown)


def open_judge(run: Scope, name: str, base: Model) -> Model | None:
    """Returns the model that rates in every iteration, the base or another one; None where `name` is
    "self" and each iteration's own model does."""
    if name == "self":
        return None
    return base if name == "base" else run.model("judge_model", name)


def choose_assessor(
    scope: Scope, seeds: Rows[Example], rater: Engine, judging: Hiring, asked: Questionnaire
) -> Assessor | Choice:
    """Returns the choice of an audition, among all candidates or with the one that is named (which is
    then used whatever comes out); the assessor that rates nothing where that is named."""
    named = judging.assessor
    if named == "none":
        return Assessor(kind="none")
    how: AuditionOptions = judging
    if named != "audition":
        how = how.model_copy(update={"candidates": (named,), "on_unfit": "keep_best"})
    return scope.step("audition", audition, seeds, rater, how=how, asked=asked)


def rate(
    scope: Scope,
    rows: Rows[Example],
    rater: Engine,
    who: Assessor | Choice,
    judging: Hiring,
    asked: Questionnaire,
) -> Rows[Example]:
    """Returns the rows with their verdicts."""
    return scope.step("assess", judge, rows, rater, assessor=who, asked=asked, floor=judging.floor)


def best(
    scope: Scope, rated: Rows[Example], rule: KeepRule, who: Assessor | Choice, rater: Engine
) -> Rows[Example]:
    """Returns the rated rows that are good enough."""
    asked = rater if rule.asks_model else None
    return scope.step("keep", keep, rated, rule=rule, assessor=who, engine=asked)


def draw_rows(scope: Scope, name: str, rows: Rows[Example], like: Sized) -> Rows[Example]:
    """Returns as many of `rows` at random as `like` has."""
    return scope.step(name, keep, rows, rule=KeepRule(by="random"), limit=max(1, len(like)))


@dataclass(frozen=True)
class Beside:
    """What stands beside the rows just kept in a training."""

    seeds: Rows[Example] | Sequence[Example]
    replay: Rows[Example] | Sequence[Example] = ()
    """Rows of the user's own, in the order in which every training draws from them."""
    options: MixOptions = field(default_factory=MixOptions)

    @property
    def alone(self) -> Beside:
        """Returns what a control without a row of the machine's trains on: the seeds once, whatever the
        method does with them, and the same share of replay."""
        return replace(self, options=replay_alone(self.options))


def replay_alone(options: Replaying) -> MixOptions:
    """Returns options that say no more than `options` do of the replay."""
    return MixOptions(replay=options.replay, replay_share=options.replay_share)


def open_replay(run: Scope, options: Replaying) -> Rows[Example] | Sequence[Example]:
    """Returns the rows that are replayed, in an order that all trainings of the run share, so that they
    draw the same ones; none where no file is named."""
    if not options.replay:
        return ()
    return run.step("replay", shuffle, run.rows("replay", options.replay, part="replay"))


def mix_rows(
    scope: Scope,
    rows: Sequence[Rows[Example]],
    beside: Beside,
    base: Model,
    config: SftOptions,
    *,
    name: str = "mix",
) -> Rows[Example]:
    """Returns what training with `config` sees: `rows` by iteration, and what stands beside them."""
    limits = RowLimits(max_length=config.max_length, max_rows=config.max_rows, choose=config.choose)
    return scope.step(
        name,
        mix,
        rows,
        beside.seeds,
        beside.replay,
        base=base,
        limits=limits,
        options=beside.options,
    )


def open_reference(run: Scope, how: MapOptions) -> Rows[Example] | None:
    """Returns the rows that the axes of all maps are fitted on; None where none are given. Raises
    InputError for what cannot be read, and for too few rows."""
    if not how.reference:
        return None
    rows = run.sample("embedding_map.reference", how.reference, how.sample)
    if len(rows) < FEWEST:
        raise InputError(
            f"embedding_map.reference holds {len(rows)} rows, and axes are fitted on at least {FEWEST}: "
            "some hundreds or more show where rows lie."
        )
    return rows


def map_embeddings(
    run: Scope,
    kept: Sequence[Rows[Example]],
    seeds: Rows[Example],
    base: Model,
    reference: Rows[Example] | None,
    how: MapOptions,
) -> list[Metrics]:
    """Returns what the rows that each iteration kept look like beside the reference, on axes fitted on
    it; without one, beside the seeds. After the loop, so that the base, which maps them all, is opened
    once."""
    mapper, points = run.engine(base), how.points
    scopes = [(run.scope(f"iter{t}"), rows) for t, rows in enumerate(kept)]
    if reference is None:
        return [
            it.step("portrait", map_rows, rows, seeds, mapper, points=points) for it, rows in scopes
        ]
    axes = run.step("map-axes", fit_axes, reference, mapper, points=points)
    return [
        it.step("portrait", place_rows, rows, reference, mapper, axes=axes, points=points)
        for it, rows in scopes
    ]


def measure(
    scope: Scope,
    name: str,
    model: Model,
    held_out: Rows[Example],
    options: Measuring,
    shots: Rows[Example] | Sequence[Example] = (),
    purposes: Sequence[Measured] = BOTH,
) -> Metrics:
    """Returns what a model can do, on the held-out tasks and on the probes that select and report;
    `shots` are shown before each."""
    return scope.step(
        name,
        evaluate,
        held_out,
        scope.engine(model),
        how=options,
        purposes=purposes,
        shots=shots,
    )


@dataclass(frozen=True)
class Tuning:
    """How a model is tuned, and merged into plain weights."""

    config: SftOptions
    scale: float = 1.0
    """How much of a trained adapter is merged: 0 is the model it started from, 1 all of it."""
    system: str = ""
    """Lines that the model is asked with from now on."""


def train(scope: Scope, name: str, start: Model, rows: Rows[Example], how: Tuning) -> Model:
    """Returns the tuned model in plain weights, which whatever comes after starts from."""
    trainer, config = scope.trainer(), how.config
    tuned = scope.step(name, sft, rows, start=start, config=config, trainer=trainer)
    if config.lora is None and not how.system:
        return tuned
    return scope.step(
        f"{name}-merge", merge, tuned, trainer=trainer, scale=how.scale, system=how.system
    )
