"""A guard's file is read where it has one reading, and refused with its line where it has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import JSON
from woolgather.ops.measure.tax.questions import FEWEST, GuardQuestion, read_questions

PLAIN: JSON = {
    "question": "Which is a bird?",
    "options": ["a cod", "an owl", "a mole"],
    "answer": 1,
}


def write(path: Path, record: JSON, n: int = FEWEST) -> str:
    lines = [PLAIN] * (n - 1) + [record]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "record",
    [
        PLAIN,
        {**PLAIN, "answer": "B"},
        {**PLAIN, "answer": "an owl"},
        {
            "question": "Which is a bird?",
            "subject": "zoology",
            "choices": PLAIN["options"],
            "answer": 1,
        },
        {
            "question": "Which is a bird?",
            "options": {"a": "a cod", "b": "an owl", "c": "a mole"},
            "answer": "b",
        },
        {
            "id": "X-1",
            "question": "Which is a bird?",
            "choices": {"text": PLAIN["options"], "label": ["1", "2", "3"]},
            "answerKey": "2",
        },
        {
            "question_stem": "Which is a bird?",
            "choices": {"text": PLAIN["options"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        },
    ],
)
def test_layouts_that_have_one_reading(record: JSON, tmp_path: Path) -> None:
    found = read_questions(write(tmp_path / "guard.jsonl", record))
    assert len(found) == FEWEST
    assert found.name == "guard.jsonl"
    assert found.questions[-1] == GuardQuestion(
        "Which is a bird?", ("a cod", "an owl", "a mole"), 1
    )


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("text", "expected a JSON object, found"),
        ({"options": ["a", "b"], "answer": 0}, "field 'question' or 'question_stem' is missing"),
        ({"question": "x", "answer": 0}, "field 'options' or 'choices' is missing"),
        ({"question": "x", "options": ["a", "b"]}, "field 'answer' or 'answerKey' is missing"),
        ({**PLAIN, "choices": ["a", "b"]}, "has both 'options' and 'choices'"),
        ({**PLAIN, "question": " "}, "'question' has to be a text"),
        ({**PLAIN, "options": ["a cod", 3]}, "the options have to be a list of texts"),
        ({**PLAIN, "options": ["a cod"]}, "has 1 options, where 2 to 26 are possible"),
        ({**PLAIN, "options": ["a", "a", "b"]}, "two options are the same text"),
        ({**PLAIN, "answer": 3}, "'answer' is 3, and the 3 options count from 0 to 2"),
        ({**PLAIN, "answer": -1}, "'answer' is -1"),
        ({**PLAIN, "answer": "D"}, "'answer' is 'D', which is none of A, B, C"),
        ({**PLAIN, "answer": True}, "give an index or a letter"),
        (
            {**PLAIN, "options": ["B", "A"], "answer": "A"},
            "the label of one option and the text of",
        ),
        (
            {"question": "x", "choices": {"text": ["a", "b"], "label": ["A"]}, "answerKey": "A"},
            "2 options have 1 different labels",
        ),
    ],
)
def test_what_has_no_single_reading_is_refused_with_its_line(
    record: JSON, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        read_questions(write(tmp_path / "guard.jsonl", record))
    assert str(refused.value).startswith(f"{tmp_path / 'guard.jsonl'}, line {FEWEST}: ")
    assert said in str(refused.value)
    assert 'A good one: {"question"' in str(refused.value)


def test_too_few_and_none(tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", PLAIN, 12)
    with pytest.raises(ConfigError, match=f"holds 12 questions, and fewer than {FEWEST}"):
        read_questions(few)
    with pytest.raises(ConfigError, match=r"measure\.guard=nowhere\.jsonl: no such file"):
        read_questions("nowhere.jsonl")
    with pytest.raises(ConfigError, match=r"is a folder\. Give a local file"):
        read_questions(str(tmp_path))


def test_questions_are_known_by_their_content(tmp_path: Path) -> None:
    one, same = (read_questions(write(tmp_path / f"{n}.jsonl", PLAIN)) for n in "ab")
    other = read_questions(write(tmp_path / "c.jsonl", {**PLAIN, "answer": 2}))
    assert canonical(one) == canonical(same) != canonical(other)
