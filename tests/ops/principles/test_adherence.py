"""Adherence: answers read against the principles tagged for their question, by whoever was hired."""

from __future__ import annotations

import math

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.engines.fake import FakeEngine, text_of
from woolgather.ops.judge.assessors import Assessor
from woolgather.ops.principles.adherence import Adherence, adherence
from woolgather.ops.principles.files import Principle

PRINCIPLES = (Principle("candor", "Be open."), Principle("static", "You are fixed."))
TEACHER = [
    Example(id="a", instruction="A?", response="taught", meta={"principles": ["candor"]}),
    Example(id="b", instruction="B?", response="taught",
            meta={"principles": ["candor", "static"]}),
    Example(id="c", instruction="C?", response="taught", meta={"principles": []}),
]  # fmt: skip
BASE = [Example(instruction=q, response="bad") for q in ("A?", "B?", "C?")]
STUDENT = [Example(instruction=q, response="good") for q in ("A?", "B?", "C?")]
ANSWERS = {"base": BASE, "engraved": STUDENT}


class Judge(FakeEngine):
    """Says yes to good answers; `seen` are its prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def option_logprobs(self, prompts, options):  # type: ignore[no-untyped-def]
        self.seen += [text_of(p) for p in prompts]
        return [[math.log(0.8), math.log(0.2)] if "good" in p else [math.log(0.2), math.log(0.8)]
                for p in map(text_of, prompts)]  # fmt: skip


def measured(engine: FakeEngine, assessor: Assessor, **answers: list[Example]):  # type: ignore[no-untyped-def]
    return adherence(TEACHER, answers or ANSWERS, engine, principles=PRINCIPLES, assessor=assessor)


def test_each_answer_is_read_against_its_own_principles() -> None:
    judge = Judge()
    found = measured(judge, Assessor(kind="yes_no", fit=True))
    assert found.values["adherence"]["base"]["value"] == pytest.approx(0.2)
    assert found.values["adherence"]["engraved"]["value"] == pytest.approx(0.8)
    assert found.values["against base"]["engraved"]["value"] == pytest.approx(0.6)
    assert set(found.items["adherence:base"]) == {"A?", "B?"}
    assert len(judge.seen) == 6  # two models, three tags; C has none
    assert sum("candor: Be open." in p for p in judge.seen) == 4
    assert not any("C?" in p for p in judge.seen)


def test_another_kind_of_assessor_is_asked_for_yes_and_no() -> None:
    found = measured(Judge(), Assessor(kind="mutual_information"))
    assert found.values["judge"] == "yes_no"


def test_a_rubric_s_scale_becomes_a_share_and_the_unreadable_none() -> None:
    replies = FakeEngine(answer=lambda p, _: "10 - fine" if "good" in p else "who knows")
    found = measured(replies, Assessor(kind="rubric"))
    assert found.values["adherence"]["engraved"]["value"] == 1
    assert found.values["adherence"]["base"] is None
    assert found.items["adherence:base"] == {"A?": None, "B?": None}
    table = next(v for v in found.views if v.title == "Adherence")
    assert table.data["rows"][0][-2:] == [0, 2]


def test_a_missing_answer_is_none_and_a_judge_not_hired_measures_nothing() -> None:
    found = measured(Judge(), Assessor(kind="yes_no", fit=False), base=BASE[:1], engraved=STUDENT)
    assert found.items["adherence:base"]["B?"] is None
    assert any(v.kind == "alarm" and "audition" in v.data["text"] for v in found.views)
    assert measured(Judge(), Assessor(kind="none")).values["adherence"] is None


def test_templates_must_show_principle_and_answer(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.md"
    path.write_text("Is {{response}} right?\nAnswer:")
    with pytest.raises(InputError, match=r"it must have the field \{\{principle\}\}"):
        Adherence(yes_no=str(path))


def test_a_principle_with_braces_is_text() -> None:
    judge = Judge()
    odd = (Principle("candor", "Never write {{response}} twice."), PRINCIPLES[1])
    adherence(TEACHER, ANSWERS, judge, principles=odd, assessor=Assessor(kind="yes_no"))
    assert any("Never write { {response}} twice." in p for p in judge.seen)
