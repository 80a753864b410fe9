"""Headroom: before a run is paid for, what choosing among a base's own samples could reach.

Not a method: nothing is trained. A base answers probes in each form it may be asked in, and shown
answered seeds. Then it draws several answers to each, and every assessor that is named chooses among
them, and so do the check and the majority. Its sentence says which of them finds something, for this base
and these seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Metrics, Model, PromptFormat
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.data import builtin_seeds
from woolgather.engines.base import Sampling
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.ops.judge.assessors import Assessor, Candidate
from woolgather.ops.judge.judge import InformationLimits, judge
from woolgather.ops.measure.headroom import list_tasks, measure_headroom
from woolgather.ops.measure.probe_sets import choose_tier
from woolgather.prompting.template_choice import AUTO, ChatTemplate
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Judging
from woolgather.recipes.stages import form_of

Tier = Literal["easy", "middle", "hard"]
FEW_SHOT = "shown answered seeds"
FORMS: tuple[tuple[str, PromptFormat], ...] = (
    ("bare text", "raw"), ("in blocks", "blocks"), ("as a chat", "chat"),
)  # fmt: skip


class Config(Options):
    """What is tried."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str | tuple[str, ...] = ""
    """Seed tasks with responses, from the places that a recipe takes; empty takes ours (182)."""
    chat_template: ChatTemplate = AUTO
    """What the base is asked with as a chat, as in a recipe."""
    probes: int = Field(default=200, ge=20)
    """Probes that are asked, of families that select: no run reports on them."""
    tier: Tier | None = None
    """How hard they are: easy, middle or hard; None lets `calibration` decide."""
    calibration: int = Field(default=72, ge=0)
    """Probes that the base is asked first, to find the tier that is neither too easy nor too hard for
    it; 0 asks probes of every tier."""
    samples: int = Field(default=8, ge=2)
    """Samples of each probe that are chosen among."""
    shots: int = Field(default=5, ge=1)
    """Answered seeds that are shown before each probe."""
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=96)
    """How samples are drawn; greedy answers end at the same limit."""
    candidates: tuple[Candidate, ...] = ("yes_no", "mutual_information", "channel")
    """Assessors that choose, of those that an audition tries."""


def recipe(run: Scope, cfg: Config) -> Metrics:
    """Returns the headroom of the base; see the module's docstring."""
    seeds = run.rows("seeds", cfg.seeds or builtin_seeds())
    base = run.model("base", cfg.base, chat_template=cfg.chat_template.text)
    form = form_of(run, Common(), base, seeds)
    base = replace(base, prompt_format=form)
    shots = run.step("shots", fixed_shots, seeds, k=cfg.shots)
    tasks = run.step(
        "probes", list_tasks, probes=cfg.probes, tier=settle_tier(run, cfg, base, shots)
    )

    greedy = Responding(
        sampling=cfg.sampling.model_copy(update={"temperature": 0.0}), unfinished="keep"
    )
    answers: dict[str, Rows[Example]] = {}
    for name, each in FORMS:
        engine = run.engine(replace(base, prompt_format=each))
        answers[name] = run.step(f"{each}/respond", respond, tasks, engine, how=greedy)
    engine = run.engine(base)
    answers[FEW_SHOT] = run.step(
        "few-shot/respond", respond, tasks, engine, how=greedy, shots=shots
    )

    several = Responding(sampling=cfg.sampling, samples=cfg.samples, unfinished="keep")
    samples = run.step("samples", respond, tasks, engine, how=several, shots=shots)
    asked = Judging().questionnaire()
    rated = [
        run.step(
            f"{kind}/assess", judge, samples, engine, assessor=Assessor(kind=kind), asked=asked,
            floor=0.0, limits=InformationLimits(min_information=None, max_copied=None),
        )
        for kind in cfg.candidates
    ]  # fmt: skip
    return run.step(
        "summary", measure_headroom, list(answers.values()), samples, rated, forms=list(answers),
        assessors=list(cfg.candidates), drawn=cfg.samples,
    )  # fmt: skip


def settle_tier(run: Scope, cfg: Config, base: Model, shots: Rows[Example]) -> Tier | None:
    """Returns the tier of the probes: as named, or as the base shows on probes of their own."""
    if cfg.tier or not cfg.calibration:
        return cfg.tier
    tokens = cfg.sampling.max_tokens
    chosen = run.step(
        "tier", choose_tier, shots, run.engine(base), probes=cfg.calibration, max_tokens=tokens
    )
    found: Tier | None = chosen.value
    return found
