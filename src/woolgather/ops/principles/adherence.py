"""Do answers keep to the principles? A judge reads each against those that were named for its question.

The one idea: the thought of the prompted teacher says which principles a question calls for; every
model's answer to it is then read against these and no others, one verdict per principle. So all models
answer to the same demands, and none chooses its own. The judge is the one that the audition hired,
as far as it can be asked such a question: by rubric, by its expected score, or by yes and no.

A verdict that cannot be read is None and counts in no mean; so does a question without a tag.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.errors import InputError
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, mean_interval, paired_difference
from woolgather.core.op import op
from woolgather.core.rows import Example, question
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.judge.assessors import JUDGING, Assessor, Questionnaire, assessor_of, rate
from woolgather.ops.judge.rubrics import FIELDS, Rubric
from woolgather.ops.principles.files import Principle
from woolgather.prompting.templates import Template, fill, load

PROMPT_TOKENS = 350
TAGS = 2
"""Principles named in a thought, about; for plans."""


def adherence_templates(
    rubric: str = "adherence-rubric", yes_no: str = "adherence-yes-no"
) -> dict[str, Template]:
    """The questions to the judge; names of ours or .md paths. Raises InputError without fields."""
    found = {}
    for kind, name in (("rubric", rubric), ("yes_no", yes_no)):
        found[kind] = load(name, FIELDS | {"principle"})
        for field in ("principle", "response"):
            if field not in found[kind].fields:
                raise InputError(f"template {name}: it must show {{{{{field}}}}}. Add the field.")
    return found


def _expect(
    teacher: Any, answers: Mapping[str, Any], engine: Engine, *, assessor: Any, **_: Any
) -> Expected:
    count = len(teacher) if isinstance(teacher, Sized) else 0
    calls = count * len(answers) * TAGS if assessor_of(assessor).kind != "none" else 0
    return Expected(calls=calls, prompt_tokens=calls * PROMPT_TOKENS)


@op("adherence", expects=_expect)
def adherence(
    teacher: Iterable[Example],
    answers: Mapping[str, Iterable[Example]],
    engine: Engine,
    *,
    principles: Sequence[Principle],
    assessor: Assessor | Choice,
    templates: Mapping[str, Template],
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
    hired = assessor_of(assessor)
    rows = teacher.rows() if hasattr(teacher, "rows") else teacher
    tags = {question(row): list(row.meta.get("principles") or ()) for row in rows}
    by_name = {p.name: p for p in principles}
    if hired.kind == "none":
        why = "nobody was hired to judge"
        said = f"not measured: {why}"
        return Metrics({"adherence": None, "why": why}, views=(_note(why),), headline=said)
    kind = hired.kind if hired.kind in ("rubric", "expected") else "yes_no"
    given = {
        model: {question(r): r for r in found if r.response.strip() and question(r) in tags}
        for model, found in answers.items()
    }
    scores: dict[tuple[str, str, str], float | None] = {}
    for name, principle in by_name.items():
        due = [
            (model, asked, row)
            for model, found in given.items()
            for asked, row in found.items()
            if name in tags[asked]
        ]
        read = _judge_principle(
            [row for _, _, row in due], engine, kind, principle, templates, sampling, seed
        )
        scores.update({(m, asked, name): s for (m, asked, _), s in zip(due, read, strict=True)})
    items = {
        f"adherence:{model}": {
            asked: _mean([scores.get((model, asked, name)) for name in names])
            for asked, names in tags.items()
            if names
        }
        for model in answers
    }
    return _metrics(items, scores, list(answers), list(by_name), tags, hired, kind, seed)


def _judge_principle(
    rows: Sequence[Example],
    engine: Engine,
    kind: str,
    principle: Principle,
    templates: Mapping[str, Template],
    sampling: Sampling,
    seed: int,
) -> list[float | None]:
    """Adherence of each row to one principle, None where it cannot be read."""
    template = templates["yes_no" if kind == "yes_no" else "rubric"]
    # One pass fills in the principle and leaves the row's own fields as they are; the principle
    # itself has none.
    own = fill(
        template,
        principle=f"{principle.name}: {principle.text}".replace("{{", "{ {"),
        **{field: f"{{{{{field}}}}}" for field in FIELDS},
    )
    filled = Template(template.name, own)
    rubric = Rubric(name="adherence", template=filled)
    assessor = Assessor.model_validate({"kind": kind})
    found = rate(
        rows,
        engine,
        assessor,
        Questionnaire(rubrics=(rubric,), questions={"yes_no": filled}, sampling=sampling),
        seed=seed,
    )
    out: list[float | None] = []
    for verdicts in found:
        score = next(iter(verdicts.values())).score
        if score is not None:
            low, high = rubric.low, rubric.high
            score = _share(score) if kind == "yes_no" else (score - low) / (high - low)
        out.append(score)
    return out


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, log_odds))))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [s for s in scores if s is not None]
    return sum(known) / len(known) if known else None


def _metrics(
    items: Mapping[str, Mapping[str, float | None]],
    scores: Mapping[tuple[str, str, str], float | None],
    models: Sequence[str],
    names: Sequence[str],
    tags: Mapping[str, Sequence[str]],
    hired: Assessor,
    kind: str,
    seed: int,
) -> Metrics:
    found: dict[str, Estimate | None] = {}
    gains: dict[str, Estimate | None] = {}
    rows = []
    for model in models:
        own = items[f"adherence:{model}"]
        known = [v for v in own.values() if v is not None]
        found[model] = mean_interval(known, seed)
        gains[model] = (
            paired_difference(own, items[f"adherence:{models[0]}"], seed)
            if model != models[0]
            else None
        )
        rows.append(
            [
                model,
                table_cell(found[model], "score"),
                table_cell(gains[model], "change") if model != models[0] else "",
                len(known),
                len(own) - len(known),
            ]
        )
    tagged = sum(bool(t) for t in tags.values())
    views: list[View] = [
        table(
            "Adherence",
            ["model", "adherence", f"against {models[0]}", "answers read", "not read"],
            rows,
            f"{tagged} of {len(tags)} questions have principles named for them; judged by {kind}.",
        ),
        table(
            "Adherence by principle",
            ["principle", "questions", *models],
            [
                [name, count, *(_by(scores, model, name) for model in models)]
                for name in names
                if (count := sum(name in t for t in tags.values()))
            ],
        ),
    ]
    if hired.fit is False:
        text = "The judge did not pass its audition, so these numbers may order nothing."
        views.append(alarm("Adherence by a judge that is not fit", text))
    if not tagged:
        views.append(_note("no principle was named for any question"))
    values: dict[str, Any] = {
        "adherence": {m: table_cell(e) for m, e in found.items()},
        f"against {models[0]}": {m: table_cell(e) for m, e in gains.items() if m != models[0]},
        "judge": kind,
        "fit": hired.fit,
    }
    said = ", ".join(f"{m} {e.value:.2f}" for m, e in found.items() if e) or "not measured"
    return Metrics(values, items, views=tuple(views), headline=said)


def _by(scores: Mapping[tuple[str, str, str], float | None], model: str, name: str) -> float | None:
    value = _mean([s for (m, _, n), s in scores.items() if m == model and n == name])
    return None if value is None else round(value, 2)


def _note(why: str) -> View:
    return alarm("Adherence not measured", f"Not measured: {why}.", "note")
