"""What may make a model better than its few-shot base, each as options of I-SHEEP on the fake engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import seed_of
from woolgather.core.rows import Example, question
from woolgather.core.storage import read_rows
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine, make_text
from woolgather.probes import generate, task_of
from woolgather.recipes import isheep

ONE = ["base=fake", "iterations=1", "per_iteration=6", "measure.probes=55", "measure.calibration=0"]
AGREE = [
    "practice.tasks=17", "respond.samples=6", "respond.redrawn=3", "agreement={}",
    "mix.one_per_prompt=false",
]  # fmt: skip
DRY = Dry(isheep, ONE)
KNOWN = {
    question(task_of(probe)): probe.reference
    for probe in generate(17, seed_of("iter0/practice", 0), "train")
}


def half_right(model: Model, *_: object) -> FakeEngine:
    """An engine that gives the right answer to a task for practice in about half of its samples."""

    def answer(prompt: str, sampling: Sampling) -> str:
        right = next((said for asked, said in KNOWN.items() if asked in prompt), None)
        return right if right and sampling.seed % 2 else make_text(prompt, sampling)

    return FakeEngine(answer=answer, model=model)


def rows_of(folder: Path, step: str) -> list[Example]:
    return [row for row in read_rows(steps(folder)[step][0]) if isinstance(row, Example)]


def test_right_samples_of_checked_tasks_are_trained_on_beside_a_control_of_the_same_tasks(
    tmp_path: Path,
) -> None:
    folder = DRY.finished(tmp_path / "run", *AGREE, engine=half_right)
    kept = rows_of(folder, "iter0/keep")
    checked = [row for row in kept if "check" in row.meta]
    right = [row for row in checked if not row.set_aside]
    assert len({row.meta["prompt_id"] for row in right}) > 10
    assert all(0 < float(str(row.meta["agreed"])) < 0.9 for row in right)
    assert all(row.response in KNOWN[question(row)] for row in right)
    drawn = rows_of(folder, "control/random0")
    tasks = Counter(row.meta["prompt_id"] for row in kept if not row.set_aside)
    assert Counter(row.meta["prompt_id"] for row in drawn) == tasks
    assert "iter0/audition" not in steps(folder)
    assert steps(folder)["iter0/assess"][1].calls.get("requests", 0) == 0
    trained = {row.response for row in rows_of(folder, "iter0/mix")}
    assert {row.response for row in right} <= trained


def test_nothing_of_it_is_asked_for_by_default(tmp_path: Path) -> None:
    plan = DRY.planned(tmp_path / "run")
    assert not {"shot-pool", "iter0/practice"} & set(plan)
    plan = DRY.planned(tmp_path / "run", *AGREE)
    assert {"shot-pool", "iter0/practice"} <= set(plan)
    assert "iter0/audition" not in plan


def test_one_sample_agrees_with_none() -> None:
    with pytest.raises(ConfigError, match=r"1 samples of each task.*such as respond\.samples=8"):
        DRY.built("agreement={}")
