"""Stretches of Dromedary: its prompts, its guide, adherence and controls.

The one idea: the recipe is a page because these are here. Each function adds the steps of one stretch
to a scope and returns what the next one needs; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.rows import Example
from woolgather.ops.curate.pool import pool
from woolgather.ops.generate.respond import Responding
from woolgather.ops.generate.synthesize import synthesize
from woolgather.ops.generate.topics import ask_about, brainstorm
from woolgather.ops.principles.adherence import adherence
from woolgather.ops.principles.align import align, prune
from woolgather.ops.principles.files import builtin, read_exemplars, read_kinds, read_principles
from woolgather.ops.principles.identity import identity_rows
from woolgather.ops.principles.prompt import Guide, Replying
from woolgather.ops.principles.teacher import evaluate_teacher
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.dromedary.config import Config
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.stages import (
    Beside,
    Tuning,
    answer_tasks,
    choose_assessor,
    draw_rows,
    list_measured,
    mix_rows,
    open_inputs,
    open_replay,
    replay_alone,
    settle_tier,
)
from woolgather.training.job import SftOptions


@dataclass(frozen=True)
class Inputs:
    """What a run starts from."""

    cfg: Config
    guide: Guide
    seeds: Rows[Example]
    held_out: Rows[Example]
    measured: Sequence[Rows[Example] | Sequence[Example]]
    """Held-out tasks and probes: no prompt that is trained on may be like them."""
    base: Model


@dataclass(frozen=True)
class Trained:
    """What the engraved model was trained on."""

    answers: Rows[Example]
    """Those that the rules let through."""
    beside: Beside
    rows: Rows[Example]
    """Both together, as training saw them."""


def read_inputs(run: Scope, cfg: Config) -> Inputs:
    """Returns what the run starts from, the files of the guide read and checked before all else."""
    guide, (seeds, held_out, base) = guide_of(cfg), open_inputs(run, cfg)
    cfg = settle_tier(run, cfg, seeds, base)
    return Inputs(cfg, guide, seeds, held_out, list_measured(run, cfg, held_out), base)


def guide_of(cfg: Config) -> Guide:
    """Returns principles, exemplars and layout. Raises InputError or ConfigError for a file that is
    not right as a whole, and for a layout that replies cannot be read by."""
    principles = read_principles(cfg.principles or builtin("principles", cfg.variant))
    exemplars = read_exemplars(
        cfg.exemplars or builtin("exemplars", cfg.variant), principles, cfg.align.exemplars
    )
    name = cfg.name or "an assistant"
    guide = Guide(cfg.align.template, cfg.align.block, principles, exemplars, name)
    assert guide.form  # a layout that cannot be read is an error now
    return guide


def prompts(scope: Scope, given: Inputs) -> Rows[Example]:
    """Returns the prompts to answer. v1: the model writes them, plainly and by topic; v2: they are
    given."""
    cfg, sources, note = given.cfg, list[Rows[Example]](), ""
    if cfg.variant == "v1":
        sources = invent_tasks(scope, given)
    elif cfg.prompts:
        sources = [scope.rows("prompts", cfg.prompts, needs_response=False)]
    else:
        sources = [given.seeds]
        note = (
            "No file of prompts was given (prompts=FILE), so the instructions of the seeds are "
            "answered: few, and not what people ask."
        )
    return scope.step(
        "pool", pool, sources, base=given.base, how=cfg.pool, measured=given.measured, note=note
    )


def invent_tasks(scope: Scope, given: Inputs) -> list[Rows[Example]]:
    """v1: returns tasks of plain self-instruct, and questions on topics of each kind."""
    cfg, seeds, measured = given.cfg, given.seeds, given.measured
    sources, writer, form = (
        list[Rows[Example]](),
        scope.engine(given.base),
        given.base.prompt_format,
    )
    kinds = read_kinds(cfg.kinds or builtin("kinds"))
    if cfg.tasks:
        how = cfg.synthesis.settled(form)
        sources.append(
            scope.step(
                "synthesize", synthesize, seeds, writer, n=cfg.tasks, how=how, measured=measured
            )
        )
    if cfg.questions.n:
        topics = scope.step("topics", brainstorm, kinds, writer, how=cfg.topics.settled(form))
        questions = scope.step(
            "questions",
            ask_about,
            topics,
            writer,
            how=cfg.questions.settled(form),
            seeds=seeds,
            avoid=sources,
            measured=measured,
        )
        sources.append(questions)
    return sources


def identities(run: Scope, cfg: Config) -> Rows[Example] | Sequence[Example]:
    """Returns rows that say who the assistant is; none without a name or a file."""
    if not (cfg.name or cfg.identity.file) or not cfg.identity.repeats:
        return ()
    rows = run.rows("identity", cfg.identity.file or builtin("identity"), part="identity")
    name = cfg.name or "an assistant"
    return run.step("identity", identity_rows, rows, assistant=name, how=cfg.identity)


def open_beside(run: Scope, cfg: Config) -> Beside:
    """Returns what every training has beside the answers: identity rows and replayed ones. Every row is
    its own: a prompt may have several answers."""
    each = replay_alone(cfg.mix).model_copy(update={"one_per_prompt": False})
    return Beside(identities(run, cfg), open_replay(run, cfg.mix), each)


def training_rows(
    scope: Scope, answered: Rows[Example], beside: Beside, base: Model, config: SftOptions
) -> Rows[Example]:
    """Returns questions and answers alone, with what stands beside them: nothing of the prompt is
    left."""
    bare = scope.step("prune", prune, answered)
    return mix_rows(scope, [bare], beside, base, config)


def judge_adherence(
    scope: Scope, found: Candidates, given: Inputs, shots: Rows[Example]
) -> Metrics:
    """Returns the adherence of the base, the prompted teacher and the students, on one sample of
    held-out tasks."""
    cfg, base, guide = given.cfg, given.base, given.guide
    other = scope.model("judge_model", cfg.judge_model) if cfg.judge_model != "base" else base
    asked = cfg.judge.questionnaire()
    assessor = choose_assessor(scope, given.seeds, scope.engine(other), cfg.judge, asked)
    sample = draw_rows(scope, "sample", found.held_out, range(cfg.adherence.sample))
    teacher = scope.step(
        "teacher",
        align,
        sample,
        scope.engine(base),
        guide=guide,
        how=cfg.align,
        must_keep=False,
    )
    plainly = Responding(sampling=cfg.align.sampling, unfinished="keep")
    answers = {
        name: answer_tasks(scope, sample, model, plainly, shots, name)
        for name, model in zip(["base", *found.names], found.models, strict=True)
    }
    return scope.step(
        "judge",
        adherence,
        teacher,
        {"base": answers.pop("base"), "prompted teacher": teacher, **answers},
        scope.engine(other),
        principles=guide.principles,
        assessor=assessor,
        how=cfg.adherence,
        sampling=cfg.judge.sampling,
    )


def control(
    scope: Scope,
    found: Candidates,
    given: Inputs,
    asked: Rows[Example],
    trained: Trained,
    shots: Rows[Example],
) -> dict[str, Metrics]:
    """Returns what is compared with the result: the teacher as it is, the seeds alone, and plain answers
    to as many of the prompts `asked` as the method trained on. Trained controls have the same share of
    replayed rows."""
    cfg, base, m = given.cfg, given.base, given.cfg.measure
    plainly = Responding(sampling=cfg.align.sampling)
    plain = answer_tasks(scope, asked, base, plainly, shots, "plain")
    like = draw_rows(scope, "draw", plain, trained.answers if cfg.mix.replay else trained.rows)
    seeds, none = (replace(trained.beside, seeds=rows) for rows in (given.seeds, ()))
    mixes = {
        "seeds alone": mix_rows(scope, [], seeds.alone, base, cfg.sft, name="seeds-mix"),
        "plain answers": mix_rows(scope, [like], none, base, cfg.sft, name="plain-mix"),
    }
    teacher = scope.step(
        "teacher-measure",
        evaluate_teacher,
        found.held_out,
        scope.engine(base),
        guide=given.guide,
        how=Replying(sampling=cfg.align.sampling, nudge=cfg.align.nudge),
        probe_seed=m.probe_seed,
        probes=cfg.teacher.probes or m.probes,
    )
    alike = Tuning(cfg.sft.like(len(trained.rows)), cfg.lora_scale)
    others = found.controls(scope, mixes, alike, shots)
    return {"prompted teacher": teacher, **others}
