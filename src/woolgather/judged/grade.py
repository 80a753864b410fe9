"""An answer by itself, from 1 to 10, turn by turn.

The one idea: a turn is graded with all that was said before it, and with the reference answer where the
question has one. A reply without a readable score is counted apart and is never a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from woolgather.core.rows import JSON, Example, Verdict
from woolgather.engines.base import Engine
from woolgather.judged.answers import BenchmarkAnswer
from woolgather.judged.judge import GRADING
from woolgather.ops.judge.assessors import Assessor, rate


@dataclass(frozen=True)
class Grade:
    """What the judge said of one answer, by turn."""

    answer: BenchmarkAnswer
    verdicts: tuple[Verdict, ...]

    def rows(self, model: str, judge: str) -> Iterator[dict[str, JSON]]:
        """Yields a record per turn, the judge's reply as it stands among its fields."""
        for turn, verdict in enumerate(self.verdicts, 1):
            yield {
                "question_id": self.answer.question.id,
                "model": model,
                "judge": judge,
                "turn": turn,
                "score": verdict.score,
                "reply": verdict.text,
            }


def grade_answers(answers: Sequence[BenchmarkAnswer], judge: Engine) -> list[Grade]:
    """Returns the grade of each answer. Raises EngineError where the judge fails as a whole."""
    rows = [_turn_row(a, turn) for a in answers for turn in range(len(a.turns))]
    verdicts = iter(found["grade"] for found in rate(rows, judge, Assessor(kind="rubric"), GRADING))
    return [Grade(answer, tuple(next(verdicts) for _ in answer.turns)) for answer in answers]


def _turn_row(answer: BenchmarkAnswer, turn: int) -> Example:
    """What the judge sees of a turn: the conversation up to it as the task, the reference beside it."""
    question = answer.question
    before = "".join(
        f"[person]\n{asked}\n\n[assistant]\n{said}\n\n"
        for asked, said in zip(question.turns[:turn], answer.turns, strict=False)
    )
    asked = f"{before}[person]\n{question.turns[turn]}" if before else question.turns[turn]
    known = question.references[turn : turn + 1]
    reference = f"[reference for the last of it]\n{known[0]}" if known else ""
    return Example(instruction=asked, input=reference, response=answer.turns[turn])
