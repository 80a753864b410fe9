"""Stretches of Dromedary: its prompts, its guide, adherence and controls.

The one idea: the recipe is a page because these are here. Each function adds the steps of one stretch
to a scope and returns what the next one needs; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.rows import Example
from woolgather.ops.curate.mix import MixOptions
from woolgather.ops.curate.pool import pool
from woolgather.ops.generate.respond import respond
from woolgather.ops.generate.topics import QUESTION_FIELDS, TOPIC_FIELDS, ask_about, brainstorm
from woolgather.ops.judge.rubrics import rubrics_of
from woolgather.ops.principles.adherence import adherence, adherence_templates
from woolgather.ops.principles.align import align, identity_rows, prune
from woolgather.ops.principles.files import builtin, read_exemplars, read_kinds, read_principles
from woolgather.ops.principles.prompt import FIELDS, Guide
from woolgather.ops.principles.replies import BLOCK_FIELDS
from woolgather.ops.principles.teacher import evaluate_teacher
from woolgather.prompting.templates import load
from woolgather.recipes.dromedary.config import Config
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.stages import Candidates, draw_rows, hire, mix_rows, write_instructions
from woolgather.training.job import SftOptions

EACH = MixOptions(one_per_prompt=False)
"""Every row is its own: a prompt may have several answers."""


def guide_of(cfg: Config) -> Guide:
    """Principles, exemplars and layout, read and checked before anything else."""
    principles = read_principles(cfg.principles or builtin("principles", cfg.variant))
    exemplars = read_exemplars(
        cfg.exemplars or builtin("exemplars", cfg.variant), principles, cfg.align.exemplars
    )
    block = load(cfg.align.block, frozenset(BLOCK_FIELDS))
    guide = Guide(
        load(cfg.align.template, FIELDS), block, principles, exemplars, cfg.name or "an assistant"
    )
    assert guide.form  # a layout that cannot be read is an error now
    return guide


def align_tasks(
    scope: Scope,
    name: str,
    asked: Rows[Example],
    base: Model,
    guide: Guide,
    cfg: Config,
    must_keep: bool = True,
) -> Rows[Example]:
    """What `base` answers under its principles."""
    return scope.step(
        name,
        align,
        asked,
        scope.engine(base),
        guide=guide,
        sampling=cfg.align.sampling,
        rules=cfg.align.rules,
        nudge=cfg.align.nudge,
        must_keep=must_keep,
    )


def prompts(
    scope: Scope, cfg: Config, seeds: Rows[Example], held_out: Rows[Example], base: Model
) -> Rows[Example]:
    """v1: the model writes them, plainly and by topic; v2: they are given."""
    sources, note = list[Rows[Example]](), ""
    if cfg.variant == "v1":
        sources = invent_tasks(scope, cfg, seeds, held_out, base)
    elif cfg.prompts:
        sources = [scope.rows("prompts", cfg.prompts, needs_response=False)]
    else:
        sources = [seeds]
        note = (
            "No file of prompts was given (prompts=FILE), so the instructions of the seeds are "
            "answered: few, and not what people ask."
        )
    return scope.step(
        "pool",
        pool,
        sources,
        base=base,
        avoid=held_out,
        note=note,
        min_tokens=cfg.pool.min_tokens,
        max_tokens=cfg.pool.max_tokens,
        limit=cfg.pool.limit,
    )


def invent_tasks(
    scope: Scope, cfg: Config, seeds: Rows[Example], held_out: Rows[Example], base: Model
) -> list[Rows[Example]]:
    """v1: tasks of plain self-instruct, and questions on topics of each kind."""
    sources, writer, t, q = list[Rows[Example]](), scope.engine(base), cfg.topics, cfg.questions
    kinds = read_kinds(cfg.kinds or builtin("kinds"))
    if cfg.tasks:
        sources.append(write_instructions(scope, seeds, base, cfg.synthesis, cfg.tasks, [held_out]))
    if q.n:
        form = base.prompt_format
        topics = scope.step(
            "topics",
            brainstorm,
            kinds,
            writer,
            template=load(t.template, TOPIC_FIELDS),
            sampling=t.sampling,
            rounds=t.rounds,
            calls=t.calls,
            per_call=t.per_call,
            max_words=t.max_words,
            format=form,
        )
        questions = scope.step(
            "questions",
            ask_about,
            topics,
            writer,
            n=q.n,
            template=load(q.template, QUESTION_FIELDS),
            sampling=q.sampling,
            rules=q.rules,
            novelty=q.novelty,
            seeds=seeds,
            avoid=[held_out, *sources],
            format=form,
        )
        sources.append(questions)
    return sources


def identities(run: Scope, cfg: Config) -> Rows[Example] | Sequence[Example]:
    """Rows that say who the assistant is; none without a name or a file."""
    if not (cfg.name or cfg.identity.file) or not cfg.identity.repeats:
        return ()
    rows = run.rows("identity", cfg.identity.file or builtin("identity"), part="identity")
    name, repeats = cfg.name or "an assistant", cfg.identity.repeats
    return run.step("identity", identity_rows, rows, assistant=name, repeats=repeats)


def training_rows(
    scope: Scope,
    answered: Rows[Example],
    identity: Rows[Example] | Sequence[Example],
    base: Model,
    config: SftOptions,
) -> Rows[Example]:
    """Questions and answers alone, with the identity rows: nothing of the prompt is left."""
    bare = scope.step("prune", prune, answered)
    return mix_rows(scope, bare, identity, base, config, EACH)


def judge_adherence(
    scope: Scope,
    found: Candidates,
    guide: Guide,
    seeds: Rows[Example],
    shots: Rows[Example],
    cfg: Config,
) -> Metrics:
    """Adherence of the base, the prompted teacher and the students, on one sample of held-out tasks."""
    base = found.base
    other = scope.model("judge_model", cfg.judge_model) if cfg.judge_model != "base" else base
    rubrics = rubrics_of(cfg.judge.rubric.style, cfg.judge.rubric.templates)
    assessor = hire(scope, seeds, scope.engine(other), cfg.judge, rubrics)
    sample = draw_rows(scope, "sample", found.held_out, range(cfg.adherence.sample))
    teacher = align_tasks(scope, "teacher", sample, base, guide, cfg, must_keep=False)
    answers = {
        name: answer_plainly(scope, name, sample, model, shots, cfg, unfinished="keep")
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
        sampling=cfg.judge.sampling,
        templates=adherence_templates(cfg.adherence.rubric, cfg.adherence.yes_no),
    )


def control(
    found: Candidates,
    scope: Scope,
    asked: Rows[Example],
    rows: Rows[Example],
    guide: Guide,
    seeds: Rows[Example],
    shots: Rows[Example],
    cfg: Config,
) -> dict[str, Metrics]:
    """Beside the result: the teacher as it is, the seeds alone, and plain answers to as many prompts."""
    base, m = found.base, cfg.measure
    plain = answer_plainly(scope, "plain", asked, base, shots, cfg)
    like = draw_rows(scope, "draw", plain, rows)
    mixes = {
        "seeds alone": mix_rows(scope, (), seeds, base, cfg.sft, name="seeds-mix"),
        "plain answers": mix_rows(scope, like, (), base, cfg.sft, EACH, name="plain-mix"),
    }
    teacher = scope.step(
        "teacher-measure",
        evaluate_teacher,
        found.held_out,
        scope.engine(base),
        guide=guide,
        sampling=cfg.align.sampling,
        nudge=cfg.align.nudge,
        probe_seeds=(m.select_seed, m.report_seed),
        probes=cfg.teacher.probes or m.probes,
    )
    trained = cfg.sft.like(len(rows))
    others = found.controls(scope, mixes, trained, shots, scale=cfg.lora_scale)
    return {"prompted teacher": teacher, **others}


def answer_plainly(
    scope: Scope,
    name: str,
    asked: Rows[Example],
    model: Model,
    shots: Rows[Example],
    cfg: Config,
    unfinished: Literal["set_aside", "keep"] = "set_aside",
) -> Rows[Example]:
    """What `model` answers without principles; `shots` are for one that is prompted as raw text."""
    return scope.step(
        name,
        respond,
        asked,
        scope.engine(model),
        shots=shots if model.prompt_format == "raw" else (),
        sampling=cfg.align.sampling,
        unfinished=unfinished,
    )
