"""One fact of an answer exchanged: what is exchanged, for what, and where nothing can be."""

from __future__ import annotations

import random

import pytest

from woolgather.core.rows import Example
from woolgather.data import builtin_seeds, read_examples
from woolgather.ops.judge.assessors import length, overlap
from woolgather.ops.judge.wrong_facts import misstate


def misstated(instruction: str, response: str, given: str = "") -> set[str | None]:
    row = Example(instruction=instruction, input=given, response=response)
    return {misstate(row, random.Random(i)) for i in range(40)}


@pytest.mark.parametrize(
    ("instruction", "response", "wrong"),
    [
        ("Is a whale a fish?", "No. It is a mammal.", {"Yes. It is a mammal."}),
        ("True or false: ice floats.", "true", {"false"}),
        ("Does it rain?", "yes - a little", {"no - a little"}),
        ("How many legs has an ant?", "Six.", {"Four.", "Five.", "Seven.", "Eight."}),
        (
            "What is 7 + 4?",
            "7 + 4 = 11",
            {"7 + 4 = 8", "7 + 4 = 9", "7 + 4 = 10", "7 + 4 = 12", "7 + 4 = 13", "7 + 4 = 14"},
        ),
        (
            "When does the shop open: Anna says at 8 a.m., Bert at 10 a.m.? Believe Anna.",
            "At 8 a.m.",
            {"At 10 a.m."},
        ),
        (
            "The prize went to Anna and not to Bert. Who won?",
            "The winner is Anna, says Anna.",
            {"The winner is Bert, says Bert."},
        ),
    ],
)
def test_what_the_task_settles_is_exchanged(
    instruction: str, response: str, wrong: set[str]
) -> None:
    assert misstated(instruction, response) == wrong


@pytest.mark.parametrize(
    ("instruction", "response"),
    [
        ("Tell me a story of three bears.", "Once there were seven wolves. " + "They slept. " * 30),
        ("Name two colours.", "1. Red\n2. Blue"),
        ("Write a loop.", "```python\nfor i in range(3): print(7 * 6 == 42)\n```"),
        ("Greet Anna.", "Hello Anna!"),
        ("Any news?", "No news is good news."),
        ("Write a greeting.", "Hello there!"),
        ("Why?", ""),
    ],
)
def test_what_is_anybodys_choice_stays(instruction: str, response: str) -> None:
    assert misstated(instruction, response) == {None}


def test_a_wrong_answer_is_as_long_and_as_near_its_task_as_the_right_one() -> None:
    """Else length or word overlap could tell it. On our own seeds, as an audition takes them."""
    made = 0
    ahead = 0.0
    for i, row in enumerate(read_examples(builtin_seeds())):
        wrong = misstate(row, random.Random(i))
        if wrong is None:
            continue
        made += 1
        other = Example(instruction=row.instruction, input=row.input, response=wrong)
        assert wrong != row.response
        assert length(other) == length(row)
        changed = [a != b for a, b in zip(wrong.split(), row.response.split(), strict=True)]
        assert 1 <= sum(changed) <= 3
        ahead += (overlap(row) > overlap(other)) - (overlap(row) < overlap(other))
    assert made >= 35
    assert abs(ahead) / made < 0.2
