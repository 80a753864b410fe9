"""The models of a run side by side: measured as they are made, one of them chosen, and handed over.

The one idea: every method compares alike. The base comes first, each iteration is asked what the base
was, controls get the effort without the method, and what is handed over has its summary beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from woolgather.core.artifacts import Choice, Metrics, Model
from woolgather.core.rows import JSON, Example
from woolgather.engines.base import Sampling
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.measure.select import label, select_guarded, select_model, should_stop
from woolgather.ops.measure.summary import summarize
from woolgather.ops.measure.summary_views import Bar, Round
from woolgather.ops.measure.tax.choices import answer_questions
from woolgather.ops.train.merge import merge
from woolgather.prompting.forms import is_as_tuned
from woolgather.recipes.guard import Guard, guard_control
from woolgather.recipes.measuring import AS_CHAT, bench_models, check_measure, open_bench, step_name
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Judging
from woolgather.recipes.stages import (
    Tuning,
    choose_assessor,
    draw_rows,
    measure,
    train,
)


class Candidates:
    """The models of a run and their measures, in the order they were made, the base first. Raises
    ConfigError, in a plan too, where nothing could be measured, and for a guard that cannot be read."""

    def __init__(
        self, run: Scope, cfg: Common, base: Model, held_out: Rows[Example], guard: Guard
    ) -> None:
        check_measure(cfg, held_out)
        self.exam = open_bench(run, cfg, base)
        self.run, self.cfg, self.guard = run, cfg, guard
        self.held_out = held_out
        """The tasks that models are measured on: all there are, or a draw of them."""
        if cfg.measure.tasks is not None and cfg.measure.tasks < len(held_out):
            self.held_out = draw_rows(run, "tasks", held_out, range(cfg.measure.tasks))
        self.models = [base]
        self.measures = [measure(run, "measure", base, self.held_out, cfg.measure)]
        self.guards: list[Metrics] = self._ask_guard(run, "guard", base)
        """What each model knows of the guard's questions; none without a guard."""
        self.control_guards: dict[str, Metrics] = {}
        """The same of controls that are models of their own."""
        self.beside: dict[str, Metrics] = {}
        """Measures that are shown and that nothing is compared with: that of `AS_CHAT`."""
        if not is_as_tuned(base.path, base.prompt_format, base.chat_template):
            as_tuned = replace(base, prompt_format="chat")
            found = measure(run, "chat-measure", as_tuned, self.held_out, cfg.measure)
            self.beside[AS_CHAT] = found
        self.trained: dict[str, Model] = {}
        """Controls that are models of their own, for the suite of `bench`."""
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
        self.guards += self._ask_guard(scope, "guard", model)
        self.names += [name] if name else []

    def add_control(self, scope: Scope, name: str, model: Model, prefix: str = "") -> None:
        """Adds a control that is a model of its own: it goes through the suite, and is asked what the
        guard asks in a step whose name begins with `prefix`."""
        self.trained[name] = model
        for found in self._ask_guard(scope, f"{prefix}guard", model):
            self.control_guards[name] = found

    def _ask_guard(self, scope: Scope, step: str, model: Model) -> list[Metrics]:
        """Returns what a model knows of the guard's questions; nothing without a guard."""
        if not self.guard.questions:
            return []
        asked, how = self.guard.questions, self.cfg.measure
        engine, margin = scope.engine(model), how.guard_margin
        return [scope.step(step, answer_questions, asked, engine, margin=margin, by=how.guard_by)]

    def stop(self, scope: Scope) -> bool:
        """Returns whether the last ones brought nothing better."""
        told = scope.step(
            "stop",
            should_stop,
            self.measures,
            self.guards,
            patience=self.cfg.patience,
            by=self.cfg.select_by,
            names=self.names,
        )
        return bool(told.value)

    def choose(self) -> Choice:
        """Returns which of the models is the result: 0 is the base."""
        run, by = self.run, self.cfg.select_by
        if not self.guards:
            return run.step("select", select_model, self.measures, by=by, names=self.names)
        return run.step(
            "select", select_guarded, self.measures, self.guards, by=by, names=self.names
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
            step = step_name(name)
            given = guard_control(scope, given, self.guard, f"{step}-contamination")
            model = train(scope, step, self.base, given, how)
            self.add_control(scope, name, model, f"{step}-")
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
        base, *labels = [label(i, self.names) for i in range(len(self.models))]
        asked = {base: self.base}
        if AS_CHAT in self.beside:
            asked[AS_CHAT] = replace(self.base, prompt_format="chat")
        asked |= {**dict(zip(labels, self.models[1:], strict=True)), **self.trained}
        run.step(
            "summary",
            summarize,
            self.measures,
            self.guards,
            chosen=chosen,
            controls=controls,
            beside=self.beside,
            control_guards=self.control_guards,
            by=cfg.select_by,
            wins=self._win_rate(model, seeds, raters),
            bench=bench_models(run, self.exam, asked),
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
