"""Training rows beside what is measured: counted in every method, and set aside where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, question
from woolgather.core.storage import read_rows
from woolgather.data import builtin_seeds, read_examples
from woolgather.recipes import config

COUNTED = {
    "isheep": {"iter0/contamination", "iter1/contamination"},
    "humback": {"iter0/contamination", "iter1/contamination"},
    "spin": {"iter0/contamination", "iter1/contamination"},
    "dromedary": {"engrave/contamination"},
}
IN_CONTROLS = {
    "isheep": {"control/seeds-alone-contamination", "control/random-rows-contamination"},
    "humback": {"control/random-rows-contamination"},
    "spin": {"contamination", "control/sft-on-the-real-answers-contamination"},
    "dromedary": {"control/seeds-alone-contamination", "control/plain-answers-contamination"},
}
SMALL = ["base=fake", "measure.probes=55", "measure.calibration=12"]


def dry(recipe: str) -> Dry:
    iterations = [] if recipe == "dromedary" else ["iterations=2"]
    return Dry(config.find_recipe(recipe), [*SMALL, *iterations])


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_every_method_counts_and_cleans_its_controls_on_request(
    recipe: str, tmp_path: Path
) -> None:
    made = dry(recipe)
    plain = {s for s in made.planned(tmp_path / "run") if "contamination" in s}
    assert plain == COUNTED[recipe]
    removed = made.planned(tmp_path / "run", "contamination.remove=true")
    assert {s for s in removed if "contamination" in s} == COUNTED[recipe] | IN_CONTROLS[recipe]


def short_seeds() -> list[Example]:
    """Seeds with a short answer, which every method trains on."""
    rows = [row for row in read_examples(builtin_seeds()) if isinstance(row, Example)]
    return [row for row in rows if len(row.instruction.split()) > 6 > len(row.response.split())]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A benchmark that asks what three of the seeds ask."""
    lines = [{"instruction": row.instruction, "input": row.input} for row in short_seeds()[:3]]
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    """Multiple-choice questions, one of which a seed asks."""
    texts = [question(short_seeds()[3]), *(f"Which of them is number {i}?" for i in range(59))]
    lines = [{"question": text, "options": ["this", "that"], "answer": 0} for text in texts]
    file = tmp_path / "guard.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_benchmark_and_a_guard_in_the_seeds_are_counted_then_set_aside(
    bench: Path, guard: Path, tmp_path: Path
) -> None:
    own = [*SMALL, "iterations=1", "controls=false", f"measure.guard={guard}"]
    made = Dry(config.find_recipe("spin"), own)
    run, named = tmp_path / "run", f"contamination.against={bench}"
    made.finished(run, named)
    _, counted = steps(run)["iter0/contamination"]
    values = counted.result["values"]
    measured = {"held-out tasks": 0, "probes": 0}
    assert values["alike"] == {**measured, "guard questions": 1, "bench.jsonl": 3}
    assert values["overlapping"] == 4
    assert counted.headline.startswith("4 of ")
    assert any(view.kind == "alarm" for view in counted.shown())

    made.finished(run, named, "contamination.remove=true")
    done = steps(run)
    folder, cleaned = done["contamination"]
    asked = {row.instruction for row in read_rows(folder) if row.set_aside}
    assert asked == {row.instruction for row in short_seeds()[:4]}
    assert cleaned.fingerprint in done["iter0/pairs"][1].inputs
    assert done["iter0/contamination"][1].result["values"]["overlapping"] == 0


def test_a_benchmark_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        dry("isheep").planned(tmp_path / "run", "contamination.against=nowhere.jsonl")
