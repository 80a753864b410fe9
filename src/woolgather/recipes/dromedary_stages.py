"""Stretches of Dromedary: its prompts, its guide, adherence and controls, with their settings.

The one idea: the recipe is a page because these are here. Each function adds the steps of one stretch
to a scope and returns what the next one needs; nothing is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from woolgather.artifacts import Model
from woolgather.engines.base import Sampling
from woolgather.ops.adherence import adherence, adherence_templates
from woolgather.ops.align import ReplyRules, align, identity_rows, prune
from woolgather.ops.guide import FIELDS, Guide
from woolgather.ops.instruction_rules import InstructionRules
from woolgather.ops.keep import KeepRule, keep
from woolgather.ops.mix import MixOptions, mix
from woolgather.ops.novelty import NoveltyOptions
from woolgather.ops.pool import pool
from woolgather.ops.replies import BLOCK_FIELDS
from woolgather.ops.respond import respond
from woolgather.ops.rubrics import rubrics_of
from woolgather.ops.rules import ResponseRules
from woolgather.ops.synthesize import synthesize
from woolgather.ops.teacher import evaluate_teacher
from woolgather.ops.topics import QUESTION_FIELDS, TOPIC_FIELDS, ask_about, brainstorm
from woolgather.options import Options
from woolgather.principles import builtin, read_exemplars, read_kinds, read_principles
from woolgather.prompts import load
from woolgather.recipes.stages import hire, measure, train
from woolgather.training.job import SftOptions

if TYPE_CHECKING:
    from woolgather.recipes.dromedary import Config


class Topics(Options):
    """v1: topics of each kind of question."""

    rounds: int = Field(default=5, ge=1)
    """Each round is shown some topics of those before."""
    calls: int = Field(default=1, ge=1)
    """Prompts for each kind in a round."""
    per_call: int = Field(default=10, ge=1)
    max_words: int = Field(default=3, ge=1)
    """Topics with more words are set aside."""
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=96)
    template: str = "topics"
    """One of our templates, or the path of a .md file."""


class Questions(Options):
    """v1: questions on (kind, topic)."""

    n: int = Field(default=4_000, ge=0)
    """Accepted questions; 0 leaves them out."""
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=96)
    rules: InstructionRules = InstructionRules()
    novelty: NoveltyOptions = NoveltyOptions()
    template: str = "questions"
    """One of our templates, or the path of a .md file."""


class Pooling(Options):
    """Which prompts are answered."""

    min_tokens: int = Field(default=2, ge=0)
    """Shorter prompts are set aside."""
    max_tokens: int | None = Field(default=256, ge=1)
    """Longer prompts are set aside; None keeps all."""
    limit: int | None = Field(default=None, ge=1)
    """A random choice of this many when there are more; None answers all."""


class Aligning(Options):
    """Answering under the principles."""

    template: str = "align"
    """Who the assistant is: one of our templates, or the path of a .md file."""
    block: str = "align-block"
    """How a worked question is laid out: one of our templates, or the path of a .md file."""
    exemplars: int | None = Field(default=None, ge=0)
    """Exemplars shown, the first of the file; None shows all. Fewer make a shorter prompt."""
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=512)
    nudge: bool = True
    """A reply with a thought and no answer is given the answer's label and asked to go on."""
    rules: ReplyRules = ReplyRules()


class Identity(Options):
    """Rows that say who the assistant is."""

    file: str = ""
    """File of questions and answers in which {{name}} is filled in; empty takes ours (12), where
    `name` is given."""
    repeats: int = Field(default=1, ge=0)
    """Times each is in the training rows; 0 leaves them out."""


