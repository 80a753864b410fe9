"""Recipes compose: two runs of one method as scopes of one run, the second from the first's model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.storage import read_rows
from woolgather.engines import open_engine
from woolgather.engines.base import EngineOptions
from woolgather.ops.train.merge import merge
from woolgather.recipes import isheep
from woolgather.recipes.config import build
from woolgather.report import lineage as tracing
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.record import StepRecord, current_steps, read_launches
from woolgather.runs.run import Backends, Run
from woolgather.training import open_trainer

SMALL = ["base=fake", "iterations=1", "per_iteration=12", "judge.pairs=24", "measure.probes=55"]
SMALL += ["select_by=last", "controls=false"]


def opened(folder: Path, *, plan: bool = False, **choices: Any) -> Run:
    backends = Backends(open_engine, open_trainer(fake=True), EngineOptions(name="fake"))
    return Run(folder, AskedRecipe("two"), backends, StepChoices(**choices), plan=plan)


def built(*overrides: str) -> isheep.Config:
    return build(isheep.Config, "isheep", preset="demo", overrides=[*SMALL, *overrides])


def two(run: Any, seeds: dict[str, Path], *, changed: str = "keep.above=8") -> Model:
    base = run.model("base", "fake")
    for name in ("first", "second"):
        cfg = built(f"seeds={seeds[name]}", *([changed] if name == "second" else []))
        base = isheep.recipe(run.scope(name), cfg.model_copy(update={"base": base}))
    return run.step("result", merge, base, trainer=run.trainer(), card={"method": "twice"})  # type: ignore[no-any-return]


def written(path: Path, names: str) -> Path:
    lines = [
        {"id": f"{path.stem}-{i}", "instruction": f"Name {w} {i}.", "response": f"It is {w} {i}."}
        for i, w in enumerate(names.split() * 4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("seeds")
    return {
        "first": written(folder / "a.jsonl", "amber basin candle"),
        "second": written(folder / "b.jsonl", "delta ember fable"),
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, seeds: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    with opened(folder) as run:
        model = two(run, seeds)
    assert model.path.startswith(str(folder / "result-"))
    return folder


def records(folder: Path) -> dict[str, StepRecord]:
    return {r.step: r for _, r in current_steps(folder)}


def test_each_has_its_own_steps_seeds_and_draws(finished: Path) -> None:
    found = records(finished)
    first, second = (
        {name.partition("/")[2] for name in found if name.startswith(f"{scope}/")}
        for scope in ("first", "second")
    )
    assert first == second
    assert {"measure", "iter0/synthesize", "select", "summary", "result"} <= first
    for name in first - {"select", "iter0/stop", "probes"}:
        assert found[f"first/{name}"].fingerprint != found[f"second/{name}"].fingerprint, name
    inputs = sorted(p.name.rpartition("-")[0] for p in (finished / "inputs").iterdir())
    assert inputs == ["first-held_out", "first-seeds", "second-held_out", "second-seeds"]


def test_the_second_starts_from_the_firsts_result(finished: Path) -> None:
    found = records(finished)
    handed_over = found["first/result"].fingerprint
    assert found["second/measure"].payload["args"]["engine"]["engine"] == handed_over
    assert found["second/iter0/train"].payload["args"]["start"] == {"artifact": handed_over}
    told = {i["step"] for i in found["second/iter0/train"].inputs.values()}
    assert told == {"first/result", "second/iter0/mix"}


def test_the_result_is_the_roots(finished: Path) -> None:
    launch = read_launches(finished)[-1]
    assert launch.result is not None
    assert launch.result.startswith("result-")
    card = (finished / "result" / "README.md").read_text()
    assert "| method | twice |" in card
    inner = finished / "second" / f"result-{records(finished)['second/result'].fingerprint[:12]}"
    assert "base_model" not in next(inner.rglob("README.md")).read_text()  # it has no public name


def test_a_recipe_in_a_scope_only_has_no_result_of_the_run(
    tmp_path: Path, seeds: dict[str, Path]
) -> None:
    with opened(tmp_path / "run") as run:
        isheep.recipe(run.scope("only"), built(f"seeds={seeds['first']}"))
    assert read_launches(tmp_path / "run")[-1].result is None
    assert not (tmp_path / "run" / "result").exists()


def plan(folder: Path, seeds: dict[str, Path], **more: Any) -> dict[str, tuple[str, str]]:
    with opened(folder, plan=True) as run:
        two(run, seeds, **more)
    return {p.step: (p.state, p.why) for p in run.planned}


def test_nothing_changed_nothing_to_do(finished: Path, seeds: dict[str, Path]) -> None:
    assert {state for state, _ in plan(finished, seeds).values()} == {"remembered"}


def test_a_setting_of_one_runs_it_alone_and_what_comes_after(
    finished: Path, seeds: dict[str, Path]
) -> None:
    planned = plan(finished, seeds, changed="sft.learning_rate=1e-3")
    new = {name for name, (state, _) in planned.items() if state == "new"}
    assert "second/iter0/train" in new
    assert "result" in new
    assert not {name for name in new if name.startswith("first/")}
    assert "second/iter0/synthesize" not in new


def test_other_seeds_are_named_with_their_scope(
    finished: Path, seeds: dict[str, Path], tmp_path: Path
) -> None:
    other = {**seeds, "second": written(tmp_path / "c.jsonl", "garden harbor island")}
    planned = plan(finished, other)
    assert not [s for s, (state, _) in planned.items() if s.startswith("first/") and state == "new"]
    assert "second/seeds" in planned["second/iter0/synthesize"][1]


def test_a_row_is_traced_to_the_seeds_of_its_scope_and_its_model_through_both(
    finished: Path,
) -> None:
    steps = current_steps(finished)
    rows = next(finished / str(e["path"]) for e, r in steps if r.step == "second/iter0/mix")
    row = next(r for r in read_rows(rows) if r.parents)
    homes = {node.where for _, node in tracing.walk(tracing.trace(finished, row.id))}
    assert any(home.startswith("inputs/second-seeds") for home in homes), homes
    assert not any("first" in home for home in homes), homes
    model = tracing.trace(finished, "second/iter0/train")
    assert "first/result" in {node.name for _, node in tracing.walk(model)}
