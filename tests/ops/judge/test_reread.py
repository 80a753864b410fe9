"""Two readings of the same replies, every literal score counted."""

from __future__ import annotations

from typing import Any

import pytest

from woolgather.core.rows import Example, Verdict
from woolgather.ops.judge.reread import published_score, read_again
from woolgather.ops.judge.rubrics import curation_rubric, literal_score

RUBRIC = curation_rubric()
BOTH = {
    "It is fine.\nScore: 5": 5,
    "Reasons.\n\n5": 5,
    "5/5": 5,
    "5.": 5,
    "**Score: 4**": 4,
    "Score: 4.5": 4.5,
    "It has 3 faults and 2 merits.\nScore: 2": 2,
    "I would give this a score of 3.": 3,
    "My rating is 4 out of 5": 4,
    "Score:\n5": 5,
    "<score>3</score>"[:10] + ": 3": 3,
}
LENIENT_ONLY = {
    "Score: 5 - it could not be better": 5,
    "Score: 5 because 2 of 3 points are covered": 5,
    "I give it 4 for its order.": 4,
}
NEITHER = [
    "", "It is good.", "Score: 10502", "Score: 0", "Score: 6", "7/10", "4/10", "Score: 4-5",
    "between 3 and 4", "Score: 5\nThank you!", "Level 4 or 5", "Score: five", "-3", "3, 4",
    "no reply: too_long",
]  # fmt: skip


@pytest.mark.parametrize("reply", BOTH)
def test_read_both_ways(reply: str) -> None:
    assert RUBRIC.score(reply) == BOTH[reply]
    strict = literal_score(reply, strict=True)
    assert strict is not None
    assert strict.value == BOTH[reply]


@pytest.mark.parametrize("reply", LENIENT_ONLY)
def test_read_leniently(reply: str) -> None:
    assert RUBRIC.score(reply) == LENIENT_ONLY[reply]
    assert literal_score(reply, strict=True) is None


@pytest.mark.parametrize("reply", NEITHER)
def test_unreadable_is_none(reply: str) -> None:
    assert RUBRIC.score(reply) is None


def test_a_hostile_reply_is_read_in_no_time() -> None:
    scores = {"1 ": 1.0, "4 or ": 4.0}
    for filler in (" ", "*", "1.", "1 ", "score ", "7/", "-", "4 or "):
        reply = filler * 20_000 + "x"
        assert RUBRIC.score(reply) == scores.get(filler)
        assert literal_score(reply, strict=True) is None


REPLIES = ["Score: 5", "Score: 5 - good", "Score: 10502", "nothing", "Score: 3"]


def row(reply: str, instruction: str = "Explain the tides to me.") -> Example:
    verdicts = {"curation": Verdict(None, reply)}
    return Example(id=reply, instruction=instruction, response="Moon.", verdicts=verdicts)


def read(rows: list[Example], **options: Any) -> tuple[list[Example], list[Any]]:
    views: list[Any] = []

    def drained() -> Any:
        views.extend((yield from read_again(rows, rubric=RUBRIC, **options)))

    return list(drained()), views


@pytest.mark.parametrize(
    ("strict", "scores"), [(False, [5, 5, None, None, 3]), (True, [5, None, None, None, 3])]
)
def test_the_chosen_reading_is_the_verdict_and_both_are_shown(
    strict: bool, scores: list[float | None]
) -> None:
    rows, views = read([row(reply) for reply in REPLIES], strict=strict)
    assert [r.verdicts["curation"].score for r in rows] == scores
    assert [r.verdicts["curation"].text for r in rows] == REPLIES
    histogram, literal = views
    assert histogram.data["series"] == {"lenient": [0, 0, 1, 0, 2], "strict": [0, 0, 1, 0, 1]}
    assert literal.data["columns"][1:] == [
        "lenient", "strict", "published, lenient", "published, strict",
    ]  # fmt: skip
    assert literal.data["rows"] == [
        ["3", 1, 1, 1, 1], ["5", 2, 1, 2, 1], ["10502", 1, 1, 1, 1], ["none", 1, 2, 1, 2],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "lenient", "strict"),
    [
        ("Score: 5\n\nThe answer is clear", 5, None),
        ("Score: 4\n\n### Instruction: next", 4, None),
        ("Good reasons.\nscore:3", 3, 3),
        ("Score: 2, or rather\nScore: 4", 2, 4),
        ("Score: 5/5", 5, None),
        ("Score: 0", 0, 0),
        ("I would give it a 5.", None, None),
        ("SCORE: 5", None, None),
    ],
)
def test_the_published_scripts_read_so(reply: str, lenient: int | None, strict: int | None) -> None:
    assert published_score(reply, "published, lenient") == lenient
    assert published_score(reply, "published, strict") == strict


def test_only_the_strict_reading_has_a_window_of_lengths() -> None:
    short = row("Score: 5", "Why?")
    assert read([short])[0][0].set_aside is None
    assert read([short], strict=True)[0][0].set_aside == "instruction_length"
    assert read([short], strict=True, window=(1, 800))[0][0].set_aside is None


def test_rows_of_another_assessor_are_left_alone() -> None:
    other = Example(instruction="a", verdicts={"yes_no": Verdict(1.0, "")})
    rows, views = read([other])
    assert rows == [other]
    assert views[0].kind == "alarm"
    assert views[0].data["level"] == "note"
