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

from typing import Any, Literal

from pydantic import Field

from woolgather.artifacts import Model
from woolgather.config import at
from woolgather.ops.judge import judge
from woolgather.ops.keep import KeepRule, keep
from woolgather.ops.mix import MixOptions, mix
from woolgather.ops.portrait import portrait
from woolgather.ops.respond import fixed_shots, respond
from woolgather.ops.rubrics import rubrics_of
from woolgather.ops.rules import ResponseRules, apply_rules
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.synthesize import synthesize
from woolgather.recipes.stages import (
    Common,
    Judging,
    Responding,
    Synthesis,
    hand_over,
    hire,
    measure,
    opened,
    train,
    win_rate_of,
)
from woolgather.training.job import SftOptions

METHOD = "I-SHEEP (arXiv 2408.08072)"


class Config(Common):
    """Settings of I-SHEEP."""

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
    lora_scale: float = Field(default=1.0, ge=0)
    """How much of each trained adapter is merged: 0 is the model it started from, 1 all of it."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better one; None never stops early."""


def recipe(run: Any, cfg: Config) -> Model:
    """The loop; see the module's docstring. `run` is a Run or a Scope."""
    seeds, held_out, base = opened(run, cfg)
    other = run.model("judge", cfg.judge_model) if cfg.judge_model not in ("self", "base") else base
    rubrics = rubrics_of(cfg.judge.rubric.style, cfg.judge.rubric.templates)
    shots = run.step("shots", fixed_shots, seeds, k=cfg.respond.shots)

    models, measures = [base], [measure(run, "measure", base, held_out, cfg.measure)]
    clean: list[Any] = []
    rated: list[Any] = []
    kept: list[Any] = []
    portraits: list[Any] = []
    for t in range(cfg.iterations):
        it, model = run.scope(f"iter{t}"), models[-1]
        writer, rater = run.engine(model), run.engine(model if cfg.judge_model == "self" else other)
        assessor = hire(it, seeds, rater, cfg.judge, rubrics)
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
        rated.append(
            it.step(
                "assess",
                judge,
                clean[-1],
                rater,
                assessor=assessor,
                rubrics=rubrics,
                sampling=cfg.judge.sampling,
                floor=cfg.judge.floor,
            )
        )
        kept.append(
            it.step(
                "keep",
                keep,
                rated[-1],
                rule=cfg.keep,
                assessor=assessor,
                engine=rater if cfg.keep.asks_model else None,
            )
        )
        portraits.append(it.step("portrait", portrait, kept[-1], seeds, run.engine(base)))
        rows = mixed(it, "mix", kept, seeds, base, cfg)
        start = models[-1] if cfg.init_from == "last" else base
        models.append(train(it, "train", start, rows, cfg.sft, cfg.lora_scale))
        measures.append(measure(it, "measure", models[-1], held_out, cfg.measure))
        if it.step("stop", should_stop, measures, patience=cfg.patience, by=cfg.select_by).value:
            break

    chosen = run.step("select", select_model, measures, by=cfg.select_by)
    raters = models[:-1] if cfg.judge_model == "self" else [other]
    wins = win_rate_of(run, models[chosen.value], base, seeds, held_out, cfg.measure, raters)
    controls = {}
    if cfg.controls:
        last = chosen.value or len(kept)
        controls = control(
            run.scope("control"), base, clean[:last], kept[:last], seeds, held_out, shots, cfg
        )
    facts = {"seeds": len(seeds), "iterations": len(kept)}
    return hand_over(
        run, models, measures, chosen, cfg=cfg, controls=controls, method=METHOD, facts=facts,
        wins=wins, rated=rated, kept=kept, portraits=portraits,
    )  # fmt: skip


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
        "seeds alone": train(scope, "seeds", base, only_seeds, alike, cfg.lora_scale),
        "random rows": train(scope, "random", base, random_rows, alike, cfg.lora_scale),
    }
    found = {
        "few-shot base": measure(scope, "fewshot-measure", base, held_out, cfg.measure, shots=shots)
    }
    for name, model in models.items():
        found[name] = measure(
            scope, f"{name.replace(' ', '-')}-measure", model, held_out, cfg.measure
        )
    return found
