"""I-SHEEP (arXiv 2408.08072): a model writes tasks, answers them, rates its answers, and is tuned on the
best of them, round after round.

Defaults are ours; presets `paper` and `code` are the paper's and its scripts'. Departures in all:
prompts are in our own words (each a file you may replace); instructions are compared with every
earlier one, where the released scripts compared with none; a stop text cannot cut an answer; a verdict
that cannot be read is never kept. In `default` only: a raw base answers few-shot, unfinished answers
are set aside, the assessor is chosen by audition, the seeds stay in the mix, data accumulate, a control
is trained beside the result, and the result is the best candidate, the base included. docs/isheep.md
maps every parameter.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Literal

from pydantic import Field, model_validator

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.errors import ConfigError
from woolgather.core.rows import Example
from woolgather.ops.curate.agree import Agreement, agree, check_samples, draw_alike
from woolgather.ops.curate.constraints import NO_FILE
from woolgather.ops.curate.keep import KeepRule
from woolgather.ops.curate.mix import MixOptions
from woolgather.ops.curate.response_rules import ResponseRules, apply_rules
from woolgather.ops.generate.pair_checked import Pairing
from woolgather.ops.generate.practice import Practice, add_practice
from woolgather.ops.generate.respond import POOL, Responding, fixed_shots
from woolgather.ops.generate.synthesize import Synthesis, synthesize
from woolgather.ops.generate.verify import Verifying, check_verifiable
from woolgather.ops.measure.embedding_map import MapOptions
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.config import at, check_numbers
from woolgather.recipes.guard import guard_rows, open_guard
from woolgather.recipes.levers import VERIFIED, add_preferring, verify_answers
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Judging
from woolgather.recipes.stages import (
    Beside,
    Tuning,
    answer_tasks,
    best,
    choose_assessor,
    draw_rows,
    list_measured,
    map_embeddings,
    mix_rows,
    open_inputs,
    open_judge,
    open_reference,
    open_replay,
    rate,
    settle_tier,
    train,
)
from woolgather.training.job import SftOptions

METHOD = "I-SHEEP (arXiv 2408.08072)"
_UNRATED = ("judge.assessor=none", "keep.by=all")
SWEPT = {
    "keep.above": {
        -1.0: ("rules.use=[none]", "synthesis.rules.use=[none]", *_UNRATED),
        0.0: _UNRATED,
    }
}
"""What two thresholds below the scale stand for in a sweep, as in the paper: at -1 nothing is filtered,
by rules or by verdicts; at 0 the rules alone filter."""


class Config(Common):
    """Settings of I-SHEEP."""

    iterations: int = Field(default=3, ge=1)
    per_iteration: int | tuple[int, ...] = 10_000
    """Accepted instructions in each iteration; a list gives one number per iteration."""
    judge_model: str = "self"
    """self: the current model rates; base: the base does; else the name of another model."""
    init_from: Literal["base", "last"] = "base"
    """Weights that each iteration trains: the base's (the paper's One_base and Total_base), or those of
    the last model (One_last)."""
    history: Literal["all", "none"] = "all"
    """Rows that training sees: those of all iterations so far (Total), or of this one (One)."""
    synthesis: Synthesis = Synthesis()
    practice: Practice = Practice()
    respond: Responding = Responding()
    rules: ResponseRules = ResponseRules()
    judge: Judging = Judging()
    keep: KeepRule = KeepRule(by="auto")
    agreement: Agreement | None = None
    """Keep what the samples of a task agree on, or what passes its check, in place of what `judge` and
    `keep` choose; {} takes this group as it is. Needs respond.samples, and mix.one_per_prompt=false
    where several answers to one task are to stay."""
    verify: Verifying | None = None
    """Train also on answers with constraints that they provably meet, beside contrary ones; {} takes this
    group as it is. Needs respond.samples=4 or more."""
    pairs: Pairing | None = None
    """After the loop, train the last model to prefer its own answers that pass their check; {} takes this
    group as it is. Needs tasks with one: `verify`, or `practice.tasks`."""
    mix: MixOptions = MixOptions()
    sft: SftOptions = SftOptions()
    lora_scale: float = Field(default=1.0, ge=0)
    """How much of each trained adapter is merged: 0 is the model it started from, 1 all of it."""
    embedding_map: MapOptions = MapOptions()

    @model_validator(mode="after")
    def _check(self) -> Config:
        check_numbers("per_iteration", self.per_iteration, 0)
        check_numbers("practice.tasks", self.practice.tasks, 0)
        if self.agreement:
            check_samples(self.respond.samples)
        if self.verify:
            check_verifiable(self.respond.samples)
        if self.pairs and not self.verify and not self.practice.most:
            raise ConfigError(
                "pairs without tasks that have a check: set 'verify={}', or practice.tasks=600."
            )
        return self

    @property
    def judging(self) -> Judging:
        """Returns how answers are rated: not at all where samples have to agree."""
        return self.judge.model_copy(update={"assessor": "none"}) if self.agreement else self.judge

    def seen(self, rows: list[Rows[Example]]) -> list[Rows[Example]]:
        """Returns those rows, one entry per iteration, that training sees after the last of them."""
        return rows[:] if self.history == "all" else rows[-1:]


def recipe(run: Scope, cfg: Config) -> Model:
    """Returns the result of the loop; see the module's docstring. `run` is a Run or a Scope."""
    seeds, held_out, base = open_inputs(run, cfg)
    reference = open_reference(run, cfg.embedding_map)
    cfg = settle_tier(run, cfg, seeds, base)
    measured = list_measured(run, cfg, held_out)
    guard = open_guard(run, cfg, measured)
    judge = open_judge(run, cfg.judge_model, base)
    judging, tuning = cfg.judging, Tuning(cfg.sft, cfg.lora_scale)
    asked = judging.questionnaire()
    shots = run.step("shots", fixed_shots, seeds, k=cfg.respond.shots)
    shown = run.step("shot-pool", fixed_shots, seeds, k=POOL) if cfg.respond.redrawn else shots

    found = Candidates(run, cfg, base, held_out, guard)
    beside = Beside(seeds, open_replay(run, cfg.mix), cfg.mix)
    clean, rated, kept = list[Rows[Example]](), list[Sized](), list[Rows[Example]]()
    verified, checked, generated = list[Rows[Example]](), list[Rows[Example]](), list[int]()
    for t in range(cfg.iterations):
        it, model = run.scope(f"iter{t}"), found.last
        rater = run.engine(judge or model)
        if not (judge and t):  # who stays the same passes one audition
            assessor = choose_assessor(it, seeds, rater, judging, asked)
        tasks = it.step(
            "synthesize", synthesize, seeds, it.engine(model), n=at(cfg.per_iteration, t),
            how=cfg.synthesis.settled(model.prompt_format), avoid=kept, measured=measured,
            machine=kept[-1] if kept else (),
        )  # fmt: skip
        practice = cfg.practice.at(t)
        if practice.most:
            tasks = it.step("practice", add_practice, tasks, how=practice)
            checked.append(tasks)
        pairs = answer_tasks(it, tasks, model, cfg.respond, shown)
        known = not any(map(it.given, ("respond", "rules", "assess", "keep")))
        generated.append(cfg.respond.samples * len(tasks) if known else 0)
        clean.append(it.step("rules", apply_rules, pairs, rules=cfg.rules, seeds=seeds))
        scored = rate(it, clean[-1], rater, assessor, judging, asked)
        kept.append(
            it.step("keep", agree, scored, samples=cfg.respond.samples, rule=cfg.agreement)
            if cfg.agreement
            else best(it, scored, cfg.keep, assessor, rater)
        )
        rated.append(() if it.given("keep") else scored)  # rows that are given are a share of none
        verified += verify_answers(it, clean[-1], cfg.respond.samples, it.engine(model), cfg.verify)
        seen = [*cfg.seen(kept), *cfg.seen(verified)]
        mixed = mix_rows(it, seen, beside, base, cfg.sft)
        rows = guard_rows(it, mixed, guard)
        start = model if cfg.init_from == "last" else base
        found.add(it, train(it, "train", start, rows, tuning), name=f"iter{t}" if cfg.pairs else "")
        if found.stop(it):
            break

    if cfg.pairs:
        checks = cfg.verify.checks if cfg.verify else NO_FILE
        add_preferring(found, [*verified, *checked], cfg.pairs, checks)
    chosen = found.choose()
    maps = map_embeddings(run, kept, seeds, base, reference, cfg.embedding_map)
    controls: dict[str, Metrics] = {}
    if cfg.controls:
        made = int(chosen.value) or len(kept)
        controls = control(found, clean[:made], kept, verified[:made], beside, shots, cfg)
    return found.hand_over(
        chosen,
        controls,
        facts={"method": METHOD, "seeds": len(seeds), "iterations": len(kept)},
        seeds=seeds,
        raters=[judge] if judge else found.models[: len(kept)],
        rounds=list(zip(rated, kept, maps, strict=True)),
        bar=(cfg.keep.above, generated),
    )


