"""What judges' replies say: replies.jsonl holds them with the score a person reads, null for none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.rows import Verdict
from woolgather.ops.judge.rubrics import Rubric, rubrics_of
from woolgather.ops.judge.score_reading import CUT, find_score, read_score
from woolgather.prompting.templates import load

LINES = Path(__file__).with_name("replies.jsonl").read_text(encoding="utf-8").splitlines()
CASES = [json.loads(line) for line in LINES]
RUBRICS = [*rubrics_of("full"), Rubric(name="adherence", template=load("adherence-rubric"))]


def test_the_cases_are_many_and_each_once() -> None:
    keys = [(c["reply"], *c["scale"], c["read"], c.get("name")) for c in CASES]
    assert len(keys) == len(set(keys)) > 300
    assert sum(c["expected"] is None for c in CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["reply"]))
def test_a_reply_is_read_as_a_person_reads_it(case: dict[str, Any]) -> None:
    low, high = case["scale"]
    found = read_score(case["reply"], low, high, case["read"], case.get("name", ""))
    assert found == case["expected"]


@pytest.mark.parametrize("asked", RUBRICS, ids=lambda asked: asked.name)
def test_our_rubrics_own_words_are_read_one_by_one_and_never_as_a_list(asked: Rubric) -> None:
    verbs = "is|has|meets|ignores|could|goes|keeps"
    said = re.findall(rf"(\d+) ((?:{verbs}) [^,.]+)", asked.template.text)
    assert len(said) >= 3
    for number, words in said:
        assert asked.score(f"{number} {words}.") == float(number)
        assert asked.score(f"{number} - {words}.") == float(number)
    assert asked.score(", ".join(f"{number} {words}" for number, words in said) + ".") is None


def test_the_scale_is_apart_from_what_is_stated() -> None:
    stated = find_score("Score: 10502", (1, 10))
    assert stated is not None
    assert (stated.value, stated.of, stated.on(1, 10)) == (10502, None, None)
    fraction = find_score("4/5.", (1, 10))
    assert fraction is not None
    assert (fraction.value, fraction.of, fraction.last) == (4, 5, True)
    assert (fraction.on(1, 5), fraction.on(1, 10)) == (4, None)


CURATION = Rubric(
    name="curation", template=RUBRICS[0].template, low=1, high=5, read="last_line_number"
)


@pytest.mark.parametrize(
    "reply", ["Score: 4", "It covers\nall 5", "", "<think>Score: 4", "Fine.\nScore: 4\n"]
)
def test_a_cut_reply_has_no_last_line(reply: str) -> None:
    whole, cut = (CURATION.verdict(reply, cut=cut) for cut in (False, True))
    assert whole.text == reply
    assert cut == Verdict(None, f"{reply}\n{CUT}")
    assert CURATION.score(cut.text) is None


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("8 - It is clear and", 8),
        ("8 - but it names 3", 8),
        ("8 ", 8),
        ("1", None),
        ("8.", None),
        ("Score: 1", None),
    ],
)
def test_a_score_before_the_limit_is_read_unless_the_limit_may_have_broken_it(
    reply: str, score: float | None
) -> None:
    assert RUBRICS[0].verdict(reply, cut=True) == Verdict(score, reply)


def test_a_hostile_reply_is_read_in_no_time() -> None:
    fillers = [" ", "\n", "*", "1.", "the ", "score ", "7/", "1 ", "-", "4 or ", "(", "I give it "]
    for filler in [*fillers, "<think>"]:
        reply = filler * 20_000 + "x"
        assert read_score(reply, 1, 10) is None
        assert read_score(reply, 1, 5, "last_line_number") is None
