"""I-SHEEP (arXiv 2408.08072): a model writes tasks, answers them, rates its answers, and is tuned on the
best of them, round after round.

Defaults are ours; preset `paper` is the paper's. Departures in both: prompts are in our own words
(each a file you may replace); instructions are compared with every earlier one, where the released
scripts compared with none; a stop text cannot cut an answer; a verdict that cannot be read is never
kept. In `default` only: a raw base answers few-shot, unfinished answers are set aside, the assessor
is hired by audition, the seeds stay in the mix, data accumulate, a control is trained beside the
result, and the result is the best candidate, the base included. docs/isheep.md maps every parameter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from woolgather.artifacts import Model
from woolgather.config import at
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
from woolgather.ops.portrait import portrait
from woolgather.ops.prompt_format import choose_format
from woolgather.ops.respond import fixed_shots, respond
from woolgather.ops.rubrics import RubricOptions, rubrics_of
from woolgather.ops.rules import ResponseRules, apply_rules
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.summary import summarize
from woolgather.ops.synthesize import synthesize
from woolgather.ops.train import sft
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
            "template": load(self.template, frozenset({"items", "demos", "next"})),
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


class Judging(Options):
    """Rating the answers."""

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
    rubric: RubricOptions = RubricOptions()
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=48)
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


class Config(Options):
    """Settings of I-SHEEP."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str = ""
    """File or folder of seed tasks with responses; empty takes ours (182)."""
    held_out: str = ""
    """File of tasks to measure on, never synthesised from; empty takes ours (80)."""
    base_format: Literal["raw", "chat", "auto"] = "auto"
    """How the base is prompted; auto takes the format under which the seeds' responses cost less."""
    iterations: int = Field(default=3, ge=1)
    per_iteration: int | tuple[int, ...] = 10_000
    """Accepted instructions in each iteration; a list gives one number an iteration."""
    judge_model: str = "self"
    """self: the current model rates; base: the base does; else the name of another model."""
    init_from: Literal["base", "last"] = "base"
    """Weights that training starts from: One_base and Total_base, or One_last."""
    history: Literal["all", "none"] = "all"
    """Rows that training sees: those of all iterations so far (Total), or of this one (One)."""
    synthesis: Synthesis = Synthesis()
    respond: Responding = Responding()
    rules: ResponseRules = ResponseRules()
    judge: Judging = Judging()
    keep: KeepRule = KeepRule(by="auto")
    mix: MixOptions = MixOptions()
    sft: SftOptions = SftOptions()
    measure: Measuring = Measuring()
    controls: bool = True
    """Train on the seeds alone, and on rows drawn at random, with as many updates as the result."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better one; None never stops early."""
    select_by: Literal["probes", "heldout", "last"] = "probes"
    """What the result must be better than the base in; last takes the last model."""

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine."""
        name = self.base.path if isinstance(self.base, Model) else self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name


def recipe(run: Any, cfg: Config) -> Model:
    """The loop; see the module's docstring. `run` is a Run or a Scope."""
    seeds = run.rows("seeds", cfg.seeds or builtin_seeds())
    held_out = run.rows("held_out", cfg.held_out or builtin_heldout())
    base = run.model("base", cfg.base)
    raw, chat = (replace(base, prompt_format=form) for form in ("raw", "chat"))
    form = cfg.base_format
    if form == "auto":
        form = run.step("format", choose_format, seeds, run.engine(raw), run.engine(chat)).value
    base = raw if form == "raw" else chat
    other = run.model("judge", cfg.judge_model) if cfg.judge_model not in ("self", "base") else base
    rubrics = rubrics_of(cfg.judge.rubric.style, cfg.judge.rubric.templates)
    shots = run.step("shots", fixed_shots, seeds, k=cfg.respond.shots)

    models, measures = [base], [measure(run, "measure", base, held_out, cfg)]
    clean: list[Any] = []
    kept: list[Any] = []
    for t in range(cfg.iterations):
        it, model = run.scope(f"iter{t}"), models[-1]
        writer, rater = run.engine(model), run.engine(model if cfg.judge_model == "self" else other)
        assessor: Any = Assessor(kind="none")
        if cfg.judge.assessor != "none":
            assessor = it.step(
                "audition", audition, seeds, rater, rubrics=rubrics, **cfg.judge.audition
            )
        tasks = it.step(
            "synthesize",
            synthesize,
            seeds,
            writer,
            n=at(cfg.per_iteration, t),
            machine=kept[-1] if kept else [],
            avoid=[held_out, *kept],
            **cfg.synthesis.options(model),
        )
        pairs = it.step(
            "respond",
            respond,
            tasks,
            writer,
            shots=shots if model.prompt_format == "raw" else [],
            n=cfg.respond.samples,
            sampling=cfg.respond.sampling,
            unfinished=cfg.respond.unfinished,
        )
        clean.append(it.step("rules", apply_rules, pairs, rules=cfg.rules, seeds=seeds))
        rated = it.step(
            "assess",
            judge,
            clean[-1],
            rater,
            assessor=assessor,
            rubrics=rubrics,
            sampling=cfg.judge.sampling,
            floor=cfg.judge.floor,
        )
        kept.append(
            it.step(
                "keep",
                keep,
                rated,
                rule=cfg.keep,
                assessor=assessor,
                engine=rater if cfg.keep.asks_model else None,
            )
        )
        it.step("portrait", portrait, kept[-1], seeds, run.engine(base))
        rows = mixed(it, "mix", kept, seeds, base, cfg)
        models.append(
            train(it, "train", models[-1] if cfg.init_from == "last" else base, rows, cfg.sft)
        )
        measures.append(measure(it, "measure", models[-1], held_out, cfg))
        if it.step("stop", should_stop, measures, patience=cfg.patience, by=cfg.select_by).value:
            break

    chosen = run.step("select", select_model, measures, by=cfg.select_by)
    controls = {}
    if cfg.controls:
        last = chosen.value or len(kept)
        controls = control(
            run.scope("control"), base, clean[:last], kept[:last], seeds, held_out, shots, cfg
        )
    run.step("summary", summarize, measures, chosen=chosen, controls=controls, by=cfg.select_by)
    card = {
        "title": "Tuned on data it wrote itself",
        "method": "I-SHEEP (arXiv 2408.08072)",
        "base_model": cfg.base_name,
        "seeds": len(seeds),
        "iterations": len(kept),
    }
    return run.step("result", merge, models[chosen.value], trainer=run.trainer(), card=card)  # type: ignore[no-any-return]


