"""Stages of I-SHEEP that are off unless named: rows that a program verifies, and pairs that it decides.

The one idea: what decides is a check, a function in a file, so that no judge is asked; and whatever is
made so has its control, since the check is our supervision and not the model's.
"""

from __future__ import annotations

from collections.abc import Sequence

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.engines.base import Engine
from woolgather.ops.curate.constraints import CheckFile
from woolgather.ops.generate.pair_checked import FEWEST, Pairing, checked_tasks, pair_checked
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.generate.reword import reword
from woolgather.ops.generate.verify import Verifying, verify
from woolgather.ops.measure.select import best_of
from woolgather.ops.train.dpo import dpo
from woolgather.ops.train.merge import merge
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.guard import count_rows, guard_control
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.stages import measure

VERIFIED = "seeds + verified, no loop"
"""What the control is called that trains on the seeds and the base's own verified answers."""


def verify_answers(
    scope: Scope, answers: Rows[Example], samples: int, engine: Engine, how: Verifying | None
) -> list[Rows[Example]]:
    """Returns the rows with constraints that come of an iteration's answers, of which there are
    `samples` to each task; none where it is not asked for."""
    if how is None:
        return []
    phrases: Rows[Example] | Sequence[Example] = ()
    if how.paraphrases:
        phrases = scope.step(
            "reword", reword, engine, n=how.paraphrases, how=how.reword, checks=how.checks
        )
    return [scope.step("verify", verify, answers, samples=samples, how=how, phrases=phrases)]


def add_preferring(
    found: Candidates, sources: Sequence[Rows[Example]], how: Pairing, checks: CheckFile
) -> None:
    """Adds a candidate that starts from the last one and was trained to prefer those of its own answers
    that pass; none where too few pairs come out. Its tasks are those of `sources` with a check."""
    scope, model, guard = found.run.scope("pairs"), found.last, found.guard
    tasks = scope.step("tasks", checked_tasks, sources, limit=how.prompts)
    tasks = guard_control(scope, tasks, guard, "tasks-contamination")
    asked = Responding(sampling=how.sampling, samples=how.samples)
    answers = scope.step("respond", respond, tasks, scope.engine(model), how=asked)
    pairs = scope.step("pairs", pair_checked, answers, samples=how.samples, how=how, checks=checks)
    if len(pairs) < FEWEST:
        return
    count_rows(scope, pairs, guard)
    tuned = scope.step(
        "train", dpo, [pairs], start=model, reference=model, config=how.dpo,
        trainer=scope.trainer(),
    )  # fmt: skip
    found.add(scope, choose_scale(scope, tuned, how, found), name="pairs")


def choose_scale(scope: Scope, tuned: Model, how: Pairing, found: Candidates) -> Model:
    """Returns the tuned model in plain weights, with as much of its adapter as does best on what
    selects."""
    if how.dpo.lora is None:
        return tuned
    models = [
        scope.step(f"merge-{scale:g}", merge, tuned, trainer=scope.trainer(), scale=scale)
        for scale in how.lora_scale
    ]
    if len(models) == 1:
        return models[0]
    measures = [
        measure(
            scope, f"measure-{scale:g}", model, found.held_out, found.cfg.measure,
            purposes=("select",),
        )
        for scale, model in zip(how.lora_scale, models, strict=True)
    ]  # fmt: skip
    chosen = scope.step("scale", best_of, measures, by=found.cfg.select_by)
    return models[int(chosen.value)]
