"""Stretches of steps that several methods have in common.

The one idea: a recipe is a page because what every method does (open the inputs, hire an assessor,
rate, mix, train, measure, choose, compare with controls, hand over) is written once, here. Nothing in
this module knows which recipe calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace

from woolgather.core.artifacts import Choice, Metrics, Model
from woolgather.core.rows import JSON, Example
from woolgather.data import builtin_heldout, builtin_seeds
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.keep import KeepRule, keep
from woolgather.ops.curate.mix import MixOptions, mix
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.judge.assessors import Assessor
from woolgather.ops.judge.audition import audition
from woolgather.ops.judge.judge import judge
from woolgather.ops.judge.rubrics import Rubric, rubrics_of
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.measure.embedding_map import portrait
from woolgather.ops.measure.evaluate import evaluate
from woolgather.ops.measure.prompt_format import choose_format
from woolgather.ops.measure.select import select_model, should_stop
from woolgather.ops.measure.summary import summarize
from woolgather.ops.train.merge import merge
from woolgather.ops.train.sft import sft
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Hiring, Judging, Measuring
from woolgather.training.job import SftOptions


def open_inputs(run: Scope, cfg: Common) -> tuple[Rows[Example], Rows[Example], Model]:
    """Seeds, held-out tasks, and the base with the format it is prompted in."""
    seeds = run.rows("seeds", cfg.seeds or builtin_seeds())
    held_out = run.rows("held_out", cfg.held_out or builtin_heldout())
    base = run.model("base", cfg.base)
    raw, chat = (replace(base, prompt_format=form) for form in ("raw", "chat"))
    form = cfg.base_format
    if form == "auto":
        chosen = run.step("format", choose_format, seeds, run.engine(raw), run.engine(chat))
        form = "raw" if chosen.value == "raw" else "chat"
    return seeds, held_out, raw if form == "raw" else chat


def answer_tasks(
    scope: Scope,
    tasks: Rows[Example],
    model: Model,
    how: Responding,
    shots: Rows[Example],
    name: str = "respond",
) -> Rows[Example]:
    """Returns what `model` answers; `shots` are for one that is prompted as raw text."""
    shown = shots if model.prompt_format == "raw" else ()
    return scope.step(name, respond, tasks, scope.engine(model), how=how, shots=shown)


def hire(
    scope: Scope, seeds: Rows[Example], rater: Engine, judging: Hiring, rubrics: Sequence[Rubric]
) -> Assessor | Choice:
    """Who rates: found by audition, named (and tried alone, and used whatever comes out), or nobody."""
    who = judging.assessor
    if who == "none":
        return Assessor(kind="none")
    return scope.step(
        "audition",
        audition,
        seeds,
        rater,
        rubrics=rubrics,
        candidates=judging.candidates if who == "audition" else [who],
        on_unfit=judging.on_unfit if who == "audition" else "keep_best",
        pairs=judging.pairs,
        probes=judging.probes,
        sampling=judging.sampling,
    )


def rate(
    scope: Scope,
    rows: Rows[Example],
    rater: Engine,
    who: Assessor | Choice,
    judging: Hiring,
    rubrics: Sequence[Rubric],
) -> Rows[Example]:
    """The rows with their verdicts."""
    return scope.step(
        "assess",
        judge,
        rows,
        rater,
        assessor=who,
        rubrics=rubrics,
        sampling=judging.sampling,
        floor=judging.floor,
    )


def best(
    scope: Scope, rated: Rows[Example], rule: KeepRule, who: Assessor | Choice, rater: Engine
) -> Rows[Example]:
    """The rated rows that are good enough."""
    asked = rater if rule.asks_model else None
    return scope.step("keep", keep, rated, rule=rule, assessor=who, engine=asked)


def draw_rows(scope: Scope, name: str, rows: Rows[Example], like: Sized) -> Rows[Example]:
    """As many of `rows` at random as `like` has."""
    return scope.step(name, keep, rows, rule=KeepRule(by="random"), limit=max(1, len(like)))


def mix_rows(
    scope: Scope,
    rows: Rows[Example] | Sequence[Example],
    seeds: Rows[Example] | Sequence[Example],
    base: Model,
    config: SftOptions,
    options: MixOptions = MixOptions(),  # noqa: B008 - frozen
    *,
    name: str = "mix",
    history: Sequence[Rows[Example]] = (),
) -> Rows[Example]:
    """What training sees: these rows, those of `history`, and the seeds as `options` say."""
    return scope.step(
        name,
        mix,
        rows,
        seeds,
        base=base,
        history=list(history),
        options=options,
        max_length=config.max_length,
        max_rows=config.max_rows,
    )


def map_embeddings(
    run: Scope,
    kept: Sequence[Rows[Example]],
    seeds: Rows[Example],
    base: Model,
    options: Measuring,
) -> list[Metrics]:
    """What the rows that each iteration kept look like beside the seeds. After the loop, so that the
    base, which maps them all, is opened once."""
    return [
        run.scope(f"iter{t}").step(
            "portrait", portrait, rows, seeds, run.engine(base), points=options.map_points
        )
        for t, rows in enumerate(kept)
    ]


def measure(
    scope: Scope,
    name: str,
    model: Model,
    held_out: Rows[Example],
    options: Measuring,
    shots: Rows[Example] | Sequence[Example] = (),
) -> Metrics:
    """What a model can do, on probes of both seeds and on the held-out tasks; `shots` are shown before
    each."""
    m = options
    return scope.step(
        name,
        evaluate,
        held_out,
        scope.engine(model),
        probes=m.probes,
        probe_seeds=(m.select_seed, m.report_seed),
        max_tokens=m.max_tokens,
        likelihood=m.likelihood,
        shots=shots,
    )


def train(
    scope: Scope,
    name: str,
    start: Model,
    rows: Rows[Example],
    config: SftOptions,
    scale: float = 1.0,
    system: str = "",
) -> Model:
    """Tuned and merged: whatever comes after starts from plain weights. `system` are lines that the
    model is asked with from now on."""
    tuned = scope.step(name, sft, rows, start=start, config=config, trainer=scope.trainer())
    if config.lora is None and not system:
        return tuned
    return scope.step(
        f"{name}-merge", merge, tuned, trainer=scope.trainer(), scale=scale, system=system
    )


def win_rate_of(
    run: Scope,
    model: Model,
    base: Model,
    seeds: Rows[Example],
    held_out: Rows[Example],
    options: Measuring,
    raters: Sequence[Model],
) -> Metrics | None:
    """How often the held-out answers of `model` are preferred to the base's, by a judge frozen for
    the run that is none of `raters`, the models that rated training data. None without a judge."""
    if not options.win_judge:
        return None
    scope = run.scope("win-rate")
    rater = scope.engine(run.model("win_judge", options.win_judge))
    rubrics, judging = rubrics_of("full"), Judging()
    assessor = hire(scope, seeds, rater, judging, rubrics)
    greedy = Sampling(temperature=0.0, max_tokens=options.max_tokens)
    how = Responding(sampling=greedy, unfinished="keep")
    ours, theirs = (
        scope.step(name, respond, held_out, scope.engine(who), how=how)
        for name, who in (("result", model), ("base", base))
    )
    return scope.step(
        "compare",
        win_rate,
        ours,
        theirs,
        rater,
        assessor=assessor,
        selected_with=list(raters),
        rubrics=rubrics,
        sampling=judging.sampling,
    )


class Candidates:
    """The models of a run and their measures, in the order they were made, the base first."""

    def __init__(self, run: Scope, cfg: Common, base: Model, held_out: Rows[Example]) -> None:
        self.run, self.cfg = run, cfg
        self.held_out = held_out
        """The tasks that models are measured on: all there are, or a draw of them."""
        if cfg.measure.tasks is not None and cfg.measure.tasks < len(held_out):
            self.held_out = draw_rows(run, "tasks", held_out, range(cfg.measure.tasks))
        self.models = [base]
        self.measures = [measure(run, "measure", base, self.held_out, cfg.measure)]
        self.names: list[str] = []
        """Names of all but the base, where they are not iter0, iter1 and so on."""

    @property
    def base(self) -> Model:
        return self.models[0]

    @property
    def last(self) -> Model:
        return self.models[-1]

    def add(self, scope: Scope, model: Model, found: Metrics | None = None, name: str = "") -> None:
        """One more, measured in `scope` unless `found` is its measure."""
        self.models.append(model)
        if found is None:
            found = measure(scope, "measure", model, self.held_out, self.cfg.measure)
        self.measures.append(found)
        self.names += [name] if name else []

    def stop(self, scope: Scope) -> bool:
        """Whether the last ones brought nothing better."""
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
        """The result: 0 is the base."""
        return self.run.step(
            "select", select_model, self.measures, by=self.cfg.select_by, names=self.names
        )

    def controls(
        self,
        scope: Scope,
        rows: Mapping[str, Rows[Example]],
        config: SftOptions,
        shots: Rows[Example],
        *,
        scale: float = 1.0,
        system: str = "",
    ) -> dict[str, Metrics]:
        """What the same effort buys without the method: the base shown `shots`, and models trained
        on other `rows`, each under the name of what it is; `scale` and `system` as for `train`."""
        found = {"few-shot base": self._measure(scope, "fewshot", self.base, shots)}
        for name, given in rows.items():
            step = name.lower().replace(" ", "-")
            model = train(scope, step, self.base, given, config, scale, system)
            found[name] = self._measure(scope, step, model)
        return found

    def _measure(
        self, scope: Scope, name: str, model: Model, shots: Rows[Example] | Sequence[Example] = ()
    ) -> Metrics:
        return measure(scope, f"{name}-measure", model, self.held_out, self.cfg.measure, shots)

    def hand_over(
        self,
        chosen: Choice,
        controls: Mapping[str, Metrics],
        *,
        method: str,
        facts: Mapping[str, JSON],
        seeds: Rows[Example],
        raters: Sequence[Model] = (),
        rated: Sequence[Rows[Example]] = (),
        kept: Sequence[Rows[Example]] = (),
        portraits: Sequence[Metrics] = (),
    ) -> Model:
        """The summary, and the chosen model as a directory of its own with a card. `raters` rated
        training data; `rated`, `kept` and `portraits` are drawn, one per iteration."""
        run, cfg, model = self.run, self.cfg, self.models[int(chosen.value)]
        run.step(
            "summary",
            summarize,
            self.measures,
            chosen=chosen,
            controls=controls,
            by=cfg.select_by,
            wins=win_rate_of(run, model, self.base, seeds, self.held_out, cfg.measure, raters),
            rated=rated,
            kept=kept,
            portraits=portraits,
            names=self.names,
        )
        card = {
            "title": "Tuned on data it wrote itself",
            "method": method,
            "base_model": cfg.base_name,
            **facts,
        }
        return run.step("result", merge, model, trainer=run.trainer(), card=card)