def measure(scope: Any, name: str, model: Model, held_out: Any, cfg: Config, **more: Any) -> Any:
    m = cfg.measure
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


def mixed(
    scope: Any, name: str, kept: list[Any], seeds: Any, base: Model, cfg: Config, **more: Any
) -> Any:
    """This iteration's rows, with those of earlier ones where history counts."""
    history = kept[:-1] if cfg.history == "all" else []
    return scope.step(
        name,
        mix,
        kept[-1],
        seeds,
        base=base,
        history=history,
        max_length=cfg.sft.max_length,
        max_rows=cfg.sft.max_rows,
        options=more.get("options", cfg.mix),
    )


def train(scope: Any, name: str, start: Model, rows: Any, config: SftOptions) -> Model:
    """Tuned and merged: whatever comes after starts from plain weights."""
    tuned = scope.step(name, sft, rows, start=start, config=config, trainer=scope.trainer())
    if config.lora is None:
        return tuned  # type: ignore[no-any-return]
    return scope.step(f"{name}-merge", merge, tuned, trainer=scope.trainer())  # type: ignore[no-any-return]


def control(
    scope: Any, base: Model, clean: list[Any], kept: list[Any], seeds: Any, held_out: Any, shots: Any,
    cfg: Config,
) -> dict[str, Any]:  # fmt: skip
    """What the same effort buys without the method: the base few-shot, the seeds alone, random rows."""
    drawn = [
        scope.step(f"random{t}", keep, rows, rule=KeepRule(by="random"), limit=max(1, len(kept[t])))
        for t, rows in enumerate(clean)
    ]
    random_rows = mixed(scope, "random-mix", drawn, seeds, base, cfg)
    only_seeds = scope.step(
        "seeds-mix",
        mix,
        [],
        seeds,
        base=base,
        max_length=cfg.sft.max_length,
        options=MixOptions(seeds=True),
    )
    alike = cfg.sft.like(len(random_rows))
    models = {
        "seeds alone": train(scope, "seeds", base, only_seeds, alike),
        "random rows": train(scope, "random", base, random_rows, alike),
    }
    found = {"few-shot base": measure(scope, "fewshot-measure", base, held_out, cfg, shots=shots)}
    for name, model in models.items():
        found[name] = measure(scope, f"{name.replace(' ', '-')}-measure", model, held_out, cfg)
    return found
