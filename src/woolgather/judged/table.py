"""Models by rates or grades, and what has to be known to read them.

The one idea: a rate has its interval and its standard error, what could not be read is counted beside it
and never as a score, and the first note says whose numbers these are: this judge's, by our prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from woolgather.core.intervals import (
    Estimate,
    family_interval,
    paired_difference,
    rate_interval,
)
from woolgather.core.rows import JSON
from woolgather.core.views import Unit, View, alarm, table, table_cell
from woolgather.judged.answers import BenchmarkAnswer
from woolgather.judged.compare import BothOrders
from woolgather.judged.grade import Grade
from woolgather.judged.length_controlled import LengthControlled
from woolgather.judged.questions import Benchmark


@dataclass(frozen=True)
class Judged:
    """A model with its answers, and what the judge said of them."""

    name: str
    path: str
    """The file of its answers."""
    answers: Sequence[BenchmarkAnswer]
    comparisons: Sequence[BothOrders] = ()
    grades: Sequence[Grade] = ()
    length_controlled: LengthControlled | None = None
    in_turns: bool = True
    """Whether it was asked in turns; a model without a chat template is asked in blocks of text."""

    @property
    def wins(self) -> dict[str, float | None]:
        """Returns what each comparison came to, by question."""
        return {each.answer.question.id: each.win for each in self.comparisons}

    @property
    def win_rate(self) -> Estimate | None:
        """Returns the share of questions on which its answer is better than the reference, ties half."""
        return rate_interval([win for win in self.wins.values() if win is not None])

    @property
    def standard_error(self) -> float | None:
        """Returns the standard error of the win rate as AlpacaEval has it, the deviation of the verdicts
        over the root of their number; None for fewer than two."""
        known = [win for win in self.wins.values() if win is not None]
        return stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None

    @property
    def controlled_rate(self) -> float | None:
        """Returns the length-controlled rate, in [0, 1]; None where it was not measured."""
        return self.length_controlled.rate if self.length_controlled else None

    @property
    def disagreements(self) -> int:
        """Returns the number of questions on which the two orders disagree."""
        return sum(each.disagrees for each in self.comparisons)

    @property
    def unreadable(self) -> int:
        """Returns the number of questions, or of graded turns, without a readable verdict."""
        graded = (verdict for grade in self.grades for verdict in grade.verdicts)
        return list(self.wins.values()).count(None) + sum(v.score is None for v in graded)

    @property
    def characters(self) -> float:
        """Returns the mean length of an answer in characters."""
        return sum(answer.characters for answer in self.answers) / len(self.answers)

    @property
    def question_means(self) -> dict[str, float | None]:
        """Returns the mean of each question's readable scores; None where there is none."""
        means: dict[str, float | None] = {}
        for grade in self.grades:
            scores = [v.score for v in grade.verdicts if v.score is not None]
            means[grade.answer.question.id] = sum(scores) / len(scores) if scores else None
        return means

    def mean_grade(self, turn: int | None = None, category: str | None = None) -> Estimate | None:
        """Returns the mean of all readable scores from 1 to 10, or of those of a turn (from 0) or a
        category, with an interval over questions; None where there are none."""
        scores = [
            (verdict.score, grade.answer.question.id)
            for grade in self.grades
            if category in (None, grade.answer.question.category)
            for number, verdict in enumerate(grade.verdicts)
            if turn in (None, number) and verdict.score is not None
        ]
        return family_interval([score for score, _ in scores], [name for _, name in scores])


@dataclass(frozen=True)
class JudgeReport:
    """Who judged, and how its audition went."""

    name: str
    audition: str


def make_views(
    benchmark: Benchmark, judged: Sequence[Judged], judge: JudgeReport | None
) -> list[View]:
    """Returns the tables that are printed, and the notes on how to read them."""
    if judge is None:
        views = [_list_answers(benchmark, judged)]
    elif benchmark.compared:
        views = [_rates(benchmark, judged, judge)]
    else:
        views = [_grades(benchmark, judged, judge), *_categories(judged)]
    if judge and len(judged) > 1:
        views.append(_differences(judged))
    return [*views, *_notes(benchmark, judged, judge)]


def _list_answers(benchmark: Benchmark, judged: Sequence[Judged]) -> View:
    rows = [[each.name, len(each.answers), round(each.characters), each.path] for each in judged]
    head = ["model", "questions", "characters", "answers"]
    return table(f"{benchmark.title}: answers, not judged", head, rows)


def _rates(benchmark: Benchmark, judged: Sequence[Judged], judge: JudgeReport) -> View:
    is_controlled = any(each.controlled_rate is not None for each in judged)
    rows: list[list[JSON]] = []
    for each in judged:
        wins = list(each.wins.values())
        rows.append(
            [
                each.name,
                table_cell(each.win_rate, "percent"),
                table_cell(each.standard_error, "percent"),
                *([table_cell(each.controlled_rate, "percent")] if is_controlled else []),
                "/".join(str(wins.count(win)) for win in (1.0, 0.5, 0.0)),
                each.disagreements,
                each.unreadable,
                round(each.characters),
            ]
        )
    references = [answer.question.references[0] for answer in judged[0].answers]
    mean = round(sum(map(len, references)) / len(references))
    rows.append(["(reference)", *[None] * (len(rows[0]) - 2), mean])
    head = [
        "model",
        "win rate",
        "standard error",
        *(["length-controlled"] if is_controlled else []),
        "won/tied/lost",
        "orders disagree",
        "unreadable",
        "characters",
    ]
    count, against = len(references), judged[0].answers[0].question.generator
    title = f"{benchmark.title}: {count} questions, against {against}, judged by {judge.name}"
    return table(title, head, rows)


