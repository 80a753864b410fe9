"""Multiple-choice questions as a guard: what the base knows, a candidate must not have lost.

The one idea: a guard vetoes and never praises. Each option is scored as the next text after the
question, in the same plain text for every model, as the field asks such questions; the likeliest is the
answer. Options are scored by their letters or, since small models know an answer before they know its
letter, by their texts, per byte of these. A candidate is vetoed where the whole paired interval of its
difference to the base lies below the margin that it may lose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal

from woolgather.core.artifacts import Metrics
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, outcome_difference, rate_interval
from woolgather.core.op import op
from woolgather.core.views import View, alarm, table_cell
from woolgather.engines.base import Engine
from woolgather.ops.measure.tax.questions import LETTERS, GuardQuestion, QuestionSet

ScoredBy = Literal["letters", "texts"]
ITEMS = "guard"
"""Where the outcomes of the questions stand among a measure's items."""
CHARACTERS = 3
"""Characters of a token at least, for plans."""


def _expect(asked: QuestionSet, *_: object, by: ScoredBy = "letters", **__: object) -> Expected:
    size = sum(len(spell_question(question)) for question in asked.questions)
    options = sum(len(question.options) for question in asked.questions)
    calls = len(asked) if by == "letters" else options
    return Expected(calls=calls, prompt_tokens=size * calls // len(asked) // CHARACTERS)


@op("guard", expects=_expect)
def answer_questions(
    asked: QuestionSet, engine: Engine, *, margin: float, by: ScoredBy = "letters"
) -> Metrics:
    """Returns how many multiple-choice questions the model behind `engine` answers rightly, its options
    scored `by` letters or texts.

    Values: `accuracy`, an estimate; `chance`, the accuracy of guessing, in [0, 1]; `questions`, and the
    `margin` of accuracy, in [0, 1], that a candidate may lose. Items: `guard` by number of the question:
    1 right, 0 wrong, None where the engine gave no number. Raises CapabilityError for an engine without
    log-probabilities.
    """
    questions = asked.questions
    scored = (_score_letters if by == "letters" else _score_texts)(questions, engine)
    outcomes = [_is_right(s, q.answer) for s, q in zip(scored, questions, strict=True)]
    items = {f"question-{index:05d}": outcome for index, outcome in enumerate(outcomes)}
    accuracy = rate_interval([v for v in items.values() if v is not None])
    chance = sum(1 / len(question.options) for question in questions) / len(asked)
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


def spell_question(question: GuardQuestion) -> str:
    """Returns the text after which an option's letter is the answer."""
    options = zip(LETTERS, question.options, strict=False)
    lines = [question.text, *(f"{letter}. {option}" for letter, option in options)]
    return "\n".join([*lines, "Answer:"])


def _score_letters(questions: Sequence[GuardQuestion], engine: Engine) -> list[Sequence[float]]:
    """Returns the log-probability of each option's letter by question; those with as many options are
    asked together."""
    scored: dict[int, Sequence[float]] = {}
    for count in {len(question.options) for question in questions}:
        places = [i for i, question in enumerate(questions) if len(question.options) == count]
        prompts = [spell_question(questions[i]) for i in places]
        found = engine.option_logprobs(prompts, [f" {letter}" for letter in LETTERS[:count]])
        scored |= zip(places, found, strict=True)
    return [scored[i] for i in range(len(questions))]


def _score_texts(questions: Sequence[GuardQuestion], engine: Engine) -> list[Sequence[float]]:
    """Returns the log-probability of each option's text by question, per byte of it."""
    pairs = [(f"{q.text}\nAnswer:", f" {option}") for q in questions for option in q.options]
    found = engine.sequence_logprobs([p for p, _ in pairs], [option for _, option in pairs])
    sizes = [len(option.encode()) for _, option in pairs]
    flat = iter([one.total / size for one, size in zip(found, sizes, strict=True)])
    return [list(islice(flat, len(question.options))) for question in questions]


def _is_right(scores: Sequence[float], answer: int) -> float | None:
    """A tie is no answer, and so a wrong one."""
    if any(map(math.isnan, scores)):
        return None
    best = max(scores)
    return float(scores[answer] == best and scores.count(best) == 1)


def compare_accuracy(mine: Metrics, base: Metrics) -> Estimate | None:
    """Returns the accuracy of a model minus the base's, over the questions both answered."""
    return outcome_difference(mine.items[ITEMS], base.items[ITEMS])


def find_loss(mine: Metrics, base: Metrics) -> Estimate | None:
    """Returns what a model lost where that is clearly more than the margin; None where it is not."""
    change = compare_accuracy(mine, base)
    return change if change and change.high < -float(base.values["margin"]) else None


def find_vetoes(guards: Sequence[Metrics]) -> dict[int, Estimate]:
    """Returns by index the candidates that lost clearly more than the margin, with their loss; the
    base's is `guards[0]`. Empty without guards."""
    losses = {index: find_loss(guard, guards[0]) for index, guard in enumerate(guards) if index}
    return {index: loss for index, loss in losses.items() if loss}


def describe_veto(name: str, loss: Estimate, guard: Metrics) -> str:
    """Returns why the model `name` is vetoed, as the end of a sentence."""
    return f"{name} is vetoed by the guard: {_describe_loss(loss, guard)}"


def _describe_loss(loss: Estimate, guard: Metrics) -> str:
    return (
        f"it answers {loss.format('+.1f', 100, ' points')} of {guard.values['questions']} questions "
        f"against the base, and may lose {100 * float(guard.values['margin']):g}"
    )


def warn_of_vetoes(
    guards: Sequence[Metrics], names: Mapping[int, str], forgetful: Mapping[str, Estimate]
) -> list[View]:
    """Returns an alarm per vetoed model, a note per control that is `forgetful` in the same way, with its
    loss, and a note where the guard could not have seen a loss."""
    found = [
        alarm("Vetoed by the guard", f"{describe_veto(names[index], loss, guards[0])}.")
        for index, loss in find_vetoes(guards).items()
    ]
    found += [
        alarm(
            "A control that forgot",
            f"The control {name} is no rival, since the guard would veto it: "
            f"{_describe_loss(loss, guards[0])}.",
            "note",
        )
        for name, loss in forgetful.items()
    ]
    base = guards[0].values if guards else {}
    accuracy = base.get("accuracy")
    if accuracy and accuracy["low"] <= base["chance"]:
        text = (
            f"The base answers {100 * accuracy['value']:.1f} % of the guard questions, not clear of "
            f"guessing ({100 * base['chance']:.1f} %): there is little that the guard could see "
            "a candidate lose. Take easier questions, or score their texts: measure.guard_by=texts."
        )
        found.append(alarm("The guard sees little", text, "note"))
    return found
