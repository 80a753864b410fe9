"""Stretches of Dromedary: its prompts, its guide, adherence and controls.

The one idea: the recipe is a page because these are here. Each function adds the steps of one stretch
to a scope and returns what the next one needs; nothing is decided here.
"""

from __future__ import annotations

from typing import Any

from woolgather.artifacts import Model
from woolgather.ops.adherence import adherence, adherence_templates
from woolgather.ops.align import align, identity_rows, prune
from woolgather.ops.guide import FIELDS, Guide
from woolgather.ops.mix import MixOptions
from woolgather.ops.pool import pool
from woolgather.ops.replies import BLOCK_FIELDS
from woolgather.ops.respond import respond
from woolgather.ops.rubrics import rubrics_of
from woolgather.ops.synthesize import synthesize
from woolgather.ops.teacher import evaluate_teacher
from woolgather.ops.topics import QUESTION_FIELDS, TOPIC_FIELDS, ask_about, brainstorm
from woolgather.principles import builtin, read_exemplars, read_kinds, read_principles
from woolgather.prompts import load
from woolgather.recipes.dromedary_settings import Config
from woolgather.recipes.stages import Candidates, drawn, hire, mixed
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


def aligning(cfg: Config, guide: Guide) -> dict[str, Any]:
    """As `align` takes them."""
    a = cfg.align
    return {"guide": guide, "sampling": a.sampling, "rules": a.rules, "nudge": a.nudge}


def prompts(scope: Any, cfg: Config, seeds: Any, held_out: Any, base: Model) -> Any:
    """v1: the model writes them, plainly and by topic; v2: they are given."""
    sources, note = [], ""
    if cfg.variant == "v1":
        sources = written(scope, cfg, seeds, held_out, base)
    elif cfg.prompts:
        sources = [scope.rows("prompts", cfg.prompts, needs_response=False)]
    else:
        sources = [seeds]
        note = (
            "No file of prompts was given (prompts=FILE), so the instructions of the seeds are "
            "answered: few, and not what people ask."
        )
    how = {"base": base, "avoid": held_out, "note": note, **dict(cfg.pool)}
    return scope.step("pool", pool, sources, **how)


def written(scope: Any, cfg: Config, seeds: Any, held_out: Any, base: Model) -> list[Any]:
    """v1: tasks of plain self-instruct, and questions on topics of each kind."""
    sources, writer, t, q = [], scope.engine(base), cfg.topics, cfg.questions
    kinds = read_kinds(cfg.kinds or builtin("kinds"))
    if cfg.tasks:
        wanted = {"n": cfg.tasks, "avoid": [held_out], **cfg.synthesis.options(base)}
        sources.append(scope.step("synthesize", synthesize, seeds, writer, **wanted))
    if q.n:
        how = {**dict(t), "template": load(t.template, TOPIC_FIELDS)}
        form = {"format": base.prompt_format}
        topics = scope.step("topics", brainstorm, kinds, writer, **how, **form)
        how = {**dict(q), "template": load(q.template, QUESTION_FIELDS), "seeds": seeds}
        how["avoid"] = [held_out, *sources]
        sources.append(scope.step("questions", ask_about, topics, writer, **how, **form))
    return sources


def identities(run: Any, cfg: Config) -> Any:
    """Rows that say who the assistant is; none without a name or a file."""
    if not (cfg.name or cfg.identity.file) or not cfg.identity.repeats:
        return []
    rows = run.rows("identity", cfg.identity.file or builtin("identity"))
    name, repeats = cfg.name or "an assistant", cfg.identity.repeats
    return run.step("identity", identity_rows, rows, assistant=name, repeats=repeats)


def training_rows(scope: Any, answered: Any, identity: Any, base: Model, config: SftOptions) -> Any:
    """Questions and answers alone, with the identity rows: nothing of the prompt is left."""
    bare = scope.step("prune", prune, answered)
    return mixed(scope, bare, identity, base, config, EACH)


def judged(scope: Any, found: Candidates, guide: Guide, seeds: Any, shots: Any, cfg: Config) -> Any:
    """Adherence of the base, the prompted teacher and the students, on one sample of held-out tasks."""
    base = found.base
    other = scope.model("judge_model", cfg.judge_model) if cfg.judge_model != "base" else base
    rubrics = rubrics_of(cfg.judge.rubric.style, cfg.judge.rubric.templates)
    assessor = hire(scope, seeds, scope.engine(other), cfg.judge, rubrics)
    sample = drawn(scope, "sample", found.held_out, range(cfg.adherence.sample))
    asked = {"must_keep": False, **aligning(cfg, guide)}
    teacher = scope.step("teacher", align, sample, scope.engine(base), **asked)
    answers = {}
    for name, model in zip(["base", *found.names], found.models, strict=True):
        how = plainly(cfg, model, shots, unfinished="keep")
        answers[name] = scope.step(name, respond, sample, scope.engine(model), **how)
    answers = {"base": answers.pop("base"), "prompted teacher": teacher, **answers}
    by = {"principles": guide.principles, "assessor": assessor, "sampling": cfg.judge.sampling}
    by["templates"] = adherence_templates(cfg.adherence.rubric, cfg.adherence.yes_no)
    return scope.step("judge", adherence, teacher, answers, scope.engine(other), **by)


def control(
    found: Candidates, scope: Any, asked: Any, rows: Any, guide: Guide, seeds: Any, shots: Any,
    cfg: Config,
) -> dict[str, Any]:  # fmt: skip
    """Beside the result: the teacher as it is, the seeds alone, and plain answers to as many prompts."""
    base, m = found.base, cfg.measure
    plain = scope.step("plain", respond, asked, scope.engine(base), **plainly(cfg, base, shots))
    like = drawn(scope, "draw", plain, rows)
    mixes = {
        "seeds alone": mixed(scope, [], seeds, base, cfg.sft, name="seeds-mix"),
        "plain answers": mixed(scope, like, [], base, cfg.sft, EACH, name="plain-mix"),
    }
    how = {"guide": guide, "sampling": cfg.align.sampling, "nudge": cfg.align.nudge}
    how |= {"probe_seeds": (m.select_seed, m.report_seed), "probes": cfg.teacher.probes or m.probes}
    teacher = scope.step(
        "teacher-measure", evaluate_teacher, found.held_out, scope.engine(base), **how
    )
    trained = cfg.sft.like(len(rows))
    others = found.controls(scope, mixes, trained, shots, scale=cfg.lora_scale)
    return {"prompted teacher": teacher, **others}


def plainly(cfg: Config, model: Model, shots: Any, **more: Any) -> dict[str, Any]:
    """Answering without principles, as `respond` takes it."""
    shown = shots if model.prompt_format == "raw" else []
    return {"shots": shown, "sampling": cfg.align.sampling, **more}