def _grades(benchmark: Benchmark, judged: Sequence[Judged], judge: JudgeReport) -> View:
    turns = range(benchmark.turns) if benchmark.turns > 1 else ()
    rows = [
        [
            each.name,
            table_cell(each.mean_grade()),
            *(table_cell(each.mean_grade(turn)) for turn in turns),
            each.unreadable,
            round(each.characters),
        ]
        for each in judged
    ]
    head = ["model", "mean grade", *(f"turn {t + 1}" for t in turns), "unreadable", "characters"]
    count = len(judged[0].answers)
    return table(
        f"{benchmark.title}: {count} questions, graded 1 to 10 by {judge.name}", head, rows
    )


def _categories(judged: Sequence[Judged]) -> list[View]:
    names = categories_of(judged)
    if len(names) < 2:
        return []
    rows = [
        [name, *(table_cell(each.mean_grade(category=name)) for each in judged)] for name in names
    ]
    return [table("Mean grade by category", ["category", *(each.name for each in judged)], rows)]


def categories_of(judged: Sequence[Judged]) -> list[str]:
    """Returns the categories of the questions, each once, in their order."""
    return list(dict.fromkeys(answer.question.category for answer in judged[0].answers))


def compare_models(mine: Judged, first: Judged) -> Estimate | None:
    """Returns the difference to the first model on the questions where both have a readable verdict: in
    win rate, or in grade."""
    if mine.comparisons:
        return paired_difference(mine.wins, first.wins)
    return paired_difference(mine.question_means, first.question_means)


def _differences(judged: Sequence[Judged]) -> View:
    first, *others = judged
    unit: Unit = "points" if first.comparisons else "change"
    rows = [[each.name, table_cell(compare_models(each, first), unit)] for each in others]
    return table(f"Against {first.name}, question by question", ["model", "difference"], rows)


def _notes(
    benchmark: Benchmark, judged: Sequence[Judged], judge: JudgeReport | None
) -> Iterator[View]:
    if judge is None:
        text = "Nothing was judged. Name a judge: --serve win_judge=URL#NAME, or --win-judge MODEL."
        yield alarm("no judge", text, "note")
    else:
        yield alarm(
            "whose numbers",
            f"These numbers are those of {judge.name} as a judge, asked by woolgather's own prompts. "
            f"With another judge or another prompt they are other numbers: they are not "
            f"{benchmark.title} as it is published, and cannot be set beside it.",
            "note",
        )
        yield alarm("audition", f"Audition of the judge: {judge.audition}.", "note")
        yield from (alarm("judging", text, "note") for text in _judging_notes(judged, judge))
    yield from (alarm("answers", text, "note") for text in _answer_notes(judged))


def _judging_notes(judged: Sequence[Judged], judge: JudgeReport) -> Iterator[str]:
    for each in judged:
        if each.disagreements:
            yield (
                f"On {each.disagreements} of {len(each.comparisons)} questions the verdict on "
                f"{each.name} changed with the order of the two answers; these are ties."
            )
        if each.unreadable:
            yield (
                f"{each.unreadable} verdicts on {each.name} could not be read and are in no mean; the "
                "replies are beside the answers."
            )
    known = sum(bool(grade.answer.question.references) for grade in judged[0].grades)
    if known:
        yield f"The judge was shown reference answers to {known} of the questions."
    generator = judged[0].answers[0].question.generator
    if generator and generator == judge.name:
        yield f"The references are {generator}'s own: a judge tends to prefer its own answers."
    controlled = judged[0].length_controlled
    if controlled and controlled.why:
        yield f"The length-controlled rate was not measured: {controlled.why}."


def _answer_notes(judged: Sequence[Judged]) -> Iterator[str]:
    for each in judged:
        cut, missing = (sum(getattr(a, what) for a in each.answers) for what in ("cut", "missing"))
        if cut:
            yield f"{cut} answers of {each.name} were cut at their limit; --max-tokens raises it."
        if missing:
            yield (
                f"{missing} questions did not fit into the context of {each.name}; their answers are "
                "empty."
            )
        if not each.in_turns:
            yield f"{each.name} has no chat template and was asked in blocks of text."


def to_json(
    benchmark: Benchmark, judged: Sequence[Judged], judge: JudgeReport | None
) -> dict[str, JSON]:
    """Returns the same as plain data, with every interval."""
    return {
        "suite": benchmark.name,
        "questions": len(judged[0].answers),
        "judge": judge and {"name": judge.name, "audition": judge.audition},
        "models": [
            {
                "model": each.name,
                "answers": each.path,
                "characters": each.characters,
                **(_measures(each, judged) if judge else {}),
                **(_against_first(each, judged[0]) if judge and each is not judged[0] else {}),
            }
            for each in judged
        ],
    }


def _measures(each: Judged, judged: Sequence[Judged]) -> dict[str, JSON]:
    if each.comparisons:
        wins, controlled = list(each.wins.values()), each.length_controlled
        return {
            "win_rate": _json(each.win_rate),
            "standard_error": each.standard_error,
            "length_controlled": controlled and vars(controlled),
            "wins": wins.count(1.0),
            "ties": wins.count(0.5),
            "losses": wins.count(0.0),
            "orders_disagree": each.disagreements,
            "unreadable": each.unreadable,
        }
    turns = max(len(grade.verdicts) for grade in each.grades)
    return {
        "mean": _json(each.mean_grade()),
        "turns": [_json(each.mean_grade(turn)) for turn in range(turns)],
        "categories": {
            name: _json(each.mean_grade(category=name)) for name in categories_of(judged)
        },
        "unreadable": each.unreadable,
    }


def _against_first(each: Judged, first: Judged) -> Mapping[str, JSON]:
    return {"against_first": _json(compare_models(each, first))}


def _json(found: Estimate | None) -> JSON:
    return found and found.json()
