"""Suites as data: those of the papers hold together, and a mistake in one of your own is named."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from woolgather.core.errors import InputError
from woolgather.suites.suite import read_suite, suite_names

MEANS = {
    "SPIN iteration 0": 60.80,
    "SPIN iteration 1": 62.12,
    "SPIN iteration 2": 62.97,
    "SPIN iteration 3": 63.16,
    "zephyr-7b-sft-full": 58.14,
    "Llama-2-7b": 54.32,
    "Humback M0": 58.13,
    "Humback M1": 54.65,
    "Humback M1, 1800 updates, strict reading": 57.58,
}
"""As the two sources print them, beside the figures that they are the means of."""


def test_the_four_papers_have_a_suite_with_sources() -> None:
    assert suite_names() == ["dromedary", "humback", "isheep", "spin"]
    for name in suite_names():
        suite = read_suite(name)
        assert suite.title
        assert "arXiv" in suite.source or "github.com" in suite.source
        assert all(task.data for task in suite.tasks)
        assert all(published.differs and published.source for published in suite.published)


@pytest.mark.parametrize("name", ["spin", "humback"])
def test_published_figures_have_the_published_means(name: str) -> None:
    for published in read_suite(name).published:
        for model in published.models:
            assert mean(model.values.values()) == pytest.approx(MEANS[model.name], abs=0.01)


def test_shots_and_metrics_are_the_leaderboards() -> None:
    asked = {t.task: (t.shots, t.measures[0].metric) for t in read_suite("spin").tasks}
    assert asked == {
        "arc_challenge": (25, "acc_norm"),
        "hellaswag": (10, "acc_norm"),
        "mmlu": (5, "acc"),
        "truthfulqa_mc2": (0, "acc"),
        "winogrande": (5, "acc"),
        "gsm8k": (5, "exact_match"),
    }
    four = {t.task: (t.shots, t.measures[0].metric) for t in read_suite("humback").tasks}
    assert four == {task: asked[task] for task in four}
    assert len(four) == 4


def test_only_tasks_that_run_code_are_marked_so() -> None:
    assert [t.task for t in read_suite("isheep").tasks if t.code] == ["humaneval", "mbpp"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ishep", "unknown suite. Did you mean isheep?"),
        ("qqqq", "There are dromedary, humback, isheep, spin"),
        ("nowhere.yaml", "is not found"),
    ],
)
def test_a_name_that_is_no_suite(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_suite(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "is a mapping with `tasks`"),
        ("tasks: [", "is not YAML"),
        ("title: none", "tasks: field required"),
        ("tasks: [{task: a}]", r"tasks.0.measures: field required"),
        ("tasks: [{task: a, shot: 3, measures: [{metric: acc}]}]", "tasks.0.shot: extra inputs"),
        ("tasks: [{task: a, shots: -1, measures: [{metric: acc}]}]", "tasks.0.shots"),
        (
            "tasks: [{task: a, measures: [{metric: x}]}, {task: a, measures: [{metric: y}]}]",
            "the task a is there twice",
        ),
        (
            "tasks: [{task: a, measures: [{metric: x}]}]\n"
            "published: [{source: s, differs: d, models: [{name: m, values: {b: 1}}]}]",
            "of m name b, which the suite does not measure. It measures a",
        ),
    ],
)
def test_a_broken_suite_names_the_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_suite(str(path))
    assert str(path) in str(caught.value)
