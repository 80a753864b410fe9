"""Dromedary (SELF-ALIGN, arXiv 2305.03047, and its second version): a model answers under written
principles, and is trained on the answers without them.

Defaults are variant v2, in our numbers where the paper has none; presets `paper` (v1) and `paper-v2`
are the papers'. Departures in all: principles, exemplars, kinds of question and prompts are our own
(each a file to edit); exemplars that leak into answers are found by runs of words, not by a list of
words; one end token is trained. In `default` only: a reply without a label for its answer is asked to
go on, unfinished answers are set aside, controls are trained, and the result is the best candidate,
the base included. A base in 4 bits is for GPUs; elsewhere the same adapter learns on a plain one.
docs/dromedary.md maps every parameter.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from woolgather.artifacts import Model
from woolgather.ops.align import align
from woolgather.ops.respond import fixed_shots, respond
from woolgather.ops.rules import ResponseRules, apply_rules
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.side_by_side import side_by_side
from woolgather.principles import Variant
from woolgather.prompts import fill, load
from woolgather.recipes.dromedary_stages import (
    Adherence,
    Aligning,
    Identity,
    Pooling,
    Questions,
    Topics,
    Verbose,
    aligning,
    control,
    guide_of,
    identities,
    judged,
    prompts,
    training_rows,
)
from woolgather.recipes.stages import (
    Common,
    Judging,
    Synthesis,
    hand_over,
    measure,
    opened,
    train,
    win_rate_of,
)
from woolgather.training.job import LoraOptions, SftOptions

METHOD = {
    "v1": "SELF-ALIGN (arXiv 2305.03047)",
    "v2": "SELF-ALIGN, second version (after arXiv 2305.03047)",
}


class Config(Common):
    """Settings of Dromedary."""

    variant: Variant = "v2"
    """v1: the model writes its prompts, and a verbose stage follows; v2: prompts are given."""
    name: str = ""
    """What the assistant is called; empty: it has no name, and no identity rows of ours are used."""
    principles: str = ""
    """File of principles, `- name: text` items; empty takes ours of the variant (16 or 17)."""
    exemplars: str = ""
    """File of worked questions, JSON lines; empty takes ours of the variant (5 or 6)."""
    kinds: str = ""
    """v1: file of kinds of question, `- name: text` items; empty takes ours (20)."""
    prompts: str = ""
    """v2: file or folder of prompts, in any format that seeds may have; responses are not used.
    Empty takes the instructions of the seeds."""
    tasks: int = Field(default=10_000, ge=0)
    """v1: accepted tasks of plain self-instruct; 0 leaves them out."""
    synthesis: Synthesis = Synthesis()
    topics: Topics = Topics()
    questions: Questions = Questions()
    pool: Pooling = Pooling()
    align: Aligning = Aligning()
    rules: ResponseRules = ResponseRules()
    identity: Identity = Identity()
    sft: SftOptions = SftOptions(
        lora=LoraOptions(r=64, alpha=16),
        learning_rate=1e-4,
        epochs=1,
        batch_size=128,
        warmup_updates=0.03,
        validation=0.05,
    )
    lora_scale: float = Field(default=1.0, ge=0)
    """How much of each trained adapter is merged: 0 is the base, 1 all of it."""
    verbose: Verbose = Verbose()
    judge_model: str = "base"
    """base: the base judges adherence; else the name of another model."""
    judge: Judging = Judging(candidates=("rubric", "expected", "yes_no"))
    adherence: Adherence = Adherence()
    patience: int | None = Field(default=None, ge=1)
    """v1: 1 leaves out the verbose stage when the engraved model is no better than the base; None
    never does."""


def recipe(run: Any, cfg: Config) -> Model:
    """The stages; see the module's docstring. `run` is a Run or a Scope."""
    guide = guide_of(cfg)
    seeds, held_out, base = opened(run, cfg)
    asked = prompts(run.scope("prompts"), cfg, seeds, held_out, base)
    identity = identities(run, cfg)

    models, measures = [base], [measure(run, "measure", base, held_out, cfg.measure)]
    it = run.scope("engrave")
    answered = it.step("align", align, asked, run.engine(base), **aligning(cfg, guide))
    clean = it.step("rules", apply_rules, answered, rules=cfg.rules, seeds=seeds)
    rows = training_rows(it, clean, identity, base, cfg.sft)
    models.append(train(it, "train", base, rows, cfg.sft, cfg.lora_scale))
    measures.append(measure(it, "measure", models[-1], held_out, cfg.measure))

    names = ["engraved"]
    verbose = cfg.variant == "v1" and cfg.verbose.use
    if verbose:
        by = {"patience": cfg.patience, "by": cfg.select_by, "names": names}
        verbose = not run.step("stop", should_stop, measures, **by).value
    if verbose:
        it = run.scope("clone")
        long = it.step(
            "respond",
            respond,
            asked,
            run.engine(models[-1]),
            sampling=cfg.verbose.sampling,
            system=fill(load(cfg.verbose.template)),
            unfinished="keep",  # the rules decide
        )
        clean_long = it.step("rules", apply_rules, long, rules=cfg.verbose.rules, seeds=seeds)
        config = cfg.sft.model_copy(update={"max_length": cfg.verbose.max_length})
        long_rows = training_rows(it, clean_long, identity, base, config)
        models.append(train(it, "train", base, long_rows, config, cfg.lora_scale))
        measures.append(measure(it, "measure", models[-1], held_out, cfg.measure))
        names.append("cloned")
        run.step(
            "verbose-tax", side_by_side, *measures[1:], names=names, title="What verbosity costs"
        )

    shots = run.step("shots", fixed_shots, seeds)
    if cfg.adherence.sample and cfg.judge.assessor != "none":
        judged(run.scope("adherence"), models, names, guide, seeds, held_out, shots, cfg)
    chosen = run.step("select", select_model, measures, by=cfg.select_by, names=names)
    wins = win_rate_of(run, models[chosen.value], base, seeds, held_out, cfg.measure, raters=[])
    controls = {}
    if cfg.controls:
        controls = control(
            run.scope("control"), base, asked, rows, guide, seeds, held_out, shots, cfg
        )
    facts = {"variant": cfg.variant, "principles": len(guide.principles), "seeds": len(seeds)}
    return hand_over(
        run, models, measures, chosen, cfg=cfg, controls=controls, method=METHOD[cfg.variant],
        facts=facts, names=names, wins=wins,
    )  # fmt: skip
