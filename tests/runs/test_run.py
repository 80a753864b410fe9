"""A step is a remembered call: loaded, explained, re-run, placed in a plan, never half there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Choice, Dataset, Metrics, Model
from woolgather.core.errors import RunDirError, Stopped
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example, set_aside
from woolgather.core.views import View, table
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe, RunFolder
from woolgather.runs.inputs import open_texts
from woolgather.runs.record import current_steps, read_input, read_launches, read_record
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import TrainJob

DONE: list[str] = []


class NoTrainer(FakeTrainer):
    def __call__(self, job: TrainJob, out: Path) -> Model:
        raise AssertionError("no training here")


def open_run(
    folder: Path, engine: FakeEngine | None = None, *, plan: bool = False, **choices: Any
) -> Run:
    backends = Backends(
        lambda model, o, log: engine or FakeEngine(model=model),
        NoTrainer(),
        EngineOptions(name="fake"),
    )
    return Run(folder, AskedRecipe("test"), backends, StepChoices(**choices), plan=plan)


@op("write", expects=lambda engine, n, **_: Expected(rows=n, calls=n, new_tokens=8 * n))
def write(engine: Engine, *, n: int, seed: int = 0) -> Iterator[Example]:
    DONE.append("write")
    requests = (Request(f"task {i}", Sampling(seed=seed + i)) for i in range(n))
    for completion in ask(engine, requests):
        yield Example(instruction=completion.text)


def keep_long(rows: Iterable[Example], *, above: int) -> Iterator[Example]:
    DONE.append("keep_long")
    for row in rows:
        yield row if len(row.instruction) > above else set_aside(row, "short")
    return [table("kept", ["above"], [[above]])]  # type: ignore[return-value]


def count(rows: Iterable[Example]) -> Metrics:
    DONE.append("count")
    return Metrics({"rows": len(list(rows))})


@op("stop", expects=lambda measures, **_: Expected(value=False))
def stop(measures: list[Metrics]) -> Choice:
    return Choice(measures[-1].values["rows"] < 3, "few rows")


def recipe(run: Any, n: int = 6, above: int = 40, iterations: int = 1) -> Metrics:
    measures = []
    for t in range(iterations):
        it = run.scope(f"iter{t}")
        rows = it.step("write", write, run.engine(FAKE_MODEL), n=n)
        kept = it.step("keep", keep_long, rows, above=above)
        measures.append(it.step("count", count, kept))
        if it.step("stop", stop, measures).value:
            break
    return measures[-1]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    DONE.clear()


def test_finished_run_executes_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        first = recipe(run)
    assert DONE == ["write", "keep_long", "count"]
    DONE.clear()
    engine = FakeEngine()
    with open_run(tmp_path / "r", engine) as run:
        assert recipe(run) == first
    assert DONE == []
    assert engine.calls == 0


def test_changed_setting_reruns_only_what_depends_on_it_and_says_why(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
    DONE.clear()
    with open_run(tmp_path / "r", plan=True) as plan:
        recipe(plan, above=50)
    states = {p.step: (p.state, p.why) for p in plan.planned}
    assert states["iter0/write"][0] == "remembered"
    assert states["iter0/keep"] == ("new", "new because args.above: 40 -> 50")
    assert "iter0/keep" in states["iter0/count"][1]
    assert DONE == []
    with open_run(tmp_path / "r") as run:
        recipe(run, above=50)
    assert DONE == ["keep_long", "count"]


def test_more_iterations_run_only_the_new_ones(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run, iterations=1)
    DONE.clear()
    with open_run(tmp_path / "r") as run:
        recipe(run, iterations=2)
    assert DONE == ["write", "keep_long", "count"]


def test_iterations_draw_different_seeds_and_replicates_too(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run, iterations=2)
    with open_run(tmp_path / "other", replicate=1) as run:
        recipe(run)
    prints = {
        record.fingerprint
        for folder in ("r", "other")
        for _, record in current_steps(tmp_path / folder)
        if record.step.endswith("write")
    }
    assert len(prints) == 3


def test_larger_n_asks_only_the_new_calls(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run, n=6)
    engine = FakeEngine()
    with open_run(tmp_path / "r", engine) as run:
        recipe(run, n=9)
    assert engine.calls == 3


def test_rows_views_reasons_and_inputs_are_on_record(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run, above=60)
    records = {r.step: r for _, r in current_steps(tmp_path / "r")}
    keep = records["iter0/keep"]
    assert keep.result["count"] + keep.set_aside["short"] == keep.result["rows"] == 6
    assert keep.shown() == [View("table", "kept", {"columns": ["above"], "rows": [[60]]})]
    write_record = records["iter0/write"]
    assert keep.inputs == {
        write_record.fingerprint: {"step": "iter0/write", "digest": write_record.digest}
    }
    assert write_record.calls["requests"] == 6
    rows = list(Dataset(tmp_path / "r" / keep_dir(tmp_path / "r"), "").rows())
    assert len({row.id for row in rows}) == 6


def keep_dir(folder: Path) -> str:
    return next(str(e["path"]) for e, r in current_steps(folder) if r.step == "iter0/keep")


def read_texts(documents: Iterable[Any], *, limit: int) -> Iterator[Example]:
    for document, _ in zip(documents, range(limit), strict=False):
        yield Example(instruction="", response=document.text, meta={"source": document.source})


def test_texts_are_an_input_on_record_and_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    texts = open_texts(tmp_path / "a.txt")
    with open_run(tmp_path / "run", plan=True) as planned:
        planned.step("texts", read_texts, texts, limit=1)
    assert not (tmp_path / "run").exists()
    with open_run(tmp_path / "run") as run:
        run.step("texts", read_texts, texts, limit=1)
    print_ = texts.fingerprint
    record = read_record(next((tmp_path / "run").glob("texts-*")))
    assert record.inputs == {print_: {"step": "texts", "digest": print_}}
    folder = tmp_path / "run" / "inputs" / f"texts-{print_[:12]}"
    assert [p.name for p in folder.iterdir()] == ["input.json"]
    assert read_input(folder)["name"] == str(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("another")
    with open_run(tmp_path / "run") as again:
        again.step("texts", read_texts, open_texts(tmp_path / "a.txt"), limit=1)
    entry = read_launches(tmp_path / "run")[-1].steps[-1]
    assert entry["why"].endswith('-> "texts"')


def test_truncated_data_is_noticed_and_made_again(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
    part = next((tmp_path / "r" / keep_dir(tmp_path / "r")).glob("part-*"))
    whole = part.read_bytes()
    part.write_bytes(whole[:10])
    DONE.clear()
    with open_run(tmp_path / "r") as run:
        recipe(run)
    assert DONE == ["keep_long"]
    assert part.read_bytes() == whole


def test_changed_input_bytes_make_later_records_stale(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
    path = tmp_path / "r" / keep_dir(tmp_path / "r") / "record.json"
    record = json.loads(path.read_text())
    record["digest"] = "0" * 64
    path.write_text(json.dumps(record))
    DONE.clear()
    with open_run(tmp_path / "r") as run:
        recipe(run)
    assert DONE == ["count"]


def test_redo_runs_the_step_again_without_asking_again(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
    DONE.clear()
    engine = FakeEngine()
    with open_run(tmp_path / "r", engine, redo=("iter0/write",)) as run:
        recipe(run)
    assert DONE == ["write"]
    assert engine.calls == 0


def test_given_rows_stand_for_a_step(tmp_path: Path) -> None:
    given = tmp_path / "rows.jsonl"
    lines = [{"instruction": f"Say {w * 30}", "response": w} for w in ("one", "two", "six")]
    given.write_text("\n".join(json.dumps(line) for line in lines))
    with open_run(tmp_path / "r", given={"iter0/write": str(given)}) as run:
        assert recipe(run).values["rows"] == 3
    assert DONE == ["keep_long", "count"]
    with (
        open_run(tmp_path / "r", given={"iter0/count": str(given)}) as run,
        pytest.raises(RunDirError, match="only steps that make rows"),
    ):
        recipe(run)


def test_plan_of_a_new_run_writes_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", plan=True) as plan:
        recipe(plan, iterations=2)
    assert not (tmp_path / "r").exists()
    assert [p.step for p in plan.planned].count("iter1/stop") == 1
    assert plan.planned[0].expected.calls == 6
    assert plan.planned[1].expected.rows == 6


def test_second_process_and_other_recipe_are_refused(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
        with pytest.raises(RunDirError, match=r"in use by process \d+"):
            open_run(tmp_path / "r").__enter__()
    other = open_run(tmp_path / "r")
    other.recipe = AskedRecipe("another")
    with pytest.raises(RunDirError, match="a run of 'test', not of 'another'"):
        other.__enter__()


def test_newer_format_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        recipe(run)
    head = json.loads((tmp_path / "r" / "run.json").read_text())
    (tmp_path / "r" / "run.json").write_text(json.dumps({**head, "format": 99}))
    with pytest.raises(RunDirError, match="format 99"):
        open_run(tmp_path / "r").__enter__()


def make_model(*, out: Path) -> Model:
    folder = out / "model"
    folder.mkdir()
    (folder / "weights").write_text("w")
    return Model(str(folder.resolve()))


def test_a_model_is_where_its_step_is_also_under_a_relative_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run(Path("runs/r")) as run:
        made = run.step("train", make_model)
    assert (Path(made.path) / "weights").read_text() == "w"
    assert "attempt" not in made.path
    _, record = current_steps(tmp_path / "runs" / "r")[0]
    assert record.result["path"] == "model"


def test_failure_keeps_what_is_finished(tmp_path: Path) -> None:
    def broken(rows: Iterable[Example], *, above: int) -> Iterator[Example]:
        yield from ()
        raise RuntimeError("boom")

    broken.__qualname__ = "broken"

    def failing(run: Run) -> None:
        with run:
            rows = run.scope("iter0").step("write", write, run.engine(FAKE_MODEL), n=6)
            run.scope("iter0").step("keep", broken, rows, above=1)

    with pytest.raises(RuntimeError, match="boom"):
        failing(open_run(tmp_path / "r"))
    assert read_launches(tmp_path / "r")[-1].status == "failed"
    DONE.clear()
    with open_run(tmp_path / "r") as run:
        recipe(run)
    assert DONE == ["keep_long", "count"]


def test_what_is_made_again_takes_over_nothing_of_what_was_there(tmp_path: Path) -> None:
    with open_run(tmp_path / "r") as run:
        run.step("train", make_model)
    folder = next((tmp_path / "r").glob("train-*"))
    (folder / "model" / "stray").write_text("old")
    (folder / "attempt-1").mkdir()
    with open_run(tmp_path / "r", redo=("train",)) as run:
        run.step("train", make_model)
    assert sorted(p.name for p in folder.rglob("*")) == ["model", "record.json", "weights"]


def test_a_launch_stopped_while_it_is_opened_is_recorded_as_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = RunFolder._save

    def stop_after(self: RunFolder, status: Any, message: str) -> None:
        saved(self, status, message)
        if status == "running":
            raise Stopped("SIGTERM")

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "_save", stop_after)
        with pytest.raises(Stopped), open_run(tmp_path / "run"):
            raise AssertionError("never entered")
    assert read_launches(tmp_path / "run")[0].status == "stopped"
    with open_run(tmp_path / "run"):  # and the directory is free again
        pass
