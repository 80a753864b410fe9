"""How often one model's answer is preferred to another's, by a judge that may be asked.

The one idea: a judge that chose the training data prefers what it chose, and one that failed its
audition prefers nothing. So a win rate is measured only by a judge model that selected no data in
this run and whose assessor passed; in every other case it is None, "not measured", with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized

from woolgather.core.artifacts import Choice, Metrics, Model
from woolgather.core.expected import Expected
from woolgather.core.intervals import rate_interval
from woolgather.core.op import op
from woolgather.core.rows import Example, question
from woolgather.core.views import alarm, table, table_cell
from woolgather.engines.base import Engine
from woolgather.ops.judge.assessors import (
    Assessor,
    Questionnaire,
    assessor_of,
    calls_per_row,
    combine_verdicts,
    rate,
)
from woolgather.ops.text.item_ids import item_ids


def _work(
    ours: Iterable[Example],
    theirs: Iterable[Example],
    engine: Engine,
    *,
    assessor: Assessor | Choice,
    asked: Questionnaire,
    **_: object,
) -> Expected:
    count = len(ours) if isinstance(ours, Sized) else 0
    chosen = assessor_of(assessor)
    calls = 2 * count * calls_per_row(chosen, asked.rubrics)
    written = calls if chosen.kind == "rubric" else 0
    return Expected(calls=calls, new_tokens=written * asked.sampling.max_tokens)


@op("win_rate", version=3, expects=_work, needs={"ours": ("response",), "theirs": ("response",)})
def win_rate(
    ours: Iterable[Example],
    theirs: Iterable[Example],
    engine: Engine,
    *,
    assessor: Assessor | Choice,
    selected_with: Sequence[Model] = (),
    asked: Questionnaire = Questionnaire(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Metrics:
    """Returns the share of tasks on which our answer is rated above theirs, ties half: `win_rate`.

    `ours` and `theirs` are answers to the same tasks, matched by instruction and input.
    `selected_with` are the models that rated training data in this run. None, with `why`, unless
    the assessor passed its audition and the judge is none of those models. Items: `wins` by
    task, None where a verdict could not be read.
    """
    chosen = assessor_of(assessor)
    why = _unfit(chosen, engine, selected_with)
    if why:
        return _explain_unmeasured(why)
    other = {question(row): row for row in theirs}
    pairs = [(row, other[question(row)]) for row in ours if question(row) in other]
    if not pairs:
        return _explain_unmeasured("the two sides answered no task in common")
    rows = [row for pair in pairs for row in pair]
    scores = [combine_verdicts(v) for v in rate(rows, engine, chosen, asked, seed=seed)]
    wins = {
        name: _win(scores[2 * i], scores[2 * i + 1])
        for i, name in enumerate(item_ids(mine for mine, _ in pairs))
    }
    known = [w for w in wins.values() if w is not None]
    found = rate_interval(known)
    why = "" if found else "no verdict could be read"
    values = {"win_rate": table_cell(found), "why": why, "unreadable": len(wins) - len(known)}
    shown = [
        ["win rate, ties half", table_cell(found, "percent")],
        ["tasks: ours is preferred", known.count(1.0)],
        ["tasks: both are equal", known.count(0.5)],
        ["tasks: theirs is preferred", known.count(0.0)],
    ]
    views = (table("Preferred", ["measure", "value"], shown),)
    said = f"preferred {found.format('.1f', 100, ' %')}" if found else f"not measured: {why}"
    return Metrics(values, {"wins": wins}, views=views, headline=said)


def _explain_unmeasured(why: str) -> Metrics:
    told = alarm("Win rate not measured", f"Not measured: {why}.", "note")
    headline = f"not measured: {why}"
    return Metrics({"win_rate": None, "why": why}, views=(told,), headline=headline)


def _unfit(assessor: Assessor, engine: Engine, selected_with: Sequence[Model]) -> str:
    if any(engine.model.fingerprint == model.fingerprint for model in selected_with):
        return "this judge selected training data, so it would rate its own choice"
    if assessor.fit is not True:
        return f"assessor {assessor.kind} has not passed an audition"
    return ""


def _win(mine: float | None, theirs: float | None) -> float | None:
    if mine is None or theirs is None:
        return None
    return 0.5 + 0.5 * ((mine > theirs) - (mine < theirs))
