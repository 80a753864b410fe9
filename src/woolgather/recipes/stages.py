"""Stretches of steps, and groups of settings, that several methods have in common.

The one idea: a recipe is a page because what every method does (open the inputs, hire an assessor,
train, measure, choose, hand over) is written once, here. Nothing in this module knows which recipe
calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from woolgather.artifacts import Choice, Model
from woolgather.engines.base import Sampling
from woolgather.formats import builtin_heldout, builtin_seeds
from woolgather.ops.assessors import Assessor
from woolgather.ops.audition import audition
from woolgather.ops.demos import DemoOptions
from woolgather.ops.evaluate import evaluate
from woolgather.ops.instruction_rules import InstructionRules
from woolgather.ops.judge import judge
from woolgather.ops.keep import KeepRule, keep
from woolgather.ops.merge import merge
from woolgather.ops.mix import MixOptions, mix
from woolgather.ops.novelty import NoveltyOptions
from woolgather.ops.prompt_format import choose_format
from woolgather.ops.respond import respond
from woolgather.ops.rubrics import RubricOptions, rubrics_of
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.summary import summarize
from woolgather.ops.train import sft
from woolgather.ops.win_rate import win_rate
from woolgather.options import Options
from woolgather.prompts import load
from woolgather.training.job import SftOptions


class Synthesis(Options):
    """Writing new instructions."""

    template: str = "synthesize"
    """One of our templates, or the path of a .md file."""
    format: Literal["raw", "chat", "auto"] = "auto"
    """raw: the list is a text to complete; chat: it is a user turn, and the reply begins with its next
    number; auto: as the model is prompted."""
    items: int = Field(default=20, ge=2)
    """Tasks that the list in the prompt is said to have; the demos are its first ones."""
    demos: DemoOptions = DemoOptions()
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=1000)
    rules: InstructionRules = InstructionRules()
    novelty: NoveltyOptions = NoveltyOptions()
    wave: int = Field(default=32, ge=1)
    """Prompts asked between two looks at what was accepted."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Prompts asked at most; None: two for each task wanted and 64 to begin with."""

    def options(self, model: Model) -> dict[str, Any]:
        """As `synthesize` takes them."""
        form = model.prompt_format if self.format == "auto" else self.format
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            **fields,
            "format": form,
            "template": load(
                self.template, frozenset({"items", "demos", "next"}), frozenset({"demos", "next"})
            ),
        }


class Responding(Options):
    """Answering them."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=512)
    samples: int = Field(default=1, ge=1)
    """Responses to each instruction; with more than one, keep one (`keep.by=best_of_n`)."""
    shots: int = Field(default=5, ge=0)
    """Fixed demo blocks before the task of a model that is prompted as raw text."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of responses that ran into max_tokens."""

    def options(self, model: Model, shots: Any) -> dict[str, Any]:
        """As `respond` takes them; `shots` are for a model that is prompted as raw text."""
        shown = shots if model.prompt_format == "raw" else []
        how = {"sampling": self.sampling, "unfinished": self.unfinished}
        return {"shots": shown, "n": self.samples, **how}


class Hiring(Options):
    """Who rates, and how it is found out."""

    assessor: Literal[
        "audition", "rubric", "expected", "yes_no", "mutual_information", "channel", "none"
    ] = "audition"
    """How rows are rated; audition tries `candidates` on pairs of known order and takes the best."""
    candidates: tuple[str, ...] = ("rubric", "expected", "yes_no", "mutual_information", "channel")
    """Who may apply."""
    pairs: int = Field(default=160, ge=8)
    """Pairs in an audition, over all kinds."""
    probes: int = Field(default=60, ge=0)
    """Generated test prompts whose checked answers are one kind of pair; 0 leaves that kind out."""
    on_unfit: Literal["stop", "keep_best", "keep_all"] = "keep_best"
    """When nobody beats the controls: end the run, take the best all the same, or rate nothing."""
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=48)
    """How a judge writes."""
    floor: float = Field(default=0.5, ge=0, le=1)
    """Least share of readable verdicts; below it the run ends with advice."""

    @property
    def audition(self) -> dict[str, Any]:
        """As `audition` takes them: a named assessor is tried alone, and used whatever comes out."""
        if self.assessor == "audition":
            who: dict[str, Any] = {"candidates": self.candidates, "on_unfit": self.on_unfit}
        else:
            who = {"candidates": [self.assessor], "on_unfit": "keep_best"}
        return {**who, "pairs": self.pairs, "probes": self.probes, "sampling": self.sampling}


class Judging(Hiring):
    """Rating the answers."""

    rubric: RubricOptions = RubricOptions()


class Measuring(Options):
    """Looking at each model."""

    probes: int = Field(default=300, ge=0)
    """Generated test prompts with machine checks, for each of the two probe seeds."""
    select_seed: int = 1
    """Probes that decide; the report's are of another seed."""
    report_seed: int = 2
    max_tokens: int = Field(default=128, ge=8)
    likelihood: bool = True
    """Likelihood of the held-out references at one fitted temperature, where the engine can."""
    win_judge: str = ""
    """A model that rates the result's answers beside the base's. It must have rated no training data
    in this run, and passes an audition first; empty leaves the win rate unmeasured."""


class Common(Options):
    """Settings that every method has."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str = ""
    """File or folder of seed tasks with responses; empty takes ours (182)."""
    held_out: str = ""
    """File of tasks to measure on, never synthesised from; empty takes ours (80)."""
    base_format: Literal["raw", "chat", "auto"] = "auto"
    """How the base is prompted; auto takes the format under which the seeds' responses cost less."""
    measure: Measuring = Measuring()
    controls: bool = True
    """Train on what the same effort buys without the method, beside the result."""
    select_by: Literal["probes", "heldout", "last"] = "probes"
    """What the result must be better than the base in; last takes the last model."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better one; None never stops early."""

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine; "" for one of this run."""
        if isinstance(self.base, Model):
            return "" if Path(self.base.path).is_absolute() else self.base.path
        name = self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name


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
        self.run, self.cfg, self.held_out = run, cfg, held_out
        self.models = [base]
        self.measures = [measure(run, "measure", base, held_out, cfg.measure)]
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
        shown = {"shots": shots}
        found = {"few-shot base": self._measured(scope, "fewshot", self.base, **shown)}
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
