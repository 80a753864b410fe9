"""Do answers keep to the principles? A judge reads each against those that were named for its question.

The one idea: the thought of the prompted teacher says which principles a question calls for; every
model's answer to it is then read against these and no others, one verdict per principle. So all models
answer to the same demands, and none chooses its own. The judge is the one that the audition chosen,
as far as it can be asked such a question: by rubric, by its expected score, or by yes and no.

A verdict that cannot be read is None and counts in no mean; so does a question without a tag.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from woolgather.core.artifacts import Choice, Dataset, Metrics
from woolgather.core.expected import Expected
from woolgather.core.intervals import mean_interval, paired_difference
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example, question
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.judge.assessors import JUDGING, Assessor, Questionnaire, assessor_of, rate
from woolgather.ops.judge.rubrics import FIELDS, Rubric
from woolgather.ops.principles.files import Principle
from woolgather.prompting.templates import Template, fill, load, takes

PROMPT_TOKENS = 350
"""Tokens of a question to the judge, about; for plans."""
TAGS = 2
"""Principles named in a thought, about; for plans."""
_Asked = Annotated[Template, takes("principle", *FIELDS, must=("principle", "response"))]
_Kind = Literal["rubric", "expected", "yes_no"]


class Adherence(Options):
    """Judging whether answers keep to the principles."""

    sample: int = Field(default=40, ge=0)
    """Held-out tasks that base, prompted teacher and students answer for it; 0 leaves it out."""
    rubric: _Asked = load("adherence-rubric")
    """One of our templates, or the path of a .md file; for judges that score."""
    yes_no: _Asked = load("adherence-yes-no")
    """The same for judges whose Yes and No are compared."""

    # What the answers are to; `adherence` is given the answers, and these are its identity.
    execution: ClassVar[frozenset[str]] = frozenset({"sample"})


def _expect(
    teacher: Sized,
    answers: Mapping[str, Sized],
    engine: Engine,
    *,
    assessor: Assessor | Choice,
    **_: object,
) -> Expected:
    calls = len(teacher) * len(answers) * TAGS if assessor_of(assessor).kind != "none" else 0
    return Expected(calls=calls, prompt_tokens=calls * PROMPT_TOKENS)


@op("adherence", expects=_expect)
def adherence(
    teacher: Iterable[Example],
    answers: Mapping[str, Iterable[Example]],
    engine: Engine,
    *,
    principles: Sequence[Principle],
    assessor: Assessor | Choice,
    how: Adherence = Adherence(),  # noqa: B008 - frozen
    sampling: Sampling = JUDGING,
    seed: int = 0,
) -> Metrics:
    """Returns how well each model's answers keep to the principles of their questions, in [0, 1].

    `teacher` are aligned rows (align.py) whose meta has the tags; those set aside count as well, their
    tags stand. `answers` are rows by model, the first being the one that others are compared
    with; they are matched by question. An answer's adherence is the mean over its principles: the
    probability of Yes, or the score on its scale. Values: `adherence` by model (estimates),
    `against <first>` by model (paired), `judge`, `fit`. Items: `adherence:<model>` by question.
    """
    chosen = assessor_of(assessor)
    if chosen.kind == "none":
        why = "no judge was chosen"
        said = f"not measured: {why}"
        return Metrics({"adherence": None, "why": why}, views=(_note(why),), headline=said)
    kind: _Kind = "yes_no"
    if chosen.kind == "rubric" or chosen.kind == "expected":
        kind = chosen.kind
    rows = teacher.rows() if isinstance(teacher, Dataset) else teacher
    tags = {
        question(row): list(row.meta.get("principles") or ())
        for row in rows
        if isinstance(row, Example)
    }
    answered = {
        model: {question(r): r for r in found if r.response.strip() and question(r) in tags}
        for model, found in answers.items()
    }
    scores: dict[tuple[str, str, str], float | None] = {}
    for principle in principles:
        due = [
            (model, asked, row)
            for model, found in answered.items()
            for asked, row in found.items()
            if principle.name in tags[asked]
        ]
        rubric = _rubric_for(principle, how.yes_no if kind == "yes_no" else how.rubric)
        read = rate(
            [row for _, _, row in due],
            engine,
            Assessor(kind=kind),
            Questionnaire(
                rubrics=(rubric,), questions={"yes_no": rubric.template}, sampling=sampling
            ),
            seed=seed,
        )
        for (model, asked, _), verdicts in zip(due, read, strict=True):
            score = next(iter(verdicts.values())).score
            scores[model, asked, principle.name] = _scale(score, kind, rubric)
    found = _Found(tuple(answers), tuple(p.name for p in principles), tags, scores)
    return _metrics(found, kind, chosen.fit, seed)


@dataclass(frozen=True)
class _Found:
    """What the judge read."""

    models: Sequence[str]
    """The first is the one that others are compared with."""
    principles: Sequence[str]
    tags: Mapping[str, Sequence[str]]
    """Names of the principles of each question."""
    scores: Mapping[tuple[str, str, str], float | None]
    """By model, question and principle, in [0, 1]; None where a verdict cannot be read."""

    def of_model(self, model: str) -> dict[str, float | None]:
        """Returns a model's adherence by question, of those that have a tag."""
        return {
            asked: _mean([self.scores.get((model, asked, name)) for name in names])
            for asked, names in self.tags.items()
            if names
        }

    def to_principle(self, model: str, principle: str) -> float | None:
        """Returns a model's mean over the questions that have this tag, to two places."""
        value = _mean(
            [s for (m, _, name), s in self.scores.items() if m == model and name == principle]
        )
        return None if value is None else round(value, 2)