def control(
    found: Candidates,
    clean: list[Rows[Example]],
    kept: list[Rows[Example]],
    verified: list[Rows[Example]],
    beside: Beside,
    shots: Rows[Example],
    cfg: Config,
) -> dict[str, Metrics]:
    """Returns measures of what is compared with the result: models trained on the seeds alone, and on as
    many rows at random as each iteration kept, of the same tasks where samples had to agree; and on the
    seeds with what the base's own answers were verified to meet, where they were. All have the same
    share of replayed rows."""
    base, scope = found.base, found.run.scope("control")
    chance = [
        scope.step(f"random{t}", draw_alike, rows, kept[t])
        if cfg.agreement
        else draw_rows(scope, f"random{t}", rows, kept[t])
        for t, rows in enumerate(clean)
    ]
    mix = mix_rows(scope, cfg.seen(chance), beside, base, cfg.sft, name="random-mix")
    alone = mix_rows(scope, [], beside.alone, base, cfg.sft, name="seeds-mix")
    rows = {"seeds alone": alone, "random rows, none verified" if verified else "random rows": mix}
    if verified:
        rows[VERIFIED] = mix_rows(scope, verified[:1], beside, base, cfg.sft, name="verified-mix")
    # Rows of the result: as many updates for all.
    size = len(mix) + sum(map(len, cfg.seen(verified)))
    return found.controls(scope, rows, Tuning(cfg.sft.like(size), cfg.lora_scale), shots)
