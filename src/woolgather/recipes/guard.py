"""Training rows beside what models are measured on, in every method alike.

The one idea: what reports must not be learned by heart. Each iteration counts the rows that overlap;
where it is asked for they are set aside, in the controls too, so that all train on the same terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.rows import Example, PreferencePair
from woolgather.ops.curate.contamination import Contamination, count_overlap, set_overlap_aside
from woolgather.ops.measure.tax.questions import QuestionSet, read_questions
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common

STEP = "contamination"


@dataclass(frozen=True)
class Guard:
    """What training rows are compared with, by what it is called, and how."""

    against: Mapping[str, Rows[Example] | Sequence[Example]]
    how: Contamination
    questions: QuestionSet | None
    """Multiple-choice questions that models must not unlearn, nor learn by heart; None without them."""


def open_guard(
    run: Scope, cfg: Common, measured: Sequence[Rows[Example] | Sequence[Example]]
) -> Guard:
    """Returns the guard for rows of a run that is measured on `measured` (`list_measured`) and on the
    files that the settings name. Raises InputError or ConfigError for one that cannot be read."""
    against = dict(zip(("held-out tasks", "probes"), measured, strict=False))
    questions = read_questions(cfg.measure.guard) if cfg.measure.guard else None
    if questions:
        against["guard questions"] = questions
    named = cfg.contamination.against
    sources = filter(None, [named] if isinstance(named, str) else named)
    for number, source in enumerate(sources):
        name = Path(source).name
        name = name if name not in against else f"{name} ({number + 1})"
        against[name] = run.rows(f"against{number}", source, needs_response=False)
    return Guard(against, cfg.contamination, questions)


def guard_rows(scope: Scope, rows: Rows[Example], guard: Guard) -> Rows[Example]:
    """Returns the rows that an iteration trains on: all of them, counted, or those left."""
    if guard.how.remove:
        return guard_control(scope, rows, guard, STEP)
    count_rows(scope, rows, guard)
    return rows


def guard_control(scope: Scope, rows: Rows[Example], guard: Guard, name: str) -> Rows[Example]:
    """Returns what is left of rows where overlapping ones are set aside; else all, uncounted."""
    if not guard.how.remove:
        return rows
    return scope.step(name, set_overlap_aside, rows, against=guard.against, how=guard.how)


def count_rows(scope: Scope, rows: Rows[Example] | Rows[PreferencePair], guard: Guard) -> None:
    """Counts the rows that overlap with what is measured, for the report."""
    scope.step(STEP, count_overlap, rows, against=guard.against, how=guard.how)
