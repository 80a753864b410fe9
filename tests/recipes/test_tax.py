"""A guard of multiple-choice questions in every method, on the fake engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.errors import ConfigError, InputError
from woolgather.recipes import config, isheep

SMALL = ["base=fake", "measure.probes=22", "measure.calibration=0", "controls=false"]
MODELS = {
    "isheep": {"guard", "iter0/guard", "iter1/guard"},
    "humback": {"guard", "forward/guard", "iter0/guard", "iter1/guard"},
    "spin": {"guard", "iter0/guard", "iter1/guard"},
    "dromedary": {"guard", "engrave/guard"},
}
CONTROLS = {
    "isheep": {"control/seeds-alone-guard", "control/random-rows-guard"},
    "humback": {"control/random-rows-guard"},
    "spin": {"control/sft-on-the-real-answers-guard"},
    "dromedary": {"control/seeds-alone-guard", "control/plain-answers-guard"},
}


def dry(recipe: str) -> Dry:
    more = ["variant=v2"] if recipe == "dromedary" else ["iterations=2"]
    return Dry(config.find_recipe(recipe), [*SMALL, *more])


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    lines = [
        {
            "question": f"Which is number {i}?",
            "options": ["this", "that", "neither"],
            "answer": i % 3,
        }
        for i in range(60)
    ]
    file = tmp_path / "guard.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_every_method_asks_the_base_every_iteration_and_trained_controls(
    recipe: str, guard: Path, tmp_path: Path
) -> None:
    made, run = dry(recipe), tmp_path / "run"
    assert not {step for step in made.planned(run) if "guard" in step}
    planned = made.planned(run, f"measure.guard={guard}")
    assert {step for step in planned if "guard" in step} == MODELS[recipe]
    planned = made.planned(run, f"measure.guard={guard}", "controls=true")
    assert {step for step in planned if "guard" in step} == MODELS[recipe] | CONTROLS[recipe]


def test_the_report_has_its_table_and_nothing_else_is_done_again(
    guard: Path, tmp_path: Path
) -> None:
    own = ["iterations=1", "per_iteration=10", "judge.pairs=24", "controls=true"]
    made = Dry(isheep, [*SMALL, *own])
    run, named = tmp_path / "run", f"measure.guard={guard}"
    made.finished(run)
    plain = steps(run)
    assert plain["select"][1].op == "select_model"
    anew = {step for step, (state, _) in made.planned(run, named).items() if state == "new"}
    asked = {"guard", "iter0/guard", *CONTROLS["isheep"]}
    told = {"iter0/contamination", "iter0/stop", "select", "summary"}
    assert anew == asked | told | {"result"}, "which one is not known"
    made.finished(run, named)
    done = steps(run)
    assert done["select"][1].op == "select_guarded"
    assert done["guard"][1].headline.endswith(" of 60 questions of guard.jsonl")
    (tax,) = [view for view in done["summary"][1].shown() if view.title == "Tax and drift"]
    models = [row[0] for row in tax.data["rows"]]
    assert models == ["base", "iter0", "seeds alone", "the same rows"]
    assert all(row[1]["count"] == 60 for row in tax.data["rows"])
    assert {state for state, _ in made.planned(run, named).values()} == {"remembered"}


def test_a_guard_that_cannot_be_read_is_refused_by_plan(guard: Path, tmp_path: Path) -> None:
    made = dry("isheep")
    with pytest.raises(ConfigError, match=r"measure\.guard=nowhere\.jsonl: no such file"):
        made.planned(tmp_path / "run", "measure.guard=nowhere.jsonl")
    with guard.open("a") as file:
        file.write('{"question": "And this?", "options": ["a", "b"], "answer": "C"}\n')
    with pytest.raises(
        InputError, match=r"guard\.jsonl, line 61: 'answer' is 'C', which is none of"
    ):
        made.planned(tmp_path / "run", f"measure.guard={guard}")
    assert not (tmp_path / "run").exists()
