"""Multiple-choice questions as a guard: what the base knows, a candidate must not have lost.

The one idea: a guard vetoes and never praises. The letter of each option is scored as the next text after
the question, in the same plain text for every model, as the field asks such questions; the likeliest
letter is the answer. A candidate is vetoed where the whole paired interval of its difference to the base
lies below the margin that it may lose.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from woolgather.core.artifacts import Metrics
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, paired_difference, rate_interval
from woolgather.core.op import op
from woolgather.core.views import View, alarm, table_cell
from woolgather.engines.base import Engine
from woolgather.ops.measure.tax.questions import LETTERS, Question, QuestionSet

ITEMS = "guard"
"""Where the outcomes of the questions stand among a measure's items."""


def _expect(asked: QuestionSet, *_: object, **__: object) -> Expected:
    letters = sum(len(spell_question(question)) for question in asked.questions)
    return Expected(calls=len(asked), prompt_tokens=letters // 3)


@op("guard", expects=_expect)
def answer_questions(asked: QuestionSet, engine: Engine, *, margin: float) -> Metrics:
    """Returns how many multiple-choice questions the model behind `engine` answers rightly.

    Values: `accuracy`, an estimate; `chance`, the accuracy of guessing, in [0, 1]; `questions`, and the
    `margin` of accuracy, in [0, 1], that a candidate may lose. Items: `guard` by number of the question:
    1 right, 0 wrong, None where the engine gave no number. Raises CapabilityError for an engine without
    log-probabilities.
    """
    by_count: dict[int, list[int]] = defaultdict(list)
    for index, question in enumerate(asked.questions):
        by_count[len(question.options)].append(index)
    outcomes: dict[int, float | None] = {}
    for count, places in by_count.items():
        prompts = [spell_question(asked.questions[index]) for index in places]
        scored = engine.option_logprobs(prompts, [f" {letter}" for letter in LETTERS[:count]])
        for index, scores in zip(places, scored, strict=True):
            outcomes[index] = _is_right(scores, asked.questions[index].answer)
    items = {f"question-{index:05d}": outcomes[index] for index in sorted(outcomes)}
    accuracy = rate_interval([v for v in items.values() if v is not None])
    chance = sum(1 / len(question.options) for question in asked.questions) / len(asked)
    told = accuracy.format(".1f", 100, " %") if accuracy else "not measured"
    values = {
        "accuracy": table_cell(accuracy),
        "chance": chance,
        "questions": len(asked),
        "margin": margin,
    }
    return Metrics(
        values, {ITEMS: items}, headline=f"{told} of {len(asked)} questions of {asked.name}"
    )


def spell_question(question: Question) -> str:
    """Returns the text after which an option's letter is the answer."""
    options = zip(LETTERS, question.options, strict=False)
    lines = [question.text, *(f"{letter}. {option}" for letter, option in options)]
    return "\n".join([*lines, "Answer:"])


def _is_right(scores: Sequence[float], answer: int) -> float | None:
    """A tie is no answer, and so a wrong one."""
    if any(map(math.isnan, scores)):
        return None
    best = max(scores)
    return float(scores[answer] == best and scores.count(best) == 1)


def compare_accuracy(guards: Sequence[Metrics], index: int) -> Estimate | None:
    """Returns the accuracy of model `index` minus the base's, over the questions both answered."""
    return paired_difference(guards[index].items[ITEMS], guards[0].items[ITEMS])


def find_vetoes(guards: Sequence[Metrics]) -> dict[int, Estimate]:
    """Returns by index the candidates that lost clearly more than the margin, with their loss; the
    base's is `guards[0]`. Empty without guards."""
    changes = {index: compare_accuracy(guards, index) for index in range(1, len(guards))}
    return {
        index: change
        for index, change in changes.items()
        if change and change.high < -float(guards[0].values["margin"])
    }


def describe_veto(name: str, loss: Estimate, guard: Metrics) -> str:
    """Returns why the model `name` is vetoed, as the end of a sentence."""
    return (
        f"{name} is vetoed by the guard: it answers {loss.format('+.1f', 100, ' points')} of "
        f"{guard.values['questions']} questions against the base, and may lose "
        f"{100 * float(guard.values['margin']):g}"
    )


def warn_of_vetoes(guards: Sequence[Metrics], names: Mapping[int, str]) -> list[View]:
    """Returns an alarm per vetoed model, and a note where the guard could not have seen a loss."""
    found = [
        alarm("Vetoed by the guard", f"{describe_veto(names[index], loss, guards[0])}.")
        for index, loss in find_vetoes(guards).items()
    ]
    base = guards[0].values if guards else {}
    accuracy = base.get("accuracy")
    if accuracy and accuracy["low"] <= base["chance"]:
        text = (
            f"The base answers {100 * accuracy['value']:.1f} % of the guard questions, not clear of "
            f"guessing ({100 * base['chance']:.1f} %): there is little that the guard could see "
            "a candidate lose. Take easier questions."
        )
        found.append(alarm("The guard sees little", text, "note"))
    return found