class Verbose(Options):
    """v1, stage 4: the engraved model answers at length, and the base is trained on that."""

    use: bool = True
    template: str = "verbose"
    """The teacher's system turn: one of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(
        temperature=0.3, top_p=0.7, max_tokens=512, repetition_penalty=1.1
    )
    rules: ResponseRules = ResponseRules()
    max_length: int = Field(default=768, ge=16)
    """Tokens in a row of this stage; all else is as in `sft`."""


class Adherence(Options):
    """Judging whether answers keep to the principles."""

    sample: int = Field(default=40, ge=0)
    """Held-out tasks that base, prompted teacher and students answer for it; 0 leaves it out."""
    rubric: str = "adherence-rubric"
    """One of our templates, or the path of a .md file; for judges that score."""
    yes_no: str = "adherence-yes-no"
    """The same for judges whose Yes and No are compared."""


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
    if cfg.variant == "v2" and cfg.prompts:
        sources = [scope.rows("prompts", cfg.prompts, needs_response=False)]
    elif cfg.variant == "v2":
        sources = [seeds]
        note = (
            "No file of prompts was given (prompts=FILE), so the instructions of the seeds are "
            "answered: few, and not what people ask."
        )
    else:
        kinds = read_kinds(cfg.kinds or builtin("kinds"))
        writer = scope.engine(base)
        if cfg.tasks:
            sources.append(
                scope.step(
                    "synthesize",
                    synthesize,
                    seeds,
                    writer,
                    n=cfg.tasks,
                    avoid=[held_out],
                    **cfg.synthesis.options(base),
                )
            )
        if cfg.questions.n:
            t, q = cfg.topics, cfg.questions
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
                format=base.prompt_format,
            )
            sources.append(
                scope.step(
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
                    format=base.prompt_format,
                )
            )
    fields = cfg.pool.model_dump()
    return scope.step("pool", pool, sources, base=base, avoid=held_out, note=note, **fields)


def identities(run: Any, cfg: Config) -> Any:
    """Rows that say who the assistant is; none without a name or a file."""
    if not (cfg.name or cfg.identity.file) or not cfg.identity.repeats:
        return []
    rows = run.rows("identity", cfg.identity.file or builtin("identity"))
    name, repeats = cfg.name or "an assistant", cfg.identity.repeats
    return run.step("identity", identity_rows, rows, assistant=name, repeats=repeats)


def training_rows(scope: Any, answered: Any, identity: Any, base: Model, config: SftOptions) -> Any:
    """Questions and answers alone, with the identity rows: nothing of the prompt is left."""
    return scope.step(
        "mix",
        mix,
        scope.step("prune", prune, answered),
        identity,
        base=base,
        max_length=config.max_length,
        max_rows=config.max_rows,
        options=MixOptions(seeds=True, one_per_prompt=False),
    )


def judged(
    scope: Any, models: list[Model], names: list[str], guide: Guide, seeds: Any, held_out: Any,
    shots: Any, cfg: Config,
) -> Any:  # fmt: skip
    """Adherence of the base, the prompted teacher and the students, on one sample of held-out tasks."""
    base = models[0]
    other = scope.model("judge", cfg.judge_model) if cfg.judge_model != "base" else base
    rubrics = rubrics_of(cfg.judge.rubric.style, cfg.judge.rubric.templates)
    assessor = hire(scope, seeds, scope.engine(other), cfg.judge, rubrics)
    drawn = scope.step(
        "sample", keep, held_out, rule=KeepRule(by="random"), limit=cfg.adherence.sample
    )
    teacher = scope.step(
        "teacher", align, drawn, scope.engine(base), must_keep=False, **aligning(cfg, guide)
    )
    answers = {}
    for name, model in zip(["base", *names], models, strict=True):
        answers[name] = scope.step(
            name,
            respond,
            drawn,
            scope.engine(model),
            shots=shots if model.prompt_format == "raw" else [],
            sampling=cfg.align.sampling,
            unfinished="keep",
        )
    return scope.step(
        "judge",
        adherence,
        teacher,
        {"base": answers.pop("base"), "prompted teacher": teacher, **answers},
        scope.engine(other),
        principles=guide.principles,
        assessor=assessor,
        templates=adherence_templates(cfg.adherence.rubric, cfg.adherence.yes_no),
        sampling=cfg.judge.sampling,
    )


def control(
    scope: Any, base: Model, asked: Any, rows: Any, guide: Guide, seeds: Any, held_out: Any,
    shots: Any, cfg: Config,
) -> dict[str, Any]:  # fmt: skip
    """What the same effort buys without the method: the teacher as it is, the base few-shot, the
    seeds alone, and plain answers to as many prompts; trained with as many updates."""
    plain = scope.step(
        "plain",
        respond,
        asked,
        scope.engine(base),
        shots=shots if base.prompt_format == "raw" else [],
        sampling=cfg.align.sampling,
    )
    drawn = scope.step("draw", keep, plain, rule=KeepRule(by="random"), limit=max(1, len(rows)))
    how = {"base": base, "max_length": cfg.sft.max_length}
    mixed = {
        "seeds alone": scope.step("seeds-mix", mix, [], seeds, options=MixOptions(), **how),
        "plain answers": scope.step(
            "plain-mix", mix, drawn, [], options=MixOptions(one_per_prompt=False), **how
        ),
    }
    found = {
        "prompted teacher": scope.step(
            "teacher-measure",
            evaluate_teacher,
            held_out,
            scope.engine(base),
            guide=guide,
            sampling=cfg.align.sampling,
            nudge=cfg.align.nudge,
            probes=cfg.measure.probes,
            probe_seeds=(cfg.measure.select_seed, cfg.measure.report_seed),
        ),
        "few-shot base": measure(
            scope, "fewshot-measure", base, held_out, cfg.measure, shots=shots
        ),
    }
    for name, given in mixed.items():
        step = name.replace(" ", "-")
        model = train(scope, step, base, given, cfg.sft.like(len(rows)), cfg.lora_scale)
        found[name] = measure(scope, f"{step}-measure", model, held_out, cfg.measure)
    return found
