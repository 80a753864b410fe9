"""Headroom: what choosing among samples reaches, on answers whose worth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from woolgather.api.advice import AGREE, advise_settings
from woolgather.core.artifacts import Metrics
from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON, Example, Verdict
from woolgather.ops.measure.headroom import (
    CHANCE,
    CHECK,
    MAJORITY,
    ONE,
    list_tasks,
    measure_headroom,
)
from woolgather.probes import families_of, family_of

FAMILIES = [f"family{i}" for i in range(8)]


def answer(task: int, text: str, *, score: float | None = None, ended: bool = True) -> Example:
    """An answer to one of 80 tasks, whose check wants the task's own word."""
    check: JSON = {"kind": "contains", "all": [f"word{task}"]}
    return Example(
        instruction=f"task {task}",
        response=text,
        finish_reason="stop" if ended else "length",
        verdicts={"judge": Verdict(score)} if score is not None else {},
        meta={"prompt_id": f"probe-x-{task}/{FAMILIES[task % 8]}", "check": check},
    )


def samples(right: int, wrong: list[str], tasks: int = 80) -> list[Example]:
    """Samples of each task: `right` right ones behind the wrong ones; the judge likes the right ones."""
    return [
        answer(i, text, score=float(f"word{i}" == text))
        for i in range(tasks)
        for text in [*wrong, *[f"word{i}"] * right]
    ]


def measured(rows: list[Example], drawn: int, greedy: str = "wrong") -> Metrics:
    own = [answer(i, greedy) for i in range(80)]
    return measure_headroom(
        [own, own], rows, [rows, [replace(row, verdicts={}) for row in rows]],
        forms=["bare", "shown"], assessors=["judge", "unreadable"], drawn=drawn,
    )  # fmt: skip


def rates(found: Metrics) -> dict[str, float]:
    return {name: round(cell["value"], 3) for name, cell in found.values["chosen"].items()}


def test_each_way_of_choosing_finds_what_it_can() -> None:
    assert rates(measured(samples(1, ["a", "b", "b"]), 4)) == {
        ONE: 0.25, CHECK: 1.0, MAJORITY: 0.0, CHANCE: 0.0, "judge": 1.0, "unreadable": 0.25,
    }  # fmt: skip
    assert rates(measured(samples(2, ["a", "b"]), 4))[MAJORITY] == 1.0


def test_what_a_judge_finds_is_said_and_advised() -> None:
    found = measured(samples(1, ["a", "b", "b"]), 4)
    assert found.headline.startswith(
        "What selecting among 4 of its own samples could reach in one round here: 100.0 ["
    )
    assert "judge finds 100.0 [" in found.headline
    assert "judge.assessor=judge" in advise_settings(found.values)
    assert found.concludes


def test_where_nothing_but_checks_finds_it_practice_is_advised() -> None:
    rows = [replace(row, verdicts={}) for row in samples(1, ["a", "a", "a"])]
    found = measured(rows, 4)
    assert "nothing but the checks finds it" in found.headline
    assert advise_settings(found.values) == AGREE


def test_answers_that_pass_any_check_are_no_headroom() -> None:
    every = " ".join(f"word{i}" for i in range(80))
    rows = [answer(i, text) for i in range(80) for text in ("no", "no", "no", every)]
    found = measured(rows, 4)
    assert rates(found)[CHECK] == rates(found)[CHANCE] == 1.0
    assert found.values["room"]["value"] == 0
    assert "no headroom is seen" in found.headline
    assert advise_settings(found.values) == ()


def test_an_answer_without_an_end_is_wrong_and_a_task_without_one_counts() -> None:
    rows = [
        answer(i, f"word{i}", ended=i % 2 == 0 and sample == 0)
        for i in range(80)
        for sample in range(2)
    ]
    assert rates(measured(rows, 2)) == {
        ONE: 0.25, CHECK: 0.5, MAJORITY: 0.5, CHANCE: 0.0, "judge": 0.5, "unreadable": 0.5,
    }  # fmt: skip


def test_its_probes_report_on_no_run() -> None:
    tasks = list(list_tasks(probes=60, tier="easy"))
    assert {family_of(row.id) for row in tasks} == set(families_of("select", "easy"))
    with pytest.raises(ConfigError, match="needs tasks"):
        measure_headroom([[]], [], [], forms=["bare"], assessors=[], drawn=4)
