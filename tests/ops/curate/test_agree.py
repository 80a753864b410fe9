"""Agreement among samples: who is kept, and with what reason the others are not."""

from __future__ import annotations

from collections import Counter

import pytest

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON, Example
from woolgather.ops.curate.agree import Agreement, agree, draw_alike

PARIS: dict[str, JSON] = {"kind": "contains", "any": ["Paris"], "max_words": 12}
LONG = "a long answer " * 10


def samples(prompt: str, *said: str, check: JSON = None) -> list[Example]:
    meta: dict[str, JSON] = {"prompt_id": prompt} | ({"check": check} if check else {})
    return [
        Example(instruction=f"Task {prompt}", response=text, meta={**meta, "sample": i})
        for i, text in enumerate(said)
    ]


def reasons(rows: list[Example], count: int, **rule: object) -> list[str | None]:
    return [row.set_aside for row in agree(rows, samples=count, rule=Agreement(**rule))]


def test_right_answers_of_a_checked_task_stay_once_each_and_the_commonest_first() -> None:
    said = [
        "Paris",
        "Rome",
        "It is Paris.",
        "paris.",
        "Paris, of course",
        "It is Paris",
        "Rome",
        "Rome",
    ]
    assert reasons(samples("a", *said, check=PARIS), 8) == [
        None, "check_failed", None, "one_more_like_it", "enough_answers", "one_more_like_it",
        "check_failed", "check_failed",
    ]  # fmt: skip
    kept = [row for row in agree(samples("a", *said, check=PARIS), samples=8) if not row.set_aside]
    assert [row.meta["agreed"] for row in kept] == [0.625, 0.625]


def test_what_a_measure_forgives_is_not_trained_on() -> None:
    check: JSON = {"kind": "exact", "value": "Ana is not here."}
    said = [
        "Sure! Here it is:\nAna is not here.",
        "Ana is not here.",
        "Ana is here.",
        "```\nAna\n```",
    ]
    assert reasons(samples("a", *said, check=check), 4) == [
        "check_failed", None, "check_failed", "check_failed",
    ]  # fmt: skip


def test_of_answers_as_common_the_shortest_stay() -> None:
    said = ["Paris is the right city", "It is Paris, I think", "Paris", "It is Paris", "Rome"]
    assert reasons(samples("a", *said, check=PARIS), 5) == [
        "enough_answers", "enough_answers", None, None, "check_failed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "missing", "reason"),
    [
        (0, 0, "too_hard"),
        (8, 0, "too_easy"),
        (1, 0, None),
        (7, 0, None),
        (4, 4, None),
        (0, 7, "too_hard"),
    ],
)
def test_what_is_missing_counts_as_wrong(right: int, missing: int, reason: str | None) -> None:
    said = ["Paris"] * right + ["Rome"] * (8 - right - missing)
    assert reasons(samples("a", *said, check=PARIS), 8)[0] == reason


def test_the_commonest_answer_needs_its_share_of_all_samples() -> None:
    said = ["4", "5", "4.", "4", "7", "6", "9", "8"]
    found = reasons(samples("a", *said), 8)
    assert found[0] is None
    assert Counter(found) == {None: 1, "one_more_like_it": 2, "not_the_commonest": 5}
    assert set(reasons(samples("a", *said), 8, share=0.4)) == {"no_agreement"}
    assert set(reasons(samples("a", *said[:4]), 16)) == {"no_agreement"}
    assert set(reasons(samples("a", *["4"] * 8), 8)) == {"too_easy"}


def test_one_of_an_open_task_is_drawn_and_each_task_for_itself() -> None:
    open_task = samples("b", *(f"{LONG}{i}" for i in range(6)))
    rows = [*open_task, *samples("a", "Paris", "Rome", "Rome", check=PARIS)]
    found = reasons(rows, 6)
    assert Counter(found[:6]) == {None: 1, "not_drawn": 5}
    assert found[6:] == [None, "check_failed", "check_failed"]
    assert reasons(open_task, 6) == found[:6]


def test_the_control_has_as_many_samples_of_the_same_tasks() -> None:
    rows = [*samples("a", "1", "2", "3"), *samples("b", "4", "5"), *samples("c", "6", "7")]
    like = [rows[0], rows[1], rows[5]]
    drawn = list(draw_alike(rows, like, seed=3))
    assert Counter(row.meta["prompt_id"] for row in drawn) == {"a": 2, "c": 1}
    assert len({row.response for row in drawn}) == 3
    assert drawn == list(draw_alike(rows, like, seed=3))
    assert {row.response for s in range(20) for row in draw_alike(rows, like, seed=s)} == {
        "1", "2", "3", "6", "7",
    }  # fmt: skip


def test_too_few_samples_and_rates_that_are_none_are_told() -> None:
    with pytest.raises(ConfigError, match=r"agreement with 1 samples.*respond.samples=8"):
        list(agree(samples("a", "1"), samples=1))
    with pytest.raises(ConfigError, match=r"agreement.rates: \[0.9, 0.1\]"):
        Agreement(rates=(0.9, 0.1))