def _rubric_for(principle: Principle, asked: Template) -> Rubric:
    """Returns the question to the judge about one principle, a row's own fields still to be filled."""
    # One pass fills in the principle and leaves the row's own fields as they are; the principle
    # itself has none.
    own = fill(
        asked,
        principle=f"{principle.name}: {principle.text}".replace("{{", "{ {"),
        **{field: f"{{{{{field}}}}}" for field in FIELDS},
    )
    return Rubric(name="adherence", template=Template(asked.name, own))


def _scale(score: float | None, kind: _Kind, rubric: Rubric) -> float | None:
    """Returns a verdict in [0, 1]; None where it cannot be read."""
    if score is None:
        return None
    if kind == "yes_no":
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, score))))
    return (score - rubric.low) / (rubric.high - rubric.low)


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [s for s in scores if s is not None]
    return sum(known) / len(known) if known else None


def _metrics(found: _Found, kind: _Kind, fit: bool | None, seed: int) -> Metrics:
    first, *others = found.models
    items = {model: found.of_model(model) for model in found.models}
    known = {m: [v for v in own.values() if v is not None] for m, own in items.items()}
    means = {m: mean_interval(values, seed) for m, values in known.items()}
    gains = {m: paired_difference(items[m], items[first], seed) for m in others}
    rows = [
        [
            model,
            table_cell(means[model], "score"),
            table_cell(gains[model], "change") if model in gains else "",
            len(known[model]),
            len(items[model]) - len(known[model]),
        ]
        for model in found.models
    ]
    tagged = sum(bool(names) for names in found.tags.values())
    views: list[View] = [
        table(
            "Adherence",
            ["model", "adherence", f"against {first}", "answers read", "not read"],
            rows,
            f"{tagged} of {len(found.tags)} questions have principles named for them; judged by {kind}.",
        ),
        table(
            "Adherence by principle",
            ["principle", "questions", *found.models],
            [
                [name, count, *(found.to_principle(model, name) for model in found.models)]
                for name in found.principles
                if (count := sum(name in names for names in found.tags.values()))
            ],
        ),
    ]
    if fit is False:
        text = "The judge did not pass its audition, so these numbers may order nothing."
        views.append(alarm("Adherence by a judge that is not fit", text))
    if not tagged:
        views.append(_note("no principle was named for any question"))
    values: dict[str, JSON] = {
        "adherence": {m: table_cell(e) for m, e in means.items()},
        f"against {first}": {m: table_cell(e) for m, e in gains.items()},
        "judge": kind,
        "fit": fit,
    }
    said = ", ".join(f"{m} {e.value:.2f}" for m, e in means.items() if e) or "not measured"
    by_question = {f"adherence:{model}": own for model, own in items.items()}
    return Metrics(values, by_question, views=tuple(views), headline=said)


def _note(why: str) -> View:
    return alarm("Adherence not measured", f"Not measured: {why}.", "note")
