"""Rate rows with an assessor: each row comes out with its verdicts, in order, in bounded memory.

The one idea: rating and deciding are apart. A verdict is a number on the assessor's own scale with
the reply it was read from, or None when there was nothing to read; which rows stay is `keep`'s
business. Two exceptions are set aside here, because they are known faults of one assessor: rows
that mutual information says their task did not help to predict, and rows mostly copied from it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import islice

from pydantic import Field

from woolgather.core.artifacts import Choice
from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, Verdict, set_aside
from woolgather.core.views import View, alarm, histogram, table
from woolgather.engines.base import Engine
from woolgather.ops.judge.assessors import (
    Assessor,
    Questionnaire,
    assessor_of,
    calls_per_row,
    length,
    rate,
    tokens_per_call,
    verdict_names,
)
from woolgather.ops.judge.rank_correlation import spearman
from woolgather.ops.text.words import copied_share

BATCH = 256
"""Rows rated at a time: enough for any engine, little enough to stream."""
ENOUGH = 200
"""Rows after which a parse rate under the floor ends the work early."""


class InformationLimits(Options):
    """What mutual information must not be fooled by; other assessors ignore these."""

    min_information: float | None = Field(default=0.0)
    """Rows at or below it are set aside as `uninformed`: the task did not make the response more
    likely. None keeps them."""
    max_copied: float | None = Field(default=0.8, ge=0, le=1)
    """Rows with more than this share of 4-word runs from the task are set aside as `copied`; rows
    under 8 words never are. None keeps all."""


def _work(
    rows: Iterable[Example],
    engine: Engine,
    *,
    assessor: Assessor | Choice,
    asked: Questionnaire,
    **_: object,
) -> Expected:
    count = len(rows) if isinstance(rows, Sized) else 0
    chosen = assessor_of(assessor)
    calls = count * calls_per_row(chosen, asked.rubrics)
    written = chosen.kind == "rubric"
    return Expected(
        rows=count,
        calls=calls,
        prompt_tokens=calls * tokens_per_call(chosen),
        new_tokens=calls * asked.sampling.max_tokens if written else 0,
    )


@op("judge", version=2, expects=_work, needs={"rows": ("response",)})
def judge(
    rows: Iterable[Example],
    engine: Engine,
    *,
    assessor: Assessor | Choice = Assessor(),  # noqa: B008 - frozen
    asked: Questionnaire = Questionnaire(),  # noqa: B008 - frozen
    floor: float = 0.5,
    limits: InformationLimits = InformationLimits(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields every row with a verdict under each name the assessor writes; earlier verdicts stay.

    `assessor` is one given, or an audition's choice. `floor` is the least share of rows, in [0, 1],
    whose verdicts can all be read. Rows already set aside pass unrated. Raises YieldError when the
    share is under `floor`, once 200 rows are rated or at the end; CapabilityError when the engine
    has no log-probabilities and the assessor needs them.
    """
    chosen = assessor_of(assessor)
    seen = _Seen(verdict_names(chosen, asked.rubrics))
    for batch in _batches(rows):
        used = [row for row in batch if row.set_aside is None]
        found = iter(rate(used, engine, chosen, asked, seed=seed, start=seen.rated))
        for row in batch:
            if row.set_aside is not None:
                yield row
                continue
            verdicts = next(found)
            seen.add(row, verdicts)
            judged = replace(row, verdicts={**row.verdicts, **verdicts})
            yield _apply_limits(judged, chosen, limits)
        if seen.rated >= ENOUGH:
            _check_floor(chosen, seen, floor)
    _check_floor(chosen, seen, floor)
    if chosen.kind == "none" and isinstance(assessor, Assessor):
        return [alarm("Not rated", "No rating was asked for (assessor none).", "note")]
    return _views(chosen, seen)


@dataclass
class _Seen:
    """What the verdicts were so far."""

    names: Sequence[str]
    rated: int = 0
    readable: int = 0
    """Rows whose verdicts could all be read."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The readable ones, by name."""
    lengths: dict[str, list[float]] = field(default_factory=dict)
    """Words of the responses that those scores are of."""

    def __post_init__(self) -> None:
        self.scores = {name: [] for name in self.names}
        self.lengths = {name: [] for name in self.names}

    def add(self, row: Example, verdicts: Mapping[str, Verdict]) -> None:
        self.rated += 1
        self.readable += all(v.score is not None for v in verdicts.values())
        for name, verdict in verdicts.items():
            if verdict.score is not None:
                self.scores[name].append(verdict.score)
                self.lengths[name].append(length(row))


def _batches(rows: Iterable[Example]) -> Iterator[list[Example]]:
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        yield batch


def _apply_limits(row: Example, assessor: Assessor, limits: InformationLimits) -> Example:
    if assessor.kind != "mutual_information":
        return row
    score = row.verdicts["mutual_information"].score
    if score is not None and limits.min_information is not None and score <= limits.min_information:
        return set_aside(row, "uninformed")
    share = copied_share(row)
    if limits.max_copied is not None and share is not None and share > limits.max_copied:
        return set_aside(row, "copied")
    return row


def _check_floor(assessor: Assessor, seen: _Seen, floor: float) -> None:
    if seen.readable >= floor * seen.rated:
        return
    advice = {
        "rubric": "This judge does not keep to the form that the rubric asks for. Let it show the "
        "form by examples (style icl), read its likelihoods instead (assessor expected), or name "
        "a stronger judge model",
    }.get(assessor.kind, "Look at the verdicts' texts, or choose another assessor")
    raise YieldError(
        f"only {seen.readable} of {seen.rated} rows have verdicts that can be read by assessor "
        f"{assessor.kind}, and the floor is {floor:.0%}. {advice}. "
        "A lower floor goes on with what could be read; the others are never kept."
    )


def _views(assessor: Assessor, seen: _Seen) -> list[View]:
    if assessor.kind == "none":
        text = "No assessor passed its audition, so rows were not rated."
        return [alarm("Not rated", text, "warning")]
    views = [
        histogram(f"Scores: {name}", {name: values}, x=f"{name}, by {assessor.kind}")
        for name, values in seen.scores.items()
    ]
    rows = []
    for name, values in seen.scores.items():
        mean = sum(values) / len(values) if values else None
        rows.append([name, seen.rated, len(values), mean, spearman(values, seen.lengths[name])])
    columns = ["verdict", "rated", "readable", "mean", "rank correlation with length"]
    views.append(table("Verdicts", columns, rows))
    if seen.readable < 0.9 * seen.rated:
        text = f"{seen.rated - seen.readable} of {seen.rated} rows have a verdict that could not be read."
        views.append(alarm("Unreadable verdicts", f"{text} They are never kept."))
    return views
