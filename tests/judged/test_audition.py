"""Judges that know good answers, and judges that go by something else, each told what."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import YieldError
from woolgather.core.rows import Example
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.judged.audition import PAIRS, hear_comparing, hire_to_compare, hire_to_grade
from woolgather.judged.known_pairs import KINDS, build_known_pairs
from woolgather.ops.judge.assessors import overlap
from woolgather.ops.text.words import count_words

from .conftest import knowing, part

SEEDS = [row for row in read_examples(builtin_seeds()) if isinstance(row, Example)]


def comparing(choose: Callable[[str, str, str], str]) -> FakeEngine:
    """A judge that compares as the function says of the task and the two answers."""

    def answer(prompt: str, sampling: Sampling) -> str:
        texts = (part(prompt, mark) for mark in ("asked", "answer-1", "answer-2"))
        return f"They differ.\nBetter: {choose(*texts)}"

    return FakeEngine(answer=answer, model=Model("judge", "served:judge", "chat"))


def more(score: Callable[[str, str], float]) -> Callable[[str, str, str], str]:
    """Takes the answer that scores more, neither where both score the same."""

    def choose(asked: str, one: str, two: str) -> str:
        gain = score(asked, one) - score(asked, two)
        return "1" if gain > 0 else "2" if gain < 0 else "tie"

    return choose


def test_pairs_of_each_kind_are_of_one_task_and_tell_nothing_by_length() -> None:
    pairs = build_known_pairs(SEEDS, 20)
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(KINDS, 20)
    answers = {(row.instruction, row.response.strip()) for row in SEEDS}
    for pair in pairs:
        assert any(a == pair.better and pair.task.startswith(i) for i, a in answers)
        gain = count_words(pair.worse) - count_words(pair.better)
        assert pair.kind == "mismatched" or (gain > 0, gain < 0) == (
            pair.kind == "padded",
            pair.kind == "cut",
        )
        if pair.kind == "cut":
            assert pair.better.startswith(pair.worse)
            assert pair.worse[-1] not in ".!?"
    assert build_known_pairs(SEEDS, 20) == pairs
    assert build_known_pairs([Example(instruction="Hm?", response="Blue.")], 20) == []


def test_a_judge_that_knows_good_answers_is_hired_by_the_prompt_that_compares() -> None:
    judge = knowing(lambda one, two: "1", lambda said: "no grade was asked for")
    heard = hear_comparing(judge, SEEDS)
    assert judge.calls == 2 * PAIRS
    told = hire_to_compare(heard, "judge")
    assert told.startswith("right on 100 % [96, 100] of 100 pairs")
    assert "padded 100, cut 100" in told
    rows = list(heard.rows("judge"))
    assert [row["first"] for row in rows[:2]] == ["better", "worse"]
    assert {row["preferred"] for row in rows} == {"better"}


def test_a_judge_that_is_often_right_is_hired() -> None:
    """It knows three of four, and takes the first of the others."""
    better = {pair.better for pair in build_known_pairs(SEEDS, PAIRS // len(KINDS))}
    luck = random.Random(3)
    known = {text for text in sorted(better) if luck.random() < 0.75}
    heard = hear_comparing(comparing(lambda _, one, two: "2" if two in known else "1"), SEEDS)
    assert hire_to_compare(heard, "judge").startswith("right on 8")


@pytest.mark.parametrize(
    ("choose", "why"),
    [
        (lambda *_: "1", "by the place of an answer.* same place in both orders of 100 of 100 pairs"),
        (lambda *_: "2", "by the place of an answer"),
        (more(lambda _, said: len(said)), "by length: it took the longer answer where that was the"),
        (more(lambda _, said: -len(said)), "by length: it took the shorter answer"),
        (lambda *_: "tie", "not seen to be better than chance"),
        (
            more(lambda asked, said: overlap(Example(instruction=asked, response=said))),
            r"a rule that asks no model \(overlap\)",
        ),
    ],
)  # fmt: skip
def test_a_judge_that_goes_by_something_else_is_told_what(
    choose: Callable[[str, str, str], str], why: str
) -> None:
    heard = hear_comparing(comparing(choose), SEEDS)
    with pytest.raises(YieldError, match=f"judge mine failed its audition.*{why}.*It was right on"):
        hire_to_compare(heard, "mine")


def test_replies_that_cannot_be_read_are_no_verdicts_by_chance() -> None:
    heard = hear_comparing(comparing(lambda *_: "neither of them"), SEEDS)
    with pytest.raises(
        YieldError, match=r"on 100 of 100 pairs no verdict.*neither of them"
    ) as told:
        hire_to_compare(heard, "mine")
    assert "right on" not in str(told.value)


def test_luck_is_no_knowledge() -> None:
    luck = random.Random(1)
    heard = hear_comparing(comparing(lambda *_: luck.choice("12")), SEEDS)
    with pytest.raises(YieldError, match="not seen to be better than chance"):
        hire_to_compare(heard, "mine")


def test_a_judge_that_grades_is_tried_on_the_question_that_it_grades_by() -> None:
    judge = knowing(lambda one, two: "no comparison was asked for", lambda said: "Score: 5")
    assert "chosen across prompts" in hire_to_grade(judge, "judge", SEEDS)
    with pytest.raises(YieldError, match=r"judge mine failed its audition.*answers are kept"):
        hire_to_grade(FakeEngine(["Fine.\nScore: 5"]), "mine", SEEDS)
