"""Dromedary (SELF-ALIGN, arXiv 2305.03047, and its second version): a model answers under written
principles, and is trained on the answers without them.

Defaults are variant v2, in our numbers where the paper has none; presets `paper` (v1) and `paper-v2`
are the papers'. Departures in all: principles, exemplars, kinds of question and prompts are our own
(each a file to edit); exemplars that leak into answers are found by runs of words, not by a list of
words; one end token is trained, and none where an answer was cut. In `default` only: a reply without
a label for its answer is asked to go on, unfinished answers are set aside, controls are trained, and
the result is the best candidate, the base included. A base in 4 bits is for GPUs; elsewhere the same
adapter learns on a plain one.
docs/dromedary.md maps every parameter.
"""

from __future__ import annotations

from woolgather.core.artifacts import Metrics, Model
from woolgather.ops.curate.response_rules import apply_rules
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.ops.measure.summary import side_by_side
from woolgather.ops.principles.align import align
from woolgather.prompting.templates import fill
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.dromedary.config import Config
from woolgather.recipes.dromedary.stages import (
    Trained,
    control,
    judge_adherence,
    open_beside,
    prompts,
    read_inputs,
    training_rows,
)
from woolgather.recipes.guard import guard_rows, open_guard
from woolgather.recipes.scope import Scope
from woolgather.recipes.stages import Tuning, train

__all__ = ["Config", "recipe"]

METHOD = {
    "v1": "SELF-ALIGN (arXiv 2305.03047)",
    "v2": "SELF-ALIGN, second version (after arXiv 2305.03047)",
}


def recipe(run: Scope, cfg: Config) -> Model:
    """The stages; see the module's docstring. `run` is a Run or a Scope."""
    given = read_inputs(run, cfg)
    seeds, base = given.seeds, given.base
    asked = prompts(run.scope("prompts"), given)
    beside = open_beside(run, cfg)

    guard = open_guard(run, cfg, given.measured)
    found = Candidates(run, cfg, base, given.held_out, guard)
    it = run.scope("engrave")
    answered = it.step("align", align, asked, run.engine(base), guide=given.guide, how=cfg.align)
    clean = it.step("rules", apply_rules, answered, rules=cfg.rules, seeds=seeds)
    rows = guard_rows(it, training_rows(it, clean, beside, base, cfg.sft), guard)
    engraved = train(it, "train", base, rows, Tuning(cfg.sft, cfg.lora_scale))
    found.add(it, engraved, name="engraved")

    if cfg.variant == "v1" and cfg.verbose.use and not found.stop(run):
        it, v = run.scope("clone"), cfg.verbose
        long = it.step(
            "respond",
            respond,
            asked,
            run.engine(engraved),
            how=Responding(sampling=v.sampling, unfinished="keep"),  # the rules decide
            system=fill(v.template),
        )
        clean_long = it.step("rules", apply_rules, long, rules=v.rules, seeds=seeds)
        config = cfg.sft.model_copy(update={"max_length": v.max_length})
        mixed = training_rows(it, clean_long, beside, base, config)
        long_rows = guard_rows(it, mixed, guard)
        cloned = train(it, "train", base, long_rows, Tuning(config, cfg.lora_scale))
        found.add(it, cloned, name="cloned")
        short, verbose = found.measures[1:]
        title = "What verbosity costs"
        run.step("verbose-tax", side_by_side, short, verbose, names=found.names, title=title)

    shots = run.step("shots", fixed_shots, seeds)
    if cfg.adherence.sample and cfg.judge.assessor != "none":
        judge_adherence(run.scope("adherence"), found, given, shots)
    chosen = found.choose()
    controls: dict[str, Metrics] = {}
    if cfg.controls:
        controls = control(
            run.scope("control"), found, given, asked, Trained(clean, beside, rows), shots
        )
    facts = {
        "method": METHOD[cfg.variant],
        "variant": cfg.variant,
        "principles": len(given.guide.principles),
        "seeds": len(seeds),
    }
    return found.hand_over(chosen, controls, facts=facts, seeds=seeds)
