"""Stretches of steps that several methods have in common.

The one idea: a recipe is a page because what every method does (open the inputs, hire an assessor,
rate, mix, train, measure, choose, compare with controls, hand over) is written once, here. Nothing in
this module knows which recipe calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any

from woolgather.artifacts import Choice, Model
from woolgather.engines.base import Sampling
from woolgather.formats import builtin_heldout, builtin_seeds
from woolgather.ops.assessors import Assessor
from woolgather.ops.audition import audition
from woolgather.ops.evaluate import evaluate
from woolgather.ops.judge import judge
from woolgather.ops.keep import KeepRule, keep
from woolgather.ops.merge import merge
from woolgather.ops.mix import MixOptions, mix
from woolgather.ops.portrait import portrait
from woolgather.ops.prompt_format import choose_format
from woolgather.ops.respond import respond
from woolgather.ops.rubrics import rubrics_of
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.summary import summarize
from woolgather.ops.train import sft
from woolgather.ops.win_rate import win_rate
from woolgather.recipes.settings import Common, Hiring, Judging, Measuring
from woolgather.training.job import SftOptions


def opened(run: Any, cfg: Common) -> tuple[Any, Any, Model]:
    """Seeds, held-out tasks, and the base with the format it is prompted in."""
    seeds = run.rows("seeds", cfg.seeds or builtin_seeds())
    held_out = run.rows("held_out", cfg.held_out or builtin_heldout())
    base = run.model("base", cfg.base)
    raw, chat = (replace(base, prompt_format=form) for form in ("raw", "chat"))
    form = cfg.base_format
    if form == "auto":
        form = run.step("format", choose_format, seeds, run.engine(raw), run.engine(chat)).value
    return seeds, held_out, raw if form == "raw" else chat


def hire(scope: Any, seeds: Any, rater: Any, judging: Hiring, rubrics: Any) -> Assessor:
    """Who rates: found by audition, named, or nobody."""
    if judging.assessor == "none":
        return Assessor(kind="none")
    return scope.step("audition", audition, seeds, rater, rubrics=rubrics, **judging.audition)  # type: ignore[no-any-return]


def rate(scope: Any, rows: Any, rater: Any, who: Assessor, judging: Hiring, rubrics: Any) -> Any:
    """The rows with their verdicts."""
    how = {"sampling": judging.sampling, "floor": judging.floor}
    return scope.step("assess", judge, rows, rater, assessor=who, rubrics=rubrics, **how)


def best(scope: Any, rated: Any, rule: KeepRule, who: Assessor, rater: Any) -> Any:
    """The rated rows that are good enough."""
    asked = rater if rule.asks_model else None
    return scope.step("keep", keep, rated, rule=rule, assessor=who, engine=asked)


def drawn(scope: Any, name: str, rows: Any, like: Sized) -> Any:
    """As many of `rows` at random as `like` has."""
    return scope.step(name, keep, rows, rule=KeepRule(by="random"), limit=max(1, len(like)))


def mixed(
    scope: Any,
    rows: Any,
    seeds: Any,
    base: Model,
    config: SftOptions,
    options: MixOptions = MixOptions(),  # noqa: B008 - frozen
    *,
    name: str = "mix",
    history: Sequence[Any] = (),
) -> Any:
    """What training sees: these rows, those of `history`, and the seeds as `options` say."""
    limits = {"max_length": config.max_length, "max_rows": config.max_rows}
    how = {"base": base, "history": list(history), "options": options, **limits}
    return scope.step(name, mix, rows, seeds, **how)


def portrayed(
    run: Any, kept: Sequence[Any], seeds: Any, base: Model, options: Measuring
) -> list[Any]:
    """What the rows that each iteration kept look like beside the seeds. After the loop, so that the
    base, which maps them all, is opened once."""
    return [
        run.scope(f"iter{t}").step(
            "portrait", portrait, rows, seeds, run.engine(base), points=options.map_points
        )
        for t, rows in enumerate(kept)
    ]


def measure(
    scope: Any, name: str, model: Model, held_out: Any, options: Measuring, **more: Any
) -> Any:
    """What a model can do, on probes of both seeds and on the held-out tasks."""
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
        **more,
    )


def train(
    scope: Any,
    name: str,
    start: Model,
    rows: Any,
    config: SftOptions,
    scale: float = 1.0,
    system: str = "",
) -> Model:
    """Tuned and merged: whatever comes after starts from plain weights. `system` are lines that the
    model is asked with from now on."""
    tuned = scope.step(name, sft, rows, start=start, config=config, trainer=scope.trainer())
    if config.lora is None and not system:
        return tuned  # type: ignore[no-any-return]
    return scope.step(  # type: ignore[no-any-return]
        f"{name}-merge", merge, tuned, trainer=scope.trainer(), scale=scale, system=system
    )


def win_rate_of(
    run: Any, model: Model, base: Model, seeds: Any, held_out: Any, options: Measuring, raters: Any
) -> Any:
    """How often the held-out answers of `model` are preferred to the base's, by a judge frozen for
    the run that is none of `raters`, the models that rated training data. None without a judge."""
    if not options.win_judge:
        return None
    scope = run.scope("win-rate")
    rater = scope.engine(run.model("win_judge", options.win_judge))
    rubrics, judging = rubrics_of("full"), Judging()
    assessor = hire(scope, seeds, rater, judging, rubrics)
    greedy = Sampling(temperature=0.0, max_tokens=options.max_tokens)
    answers = [
        scope.step(name, respond, held_out, scope.engine(who), sampling=greedy, unfinished="keep")
        for name, who in (("result", model), ("base", base))
    ]
    return scope.step(
        "compare",
        win_rate,
        *answers,
        rater,
        assessor=assessor,
        selected_with=list(raters),
        rubrics=rubrics,
        sampling=judging.sampling,
    )


class Candidates:
    """The models of a run and their measures, in the order they were made, the base first."""

    def __init__(self, run: Any, cfg: Common, base: Model, held_out: Any) -> None:
        self.run, self.cfg = run, cfg
        self.held_out = held_out
        """The tasks that models are measured on: all there are, or a draw of them."""
        if cfg.measure.tasks is not None and cfg.measure.tasks < len(held_out):
            self.held_out = drawn(run, "tasks", held_out, range(cfg.measure.tasks))
        self.models = [base]
        self.measures = [measure(run, "measure", base, self.held_out, cfg.measure)]
        self.names: list[str] = []
        """Of all but the base, where they are not iter0, iter1 and so on."""

    @property
    def base(self) -> Model:
        return self.models[0]

    @property
    def last(self) -> Model:
        return self.models[-1]

    def add(self, scope: Any, model: Model, found: Any = None, name: str = "") -> None:
        """One more, measured in `scope` unless `found` is its measure."""
        self.models.append(model)
        if found is None:
            found = measure(scope, "measure", model, self.held_out, self.cfg.measure)
        self.measures.append(found)
        self.names += [name] if name else []

    def stop(self, scope: Any) -> bool:
        """Whether the last ones brought nothing better."""
        by = {"patience": self.cfg.patience, "by": self.cfg.select_by, "names": self.names}
        return bool(scope.step("stop", should_stop, self.measures, **by).value)

    def choose(self) -> Choice:
        """The result: 0 is the base."""
        how = {"by": self.cfg.select_by, "names": self.names}
        return self.run.step("select", select_model, self.measures, **how)  # type: ignore[no-any-return]

    def controls(
        self,
        scope: Any,
        rows: Mapping[str, Any],
        config: SftOptions,
        shots: Any,
        **how: Any,
    ) -> dict[str, Any]:
        """What the same effort buys without the method: the base shown `shots`, and models trained
        on other `rows`, each under the name of what it is."""
        found = {"few-shot base": self._measured(scope, "fewshot", self.base, shots=shots)}
        for name, given in rows.items():
            step = name.lower().replace(" ", "-")
            model = train(scope, step, self.base, given, config, **how)
            found[name] = self._measured(scope, step, model)
        return found

    def _measured(self, scope: Any, name: str, model: Model, **more: Any) -> Any:
        return measure(scope, f"{name}-measure", model, self.held_out, self.cfg.measure, **more)

    def hand_over(
        self,
        chosen: Choice,
        controls: Mapping[str, Any],
        *,
        method: str,
        facts: Mapping[str, Any],
        seeds: Any,
        raters: Sequence[Model] = (),
        **seen: Any,
    ) -> Model:
        """The summary, and the chosen model as a directory of its own with a card. `raters` rated
        training data; `seen` is what else the summary draws: `rated`, `kept`, `portraits`."""
        run, cfg, model = self.run, self.cfg, self.models[chosen.value]
        wins = win_rate_of(run, model, self.base, seeds, self.held_out, cfg.measure, raters)
        seen |= {"wins": wins, "names": self.names, "by": cfg.select_by}
        run.step("summary", summarize, self.measures, chosen=chosen, controls=controls, **seen)
        card = {
            "title": "Tuned on data it wrote itself",
            "method": method,
            "base_model": cfg.base_name,
            **facts,
        }
        return run.step("result", merge, model, trainer=run.trainer(), card=card)  # type: ignore[no-any-return]
