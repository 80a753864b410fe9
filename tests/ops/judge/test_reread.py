"""Two readings of the same replies, every literal score counted."""

from __future__ import annotations

from typing import Any

import pytest

from woolgather.core.rows import Example, Verdict
from woolgather.ops.judge.published_scores import NAME, PAIRS, lay_beside
from woolgather.ops.judge.reread import read_again
from woolgather.ops.judge.rubrics import curation_rubric
from woolgather.ops.judge.score_reading import CUT
from woolgather.report.charts import draw

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
    "Score: five": 5,
    "<score>3</score>": 3,
}
LENIENT_ONLY = {
    "Score: 5 - it could not be better": 5,
    "Score: 5 because 2 of 3 points are covered": 5,
    "I give it 4 for its order.": 4,
    "Score: 5\nThank you!": 5,
}
NEITHER = [
    "", "It is good.", "Score: 10502", "Score: 0", "Score: 6", "7/10", "4/10", "Score: 4-5",
    "between 3 and 4", "Level 4 or 5", "-3", "3, 4", "no reply: too_long",
]  # fmt: skip


@pytest.mark.parametrize("reply", BOTH)
def test_read_both_ways(reply: str) -> None:
    assert RUBRIC.score(reply) == BOTH[reply]
    stated = RUBRIC.find(reply)
    assert stated is not None
    assert (stated.value, stated.last) == (BOTH[reply], True)


@pytest.mark.parametrize("reply", LENIENT_ONLY)
def test_read_leniently(reply: str) -> None:
    assert RUBRIC.score(reply) == LENIENT_ONLY[reply]
    stated = RUBRIC.find(reply)
    assert stated is not None
    assert not stated.last


@pytest.mark.parametrize("reply", NEITHER)
def test_unreadable_is_none(reply: str) -> None:
    assert RUBRIC.score(reply) is None


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
    histogram, *beside, literal = views
    assert histogram.data["series"] == {
        "lenient": [0, 0, 1, 0, 2],
        "strict": [0, 0, 1, 0, 1],
        "published, lenient": [0, 0, 1, 0, 2],
        "published, strict": [0, 0, 1, 0, 1],
    }
    ours = [view.data["series"]["this run"] for view in beside]
    assert ours == [[2, 0, 0, 1, 0, 2], [3, 0, 0, 1, 0, 1]], "none, then 1 to 5"
    counts = [["3", 1, 1, 1, 1], ["5", 2, 1, 2, 1], ["10502", 1, 1, 1, 1], ["none", 1, 2, 1, 2]]
    assert literal.data["rows"][:-1] == counts
    assert [cell["value"] for cell in literal.data["rows"][-1][1:]] == [0.2, 0.4, 0.2, 0.4]
    assert {cell["unit"] for cell in literal.data["rows"][-1][1:]} == {"percent"}


def test_the_published_scores_stand_beside_those_of_a_run() -> None:
    """Shares that its README states in words: 45 % and 67 % of its replies have no score."""
    for reading, none in (("published, lenient", 0.45), ("published, strict", 0.67)):
        view = lay_beside(reading, {None: 3, 5: 1, 10502: 1})
        published = view.data["series"][NAME]
        assert sum(published) == PAIRS
        assert published[0] / PAIRS == pytest.approx(none, abs=0.005)
        assert view.data["series"]["this run"] == [4, 0, 0, 0, 0, 1]
        assert view.data["behind"] == NAME
        assert "lenient" in view.title or "strict" in view.title
        assert "share of rows" in draw(view), "the sizes differ"


READ_SO = {
    "Score: 5\n\nThe answer is clear": (5, 5, None),
    "Score: 4\n\n### Instruction: next": (4, 4, None),
    "I would give it a 5.": (5, None, None),
    "Score: 5/5": (5, 5, None),
    "Fine.\nscore:4\n": (4, 4, 4),
    "Score: 0": (0, 0, 0),
    "Score: 3 at first.\nScore: 4": (4, 3, 4),
    "SCORE: 4": (4, None, None),
    "Score: 4.": (4, 4, None),
    f"It is fine.\nScore: 4\n{CUT}": (None, 4, 4),
    "It covers all 5": (None, None, None),
}
"""What our lenient reading, the published lenient one and the published strict one make of a reply."""


@pytest.mark.parametrize("reply", READ_SO)
def test_the_published_readings_stand_beside_ours(reply: str) -> None:
    _, (*_, literal) = read([row(reply)])
    columns = literal.data["columns"]
    assert columns == ["score", "lenient", "strict", "published, lenient", "published, strict"]
    told = [
        next(r[0] for r in literal.data["rows"] if r[columns.index(name)] == 1)
        for name in ("lenient", "published, lenient", "published, strict")
    ]
    assert told == ["none" if score is None else f"{score:g}" for score in READ_SO[reply]]


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
