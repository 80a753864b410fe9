"""An answer against the reference, asked twice: once with either of them first.

The one idea: judges lean towards one of the two places. A verdict counts where it is the same in both
orders; where the orders disagree, the two answers are a tie, and how often that was so is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from woolgather.core.errors import EngineError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Engine
from woolgather.judged.answers import BenchmarkAnswer
from woolgather.judged.judge import JUDGING
from woolgather.ops.judge.rubrics import open_slot
from woolgather.ops.text.ask import ask_rows
from woolgather.prompting.forms import is_text
from woolgather.prompting.templates import fill, load

Place = Literal["1", "2", "tie"]
Side = Literal["answer", "reference", "tie"]
TEMPLATE = load("compare-answers", frozenset({"question", "first", "second"}))
_VERDICT = re.compile(r"(?:better\W*)?(?:answer\W*)?\b(1|2|tie)\b\W*", re.IGNORECASE)


@dataclass(frozen=True)
class OrderedReply:
    """What the judge said to one question in one order."""

    answer_first: bool
    preferred: Side | None
    """None where the reply could not be read."""
    text: str


@dataclass(frozen=True)
class BothOrders:
    """Both orders of one question."""

    answer: BenchmarkAnswer
    replies: tuple[OrderedReply, ...]

    @property
    def win(self) -> float | None:
        """Returns 1 where the answer is better in both orders, 0 where the reference is, .5 for a tie or
        where the orders disagree; None where a reply could not be read."""
        sides = {reply.preferred for reply in self.replies}
        if None in sides:
            return None
        return (
            {"answer": 1.0, "reference": 0.0}.get(str(sides.pop()), 0.5) if len(sides) == 1 else 0.5
        )

    @property
    def disagrees(self) -> bool:
        """Returns whether both replies could be read, and say different things."""
        sides = {reply.preferred for reply in self.replies}
        return None not in sides and len(sides) > 1

    def rows(self, model: str, judge: str) -> Iterator[dict[str, JSON]]:
        """Yields a record per order, the judge's reply as it stands among its fields."""
        for reply in self.replies:
            yield {
                "question_id": self.answer.question.id,
                "model": model,
                "reference": self.answer.question.generator,
                "judge": judge,
                "first": "answer" if reply.answer_first else "reference",
                "preferred": reply.preferred,
                "reply": reply.text,
            }


def compare_answers(answers: Sequence[BenchmarkAnswer], judge: Engine) -> list[BothOrders]:
    """Returns a comparison of each answer with its reference. Raises EngineError where the judge gave up
    on some; the replies that came are in its journal."""
    form = judge.model.prompt_format

    def word(asked: tuple[BenchmarkAnswer, bool]) -> str:
        answer, first = asked
        question = answer.question
        pair = (answer.turns[0], question.references[0])
        one, two = pair if first else pair[::-1]
        return fill(TEMPLATE, question=question.turns[0], first=one, second=two)

    sampling = JUDGING
    if is_text(form):
        # A text goes on after the verdict, with whatever the model thinks comes next.
        sampling = sampling.model_copy(update={"stop": ("\n\n", "\n<")})
    asked = [(answer, first) for answer in answers for first in (True, False)]
    found = ask_rows(asked, judge, lambda each: open_slot(word(each), form), sampling, seed=0)
    replies = [_read(completion, first, judge) for (_, first), completion, _ in found]
    return [
        BothOrders(answer, tuple(replies[2 * i : 2 * i + 2])) for i, answer in enumerate(answers)
    ]


def _read(completion: Completion, answer_first: bool, judge: Engine) -> OrderedReply:
    if completion.finish_reason == "error":
        raise EngineError(
            f"the judge {judge.model.path} gave no reply ({completion.why or 'no reason was given'}). "
            "The replies that came are kept; give the same command again."
        )
    place = read_verdict(completion.text) if completion.finish_reason == "stop" else None
    sides: dict[str, Side] = {"tie": "tie", "1": "answer", "2": "reference"}
    if not answer_first:
        sides |= {"1": "reference", "2": "answer"}
    return OrderedReply(answer_first, None if place is None else sides[place], completion.text)


def read_verdict(reply: str) -> Place | None:
    """Returns the place that the last line of a reply names ("Better: 2", "**1**", "tie"); None where
    that line says anything else."""
    lines = reply.strip().splitlines()
    found = _VERDICT.fullmatch(lines[-1].strip(" *_`\"'#>([.")) if lines else None
    places: dict[str, Place] = {"1": "1", "2": "2", "tie": "tie"}
    return places[found[1].lower()] if found else None
