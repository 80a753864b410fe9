"""Answers, both orders and grades, on scripted engines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.errors import EngineError
from woolgather.engines.base import Completion, Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.judged import length_controlled
from woolgather.judged.answers import BenchmarkAnswer, answer_questions, write_answers
from woolgather.judged.compare import compare_answers, read_verdict
from woolgather.judged.grade import grade_answers
from woolgather.judged.length_controlled import annotate, measure_length_controlled
from woolgather.judged.questions import BENCHMARKS, BenchmarkQuestion, read_questions
from woolgather.judged.table import Judged, JudgeReport, make_views, to_json

ALPACA, MT = BENCHMARKS["alpaca_eval"], BENCHMARKS["mt_bench"]
ASKED = BenchmarkQuestion("1", ("What?",), "kitchen", ("the reference",), "cook")


def judge_of(*replies: str) -> FakeEngine:
    return FakeEngine(list(replies))


# Answers


def test_a_second_turn_follows_the_models_own_first_answer(data: Path) -> None:
    seen: list[str] = []

    def answer(prompt: str, sampling: Sampling) -> str:
        seen.append(prompt)
        assert sampling.temperature == 0
        return f"said {len(seen)}"

    answers = answer_questions(read_questions(MT, data), FakeEngine(answer=answer))
    assert answers[0].turns == ("said 1", "said 4")
    assert seen[3] == ("user: What is 12 times 11?\nassistant: said 1\nuser: Half of it?")


def test_answers_have_the_benchmarks_own_layout(data: Path, tmp_path: Path) -> None:
    answers = answer_questions(read_questions(ALPACA, data), judge_of("salt"))
    found = json.loads(write_answers(answers, ALPACA, tmp_path, "mine").read_text())
    assert found[0] == {
        "dataset": "kitchen",
        "instruction": "Name 1 uses of salt.",
        "output": "salt",
        "generator": "mine",
    }
    talks = answer_questions(read_questions(MT, data), judge_of("yes"))
    path = write_answers(talks, MT, tmp_path, "mine")
    line = json.loads(path.read_text().splitlines()[2])
    assert (line["question_id"], line["model_id"]) == (7, "mine")
    assert line["choices"] == [{"index": 0, "turns": ["yes", "yes"]}]


class Failing(FakeEngine):
    """Gives up on every second request."""

    def complete(self, requests):  # type: ignore[no-untyped-def]
        for index, found in super().complete(requests):
            lost = Completion("", "error", why="no room")
            yield index, lost if index % 2 else found


def test_an_answer_that_did_not_come_is_an_error(data: Path) -> None:
    with pytest.raises(EngineError, match=r"3 of 6 questions got no answer \(no room\)"):
        answer_questions(read_questions(ALPACA, data), Failing(["a"]))


# Comparisons


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("They differ.\nBetter: 1", "1"),
        ("better: **2**", "2"),
        ("**Better: Answer 2.**", "2"),
        ("Reasons.\n\nBetter: Tie\n", "tie"),
        ("2", "2"),
        ("Better: 1 or 2", None),
        ("Better: 12", None),
        ("Better: 1\nBecause it is short.", None),
        ("Answer 1 is better than answer 2", None),
        ("", None),
    ],
)
def test_the_last_line_is_the_verdict(reply: str, place: str | None) -> None:
    assert read_verdict(reply) == place


@pytest.mark.parametrize(
    ("replies", "win", "disagrees"),
    [
        (("Better: 1", "Better: 2"), 1.0, False),  # the answer comes first, then second
        (("Better: 2", "Better: 1"), 0.0, False),
        (("Better: tie", "Better: tie"), 0.5, False),
        (("Better: 1", "Better: 1"), 0.5, True),
        (("Better: 1", "Better: tie"), 0.5, True),
        (("Better: 1", "no idea"), None, False),
    ],
)
def test_only_what_both_orders_say_counts(
    replies: tuple[str, str], win: float | None, disagrees: bool
) -> None:
    (found,) = compare_answers([BenchmarkAnswer(ASKED, ("the answer",))], judge_of(*replies))
    assert (found.win, found.disagrees) == (win, disagrees)
    rows = list(found.rows("mine", "judge"))
    assert [row["first"] for row in rows] == ["answer", "reference"]
    assert [row["reply"] for row in rows] == list(replies)


def test_a_verdict_that_was_cut_is_none() -> None:
    cut = f"{'word ' * 512}\nBetter: 1"
    (found,) = compare_answers([BenchmarkAnswer(ASKED, ("a",))], judge_of(cut))
    assert found.win is None


def test_the_standard_error_is_alpaca_evals() -> None:
    replies = ("Better: 1", "Better: 2", "Better: tie", "Better: tie", "Better: 2", "Better: 1")
    answers = [BenchmarkAnswer(replace(ASKED, id=name), ("a",)) for name in "abc"]
    judged = Judged("mine", "f", answers, compare_answers(answers, judge_of(*replies)))
    assert list(judged.wins.values()) == [1, 0.5, 0]
    # alpaca_eval 0.6.6 says 28.87 of the preferences 2, 1.5 and 1.
    assert judged.standard_error == pytest.approx(0.28868, abs=1e-5)
    assert judged.win_rate is not None
    assert judged.win_rate.value == 0.5


# Grades


def test_each_turn_is_graded_with_what_was_said_before(data: Path) -> None:
    seen: list[str] = []

    def grade(prompt: str, sampling: Sampling) -> str:
        seen.append(prompt)
        return "Fine.\nScore: 7" if len(seen) < 6 else "I would not know."

    answers = answer_questions(read_questions(MT, data), judge_of("said"))
    grades = grade_answers(answers, FakeEngine(answer=grade))
    assert [[v.score for v in g.verdicts] for g in grades] == [[7, 7], [7, 7], [7, None]]
    assert (
        "[assistant]\nsaid\n\n[person]\nHalf of it?\n\n[reference for the last of it]\n66"
        in seen[1]
    )
    assert "reference for" not in seen[2]
    judged = Judged("mine", "file", answers, grades=grades)
    assert judged.unreadable == 1
    found = judged.mean_grade(turn=1)
    assert found is not None
    assert (found.value, found.count) == (7, 2)


# Tables


def test_the_table_says_whose_numbers_these_are() -> None:
    answers = [BenchmarkAnswer(ASKED, ("the answer",))]
    comparisons = compare_answers(answers, judge_of("Better: 1"))
    controlled = measure_length_controlled(comparisons, "mine")
    judged = [Judged("mine", "f", answers, comparisons, length_controlled=controlled)]
    report = JudgeReport("cook", "passed")
    views = make_views(ALPACA, judged, report)
    assert views[0].title == "AlpacaEval: 1 questions, against cook, judged by cook"
    notes = " ".join(str(v.data["text"]) for v in views if v.kind == "alarm")
    for part in (
        "cannot be set beside it",
        "changed with the order",
        "The references are cook's own",
        "it is for all 805 instructions",
    ):
        assert part in notes
    found = to_json(ALPACA, judged, report)["models"][0]
    assert (found["win_rate"]["value"], found["ties"], found["orders_disagree"]) == (0.5, 1, 1)


def test_the_length_controlled_rate_is_alpaca_evals_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metrics:
        @staticmethod
        def get_length_controlled_winrate(rows: list[dict[str, object]], **_: object) -> object:
            assert rows == annotate(comparisons, "mine")
            return {"length_controlled_winrate": 41.5, "lc_standard_error": 1.5}

    comparisons = compare_answers(
        [BenchmarkAnswer(ASKED, ("a",))], judge_of("Better: 1", "Better: 2")
    )
    assert comparisons[0].win == 1
    assert annotate(comparisons, "mine")[0]["preference"] == 2
    monkeypatch.setattr(length_controlled, "INSTRUCTIONS", 1)
    monkeypatch.setattr(length_controlled, "import_module", lambda name: Metrics)
    found = measure_length_controlled(comparisons, "mine")
    assert (found.rate, found.error) == (0.415, 0.015)
    judged = [
        Judged("mine", "f", [BenchmarkAnswer(ASKED, ("a",))], comparisons, length_controlled=found)
    ]
    columns = make_views(ALPACA, judged, JudgeReport("judge", "passed"))[0].data["columns"]
    assert "length-controlled" in columns

    def fails(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(length_controlled, "import_module", fails)
    assert "not installed" in measure_length_controlled(comparisons, "mine").why
