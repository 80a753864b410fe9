"""`precision: auto` is decided where a run begins, and stays what it became."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core import machine_speed
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import DeviceSpeed, Precision, remember
from woolgather.core.rows import Example
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.train.sft import sft
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.progress import Progress
from woolgather.runs.record import current_steps, read_launches
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import SftOptions, TrainJob

ROWS = [Example(id=f"r{i}", instruction=f"Say {i}.", response=f"{i}") for i in range(12)]


class Machine(FakeTrainer):
    """A trainer that computes one precision faster, and notes which it was told to train in."""

    def __init__(self, faster: Precision | None) -> None:
        self.faster = faster
        self.trained: list[str] = []

    def __canonical__(self) -> None:  # type: ignore[override]
        return None

    def precision(self, *, measure: bool = True) -> Precision | None:  # type: ignore[override]
        return self.faster

    def __call__(self, job: TrainJob, out: Path) -> Model:
        self.trained.append(job.options.precision)
        return super().__call__(job, out)


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def launch(folder: Path, machine: FakeTrainer, rate: float = 1e-4, **options: Any) -> Run:
    """The same small run: two trainings, the second of which `rate` decides."""
    backends = Backends(
        lambda model, o, log: FakeEngine(model=model), machine, EngineOptions(name="fake")
    )
    with Run(folder, AskedRecipe("test"), backends, **options) as run:
        made = run.step("rows", examples)
        first = SftOptions(warmup_updates=0, max_updates=2)
        second = first.model_copy(update={"learning_rate": rate})
        for name, config in (("first", first), ("second", second)):
            run.step(name, sft, made, start=FAKE_MODEL, config=config, trainer=run.trainer())
    return run


def examples() -> Iterator[Example]:
    yield from ROWS


def states(folder: Path) -> dict[str, str]:
    return {e["step"]: e["state"] for e in read_launches(folder)[-1].steps}


def precision_in(folder: Path, step: str) -> str:
    [record] = [r for _, r in current_steps(folder) if r.step == step]
    return str(record.payload["args"]["config"]["precision"])


def as_the_version_before(folder: Path, rate: float = 1e-4) -> None:
    """A run folder whose records say `auto` and whose run.json says nothing of precision."""
    launch(folder, Machine(None), rate)
    head = json.loads((folder / "run.json").read_text())
    del head["precision"]
    (folder / "run.json").write_text(json.dumps(head))
    assert precision_in(folder, "first") == "auto"


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_a_new_run_trains_in_what_is_fast_here_and_says_so_in_its_records(
    faster: Precision, tmp_path: Path
) -> None:
    machine = Machine(faster)
    launch(tmp_path / "run", machine)
    assert machine.trained == [faster, faster]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["precision"] == faster
    assert precision_in(tmp_path / "run", "first") == faster


def test_on_another_machine_it_goes_on_as_it_began_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path / "cache"))
    remember({"cpu": DeviceSpeed({"float32": 90.0, "bfloat16": 0.3}, {}, 1.0)})
    launch(tmp_path / "run", Machine("bfloat16"))
    other, notes = Machine("float32"), Notes()
    launch(tmp_path / "run", other, rate=2e-4, progress=notes)
    assert states(tmp_path / "run")["first"] == "remembered"
    assert other.trained == ["bfloat16"]
    said = [n for n in notes.notes if "as this run began" in n]
    assert said == [
        "second: trains in bfloat16, as this run began (float32 is 300 times as fast here). To "
        "train in float32, set the training's precision (sft.precision, say): that makes it anew."
    ]


def test_on_a_machine_like_the_first_nothing_is_said(tmp_path: Path) -> None:
    launch(tmp_path / "run", Machine("float32"))
    notes = Notes()
    launch(tmp_path / "run", Machine("float32"), rate=2e-4, progress=notes)
    assert not any("as this run began" in n for n in notes.notes)


def test_a_finished_run_asks_no_machine(tmp_path: Path) -> None:
    class Unmeasured(Machine):
        def precision(self, *, measure: bool = True) -> Precision | None:  # type: ignore[override]
            raise AssertionError("asked")

    launch(tmp_path / "run", Machine("float32"))
    launch(tmp_path / "run", Unmeasured(None))
    assert set(states(tmp_path / "run").values()) == {"remembered"}
    planned = launch(tmp_path / "run", Unmeasured(None), plan=True)
    assert {p.state for p in planned.planned} == {"remembered"}


def test_records_that_say_auto_count_as_bfloat16(tmp_path: Path) -> None:
    as_the_version_before(tmp_path / "run")
    machine = Machine("float32")
    launch(tmp_path / "run", machine)
    assert set(states(tmp_path / "run").values()) == {"remembered"}
    launch(tmp_path / "run", machine, rate=3e-4)
    assert states(tmp_path / "run") == {
        "rows": "remembered",
        "first": "remembered",
        "second": "ran",
    }
    assert machine.trained == ["bfloat16"]
    why = read_launches(tmp_path / "run")[-1].steps[-1]["why"]
    assert why == "new because args.config.learning_rate: 0.0001 -> 0.0003"


def test_a_plan_of_a_new_run_on_an_unmeasured_machine_leaves_it_open(tmp_path: Path) -> None:
    planned = launch(tmp_path / "run", Machine(None), plan=True)
    assert planned.training_precision() is None
    assert [p.state for p in planned.planned] == ["new", "new", "new"]


def test_a_dry_run_decides_nothing_for_a_real_one(tmp_path: Path) -> None:
    launch(tmp_path / "run", FakeTrainer())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["precision"] is None
    machine = Machine("float32")
    launch(tmp_path / "run", machine)
    assert machine.trained == ["float32", "float32"]


def test_without_torch_a_run_that_trains_stops_where_it_would_train(tmp_path: Path) -> None:
    class Without(Machine):
        def precision(self, *, measure: bool = True) -> Precision | None:  # type: ignore[override]
            raise ConfigError("training needs torch")

    with pytest.raises(ConfigError, match="training needs torch"):
        launch(tmp_path / "run", Without(None))
    assert [e["step"] for e in read_launches(tmp_path / "run")[-1].steps] == ["rows"]


def test_the_fake_path_is_the_same_whatever_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in machine_speed.PRECISIONS:
        monkeypatch.setenv(machine_speed.FORCED, answer)
        launch(tmp_path / answer, FakeTrainer())
    first, second = (
        [r.fingerprint for _, r in current_steps(tmp_path / a)] for a in machine_speed.PRECISIONS
    )
    assert first == second
