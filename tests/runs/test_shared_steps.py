"""Runs in one directory take finished steps and remembered answers from one another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.rows import Example, set_aside
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.inputs.store import HUB
from woolgather.runs.record import current_steps, read_launches, read_run, write_run
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


def open_run(
    folder: Path, engine: FakeEngine | None = None, *, plan: bool = False, **choices: Any
) -> Run:
    backends = Backends(
        lambda model, o, log: engine or FakeEngine(model=model),
        FakeTrainer(),
        EngineOptions(name="fake"),
    )
    asked = StepChoices(shared=folder.parent, **choices)
    return Run(folder, AskedRecipe("test"), backends, asked, plan=plan)


def write(engine: Engine, *, n: int, seed: int = 0) -> Iterator[Example]:
    DONE.append("write")
    requests = (Request(f"task {i}", Sampling(seed=seed + i)) for i in range(n))
    for completion in ask(engine, requests):
        yield Example(instruction=completion.text)


def keep_long(rows: Iterable[Example], *, above: int) -> Iterator[Example]:
    DONE.append("keep")
    for row in rows:
        yield row if len(row.instruction) > above else set_aside(row, "short")


def count(rows: Iterable[Example]) -> Metrics:
    DONE.append("count")
    return Metrics({"rows": len(list(rows))})


def tune(*, out: Path) -> Model:
    DONE.append("tune")
    (out / "model").mkdir()
    (out / "model" / "weights").write_text("w")
    return Model(str(out / "model"))


def recipe(run: Any, *, above: int = 40, n: int = 6) -> None:
    rows = run.step("write", write, run.engine(FAKE_MODEL), n=n)
    kept = run.step("keep", keep_long, rows, above=above)
    run.step("count", count, kept)
    run.step("result", tune)


def states(folder: Path) -> dict[str, str]:
    return {entry["step"]: entry["state"] for entry, _ in current_steps(folder)}


def test_a_step_that_another_run_made_is_there_and_is_not_made_again(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    DONE.clear()
    with open_run(tmp_path / "b") as run:
        recipe(run, above=45)
    assert DONE == ["keep", "count"]
    assert states(tmp_path / "b") == {
        "write": "remembered", "keep": "ran", "count": "ran", "result": "remembered",
    }  # fmt: skip
    shutil.rmtree(tmp_path / "a")  # it stands by itself
    with open_run(tmp_path / "b") as run:
        recipe(run, above=45)
    assert set(states(tmp_path / "b").values()) == {"remembered"}
    assert (tmp_path / "b" / "result" / "weights").read_text() == "w"


def test_one_that_is_half_there_is_made(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    (part,) = (tmp_path / "a").glob("write-*/part-*")
    part.unlink()
    (left,) = [p.name for p in (tmp_path / "a").glob("count-*")]
    (tmp_path / "b" / left / "attempt-1").mkdir(parents=True)  # as a kill leaves it
    DONE.clear()
    with open_run(tmp_path / "b") as run:
        recipe(run)
    assert DONE == ["write"]
    assert not (tmp_path / "b" / left / "attempt-1").exists()


def test_what_is_made_again_in_one_stays_in_the_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with open_run(tmp_path / name) as run:
            recipe(run)
    (kept,) = (tmp_path / "a").glob("keep-*")
    before = {p.name: p.read_bytes() for p in kept.iterdir()}
    DONE.clear()
    with open_run(tmp_path / "b", redo=frozenset({"keep"})) as run:
        recipe(run)
    assert DONE == ["keep"]
    assert {p.name: p.read_bytes() for p in kept.iterdir()} == before


def test_answers_are_remembered_for_all(tmp_path: Path) -> None:
    engine = FakeEngine()
    with open_run(tmp_path / "a", engine) as run:
        recipe(run, n=6)
    with open_run(tmp_path / "b", engine) as run:
        recipe(run, n=9)
    assert engine.calls == 9
    assert (tmp_path / "journal.sqlite").is_file()
    assert not list(tmp_path.glob("*/journal.sqlite"))


def test_answers_are_remembered_apart_where_that_is_asked_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    with open_run(tmp_path / "a", engine) as run:
        recipe(run, n=6)
    with open_run(tmp_path / "b", engine, own_journal=True) as run:
        recipe(run, n=7)
    assert engine.calls == 6 + 7
    (tmp_path / "b" / str(current_steps(tmp_path / "b")[0][0]["path"]) / "record.json").unlink()
    with open_run(tmp_path / "b", engine) as run:  # it goes on with those that it has
        recipe(run, n=7)
    assert engine.calls == 6 + 7


def test_who_makes_a_step_has_the_attempts_that_others_were_killed_in(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    step = next(path.name for path in (tmp_path / "a").glob("result-*"))
    shutil.rmtree(tmp_path / "a" / step)
    for name in ("attempt-1", "attempt-2"):
        (tmp_path / "a" / step / name).mkdir(parents=True)
        (tmp_path / "a" / step / name / "checkpoint").write_text(name)
    seen: list[str] = []

    def tune(*, out: Path) -> Model:
        seen.append(out.name)
        seen.extend(sorted(path.read_text() for path in out.parent.glob("*/checkpoint")))
        return Model(str(out))

    tune.__module__, tune.__qualname__ = __name__, "tune"
    (tmp_path / "b" / step / "attempt-1").mkdir(parents=True)
    with open_run(tmp_path / "b") as run:
        run.step("result", tune)
    assert seen == ["attempt-4", "attempt-1", "attempt-2"]
    assert not list((tmp_path / "b" / step).glob("attempt-*"))


def test_a_step_is_taken_while_its_maker_still_clears_up(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    (made,) = (tmp_path / "a").glob("result-*")
    (made / "attempt-1").mkdir()
    (made / "attempt-1" / "left").touch()
    with open_run(tmp_path / "b") as run:
        recipe(run)
    taken = tmp_path / "b" / made.name
    assert (taken / "model" / "weights").is_file()
    assert not (taken / "attempt-1").exists()


def test_a_plan_knows_what_another_has_and_writes_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    with open_run(tmp_path / "b", plan=True) as planned:
        recipe(planned, above=45)
    found = {line.step: line.state for line in planned.planned}
    assert found == {"write": "remembered", "keep": "new", "count": "new", "result": "remembered"}
    assert all(len(line.fingerprint) == 64 for line in planned.planned)
    assert not (tmp_path / "b").exists()


def test_a_new_one_begins_as_the_oldest_did(tmp_path: Path) -> None:
    with open_run(tmp_path / "later") as run:
        recipe(run)
    head = read_run(tmp_path / "later")
    write_run(tmp_path / "later", {**head, "created": "2026-02-02T00:00:00+00:00"})
    old = {**head, "date": "2026-01-01", "created": "2026-01-01T00:00:00+00:00"}
    write_run(tmp_path / "x-old", {**old, "precision": "bfloat16"})
    (tmp_path / "x-old" / "inputs").mkdir()
    noted = {"commits": {"owner/name@main": "c" * 40}, "rows": {"f" * 64: {"folder": "none"}}}
    (tmp_path / "x-old" / "inputs" / HUB).write_text(json.dumps(noted))
    with open_run(tmp_path / "new") as run:
        recipe(run)
    found = read_run(tmp_path / "new")
    assert (found["date"], found["precision"]) == ("2026-01-01", "bfloat16")
    copied = json.loads((tmp_path / "new" / "inputs" / HUB).read_text())
    assert copied == {"commits": noted["commits"], "rows": {}}


def test_a_run_alone_shares_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path / "a") as run:
        recipe(run)
    DONE.clear()
    backends = Backends(
        lambda model, o, log: FakeEngine(model=model), FakeTrainer(), EngineOptions("fake")
    )
    with Run(tmp_path / "b", AskedRecipe("test"), backends) as run:
        recipe(run)
    assert DONE == ["write", "keep", "count", "tune"]
    assert len(read_launches(tmp_path / "b")) == 1
