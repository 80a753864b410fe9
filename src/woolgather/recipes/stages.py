"""Stretches of steps that several methods have in common.

The one idea: a recipe is a page because what every method does (open the inputs, choose an assessor,
rate, mix, train, measure, choose, compare with controls, hand over) is written once, here. Nothing in
this module knows which recipe calls it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TypeVar

from woolgather.core.artifacts import Choice, Metrics, Model, PromptFormat
from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON, Example
from woolgather.data import builtin_heldout, builtin_seeds
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.keep import KeepRule, keep
from woolgather.ops.curate.mix import MixOptions, RowLimits, mix
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.ops.judge.assessors import Assessor, Questionnaire
from woolgather.ops.judge.audition import AuditionOptions, audition
from woolgather.ops.judge.judge import judge
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.measure.embedding_map import map_rows
from woolgather.ops.measure.evaluate import evaluate
from woolgather.ops.measure.outcomes import selects
from woolgather.ops.measure.probe_sets import (
    BOTH,
    Measured,
    choose_tier,
    count_listed,
    list_probes,
)
from woolgather.ops.measure.prompt_format import choose_format
from woolgather.ops.measure.select import select_model, should_stop
from woolgather.ops.measure.summary import summarize
from woolgather.ops.measure.summary_views import Bar, Round
from woolgather.ops.text.item_ids import item_ids
from woolgather.ops.train.merge import is_adapter, merge
from woolgather.ops.train.sft import sft
from woolgather.prompting.forms import FORMS, is_as_tuned, is_text
from woolgather.recipes.guard import Guard, guard_control
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Hiring, Judging, Measuring
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


def mix_rows(
    scope: Scope,
    rows: Sequence[Rows[Example]],
    seeds: Rows[Example] | Sequence[Example],
    base: Model,
    config: SftOptions,
    options: MixOptions = MixOptions(),  # noqa: B008 - frozen
    *,
    name: str = "mix",
) -> Rows[Example]:
    """Returns what training with `config` sees: `rows` by iteration, and the seeds as `options` say."""
    limits = RowLimits(max_length=config.max_length, max_rows=config.max_rows, choose=config.choose)
    return scope.step(name, mix, rows, seeds, base=base, limits=limits, options=options)


def map_embeddings(
    run: Scope,
    kept: Sequence[Rows[Example]],
    seeds: Rows[Example],
    base: Model,
    options: Measuring,
) -> list[Metrics]:
    """Returns what the rows that each iteration kept look like beside the seeds. After the loop, so
    that the base, which maps them all, is opened once."""
    points, mapper = options.map_points, run.engine(base)
    return [
        run.scope(f"iter{t}").step("portrait", map_rows, rows, seeds, mapper, points=points)
        for t, rows in enumerate(kept)
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


def check_measure(cfg: Common, held_out: Rows[Example]) -> None:
    """Raises ConfigError where the measure that selects the result would have nothing to measure."""
    by = cfg.select_by
    if by == "probes" and not cfg.measure.probes:
        raise ConfigError(
            "select_by=probes with measure.probes=0: nothing would be measured. Ask for probes, such as "
            "measure.probes=600, or take select_by=heldout or select_by=last."
        )
    if by != "heldout":
        return
    tasks = list(held_out)
    checked = [n for n, t in zip(item_ids(tasks), tasks, strict=True) if t.meta.get("check")]
    if len({selects(name) for name in checked}) < 2:
        raise ConfigError(
            f"select_by=heldout with {len(checked)} of {len(tasks)} held-out tasks that have a check: "
            "one half of these selects the result and the other reports on it, and one half is empty. "
            "Give more tasks a check, or take select_by=probes."
        )


class Candidates:
    """The models of a run and their measures, in the order they were made, the base first. Raises
    ConfigError, in a plan too, where nothing could be measured."""

    def __init__(
        self, run: Scope, cfg: Common, base: Model, held_out: Rows[Example], guard: Guard
    ) -> None:
        check_measure(cfg, held_out)
        self.run, self.cfg, self.guard = run, cfg, guard
        self.held_out = held_out
        """The tasks that models are measured on: all there are, or a draw of them."""
        if cfg.measure.tasks is not None and cfg.measure.tasks < len(held_out):
            self.held_out = draw_rows(run, "tasks", held_out, range(cfg.measure.tasks))
        self.models = [base]
        self.measures = [measure(run, "measure", base, self.held_out, cfg.measure)]
        self.beside: dict[str, Metrics] = {}
        """Measures that are shown and that nothing is compared with: the base as tuned models are asked,
        where it is asked otherwise itself."""
        if not is_as_tuned(base.path, base.prompt_format, base.chat_template):
            as_tuned = replace(base, prompt_format="chat")
            found = measure(run, "chat-measure", as_tuned, self.held_out, cfg.measure)
            self.beside["base, asked as a chat"] = found
        self.names: list[str] = []
        """Names of all but the base, where they are not iter0, iter1 and so on."""

    @property
    def base(self) -> Model:
        """Returns the model that all began with."""
        return self.models[0]

    @property
    def last(self) -> Model:
        """Returns the model that was added last; the base before any was."""
        return self.models[-1]

    def add(self, scope: Scope, model: Model, found: Metrics | None = None, name: str = "") -> None:
        """Adds one more, measured in `scope` unless `found` is its measure."""
        self.models.append(model)
        if found is None:
            found = measure(scope, "measure", model, self.held_out, self.cfg.measure)
        self.measures.append(found)
        self.names += [name] if name else []

    def stop(self, scope: Scope) -> bool:
        """Returns whether the last ones brought nothing better."""
        told = scope.step(
            "stop",
            should_stop,
            self.measures,
            patience=self.cfg.patience,
            by=self.cfg.select_by,
            names=self.names,
        )
        return bool(told.value)

    def choose(self) -> Choice:
        """Returns which of the models is the result: 0 is the base."""
        return self.run.step(
            "select", select_model, self.measures, by=self.cfg.select_by, names=self.names
        )

    def controls(
        self,
        scope: Scope,
        rows: Mapping[str, Rows[Example]],
        how: Tuning,
        shots: Rows[Example],
    ) -> dict[str, Metrics]:
        """Returns what the same effort buys without the method: the base shown `shots`, and models
        trained on other `rows`, each under the name of what it is."""
        found = {"few-shot base": self._measure(scope, "fewshot", self.base, shots)}
        for name, given in rows.items():
            step = "-".join(re.findall(r"\w+", name.lower()))
            given = guard_control(scope, given, self.guard, f"{step}-contamination")
            model = train(scope, step, self.base, given, how)
            found[name] = self._measure(scope, step, model)
        return found

    def _measure(
        self, scope: Scope, name: str, model: Model, shots: Rows[Example] | Sequence[Example] = ()
    ) -> Metrics:
        """What a control can do, on what reports alone: it is no candidate, and no tier is its own."""
        step, how = f"{name}-measure", self.cfg.measure.model_copy(update={"tier": None})
        return measure(scope, step, model, self.held_out, how, shots, purposes=("report",))

    def hand_over(
        self,
        chosen: Choice,
        controls: Mapping[str, Metrics],
        *,
        facts: Mapping[str, JSON],
        seeds: Rows[Example],
        raters: Sequence[Model] = (),
        rounds: Sequence[Round] = (),
        bar: Bar | None = None,
    ) -> Model:
        """Makes the summary, and returns the chosen model as a directory of its own with a card.
        `facts` stand on the card; `raters` rated training data; `rounds`, one per iteration, are drawn
        with the `bar` of good rows."""
        run, cfg, model = self.run, self.cfg, self.models[int(chosen.value)]
        run.step(
            "summary",
            summarize,
            self.measures,
            chosen=chosen,
            controls=controls,
            beside=self.beside,
            by=cfg.select_by,
            wins=self._win_rate(model, seeds, raters),
            rounds=rounds,
            bar=bar,
            names=self.names,
        )
        card = {
            "title": "Tuned on data it wrote itself",
            "base_model": cfg.base_name,
            **facts,
        }
        return run.step("result", merge, model, trainer=run.trainer(), card=card)

    def _win_rate(
        self, model: Model, seeds: Rows[Example], raters: Sequence[Model]
    ) -> Metrics | None:
        """How often the held-out answers of `model` are preferred to the base's, by a judge frozen for
        the run that is none of `raters`, the models that rated training data. None without a judge."""
        options = self.cfg.measure
        if not options.win_judge:
            return None
        scope = self.run.scope("win-rate")
        rater = scope.engine(self.run.model("win_judge", options.win_judge))
        judging = Judging()
        asked = judging.questionnaire()
        assessor = choose_assessor(scope, seeds, rater, judging, asked)
        greedy = Sampling(temperature=0.0, max_tokens=options.max_tokens)
        how = Responding(sampling=greedy, unfinished="keep")
        ours, theirs = (
            scope.step(name, respond, self.held_out, scope.engine(who), how=how)
            for name, who in (("result", model), ("base", self.base))
        )
        return scope.step(
            "compare",
            win_rate,
            ours,
            theirs,
            rater,
            assessor=assessor,
            selected_with=list(raters),
            asked=asked,
        )
