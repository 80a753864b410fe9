"""A chat template that prints the date: the same text when asked and when trained, on any later day."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.ops.curate.mix import RowLimits, mix
from woolgather.ops.train.sft import sft
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer
from woolgather.runs import folder as run_folder
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.record import current_steps, read_run
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import SftOptions, TrainJob

DATED = "{{ 'Today is ' + strftime_now('%Y-%m-%d') + '. ' }}"
SEEDS = [Example(id=f"seed-{i}", instruction=f"say {i}", response="the fox") for i in range(10)]


class Day(date):
    now = "2031-05-04"

    @classmethod
    def today(cls) -> date:  # type: ignore[override]
        return date.fromisoformat(cls.now)


class Trains(FakeTrainer):
    """Makes an empty model, and has no identity."""

    def __canonical__(self) -> None:  # type: ignore[override]
        return None

    def __call__(self, job: TrainJob, out: Path) -> Model:
        (out / "model").mkdir()
        return Model(str(out / "model"))


@pytest.fixture
def dated(tiny_model: Path, tmp_path: Path) -> Model:
    """The tiny model with a template that begins with the date."""
    path = tmp_path / "dated"
    shutil.copytree(tiny_model, path)
    renderer = Renderer(path)
    renderer.tokenizer.chat_template = DATED + renderer.template
    renderer.tokenizer.save_pretrained(str(path))
    (path / "chat_template.jinja").write_text(DATED + renderer.template)
    return Model(str(path), "dated")


def launch(
    folder: Path, base: Model, day: str, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[list[list[int]], str]:
    """Trains a step on `day`; its rows of tokens, and the date that engines were given."""
    monkeypatch.setattr(run_folder, "date", Day)
    monkeypatch.setattr(Day, "now", day)
    given: list[str] = []

    def opened(model: Model, options: EngineOptions, log: Path) -> Engine:
        given.append(options.date)
        return FakeEngine(model=model)

    backends = Backends(opened, Trains())
    with Run(folder, AskedRecipe("t"), backends, StepChoices(**more)) as run:
        rows = run.step("mix", mix, [], [*SEEDS], base=base, limits=RowLimits(max_length=96))
        run.step(
            "train", sft, rows, start=base, config=SftOptions(validation=0), trainer=run.trainer()
        )
        run._open_engine(base)
    [data] = folder.glob("train-*/data/train.parquet")
    return pq.read_table(data)["input_ids"].to_pylist(), given[-1]


def test_rows_are_trained_on_with_the_date_they_are_asked_with(
    dated: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, day = launch(tmp_path / "r", dated, "2031-05-04", monkeypatch)
    assert day == "2031-05-04"
    engine = Renderer(dated.path, date=day)
    prompts = {tuple(engine.prompt_ids((Message("user", s.instruction),))) for s in SEEDS}
    longest = max(map(len, prompts))
    assert {tuple(row[: len(p)]) for row in rows for p in prompts if row[: len(p)] == list(p)} == (
        prompts
    )
    assert engine.decode(rows[0]).startswith("Today is 2031-05-04. ")
    assert all(len(row) > len(min(prompts)) for row in rows)
    assert longest < 96


def test_on_a_later_day_nothing_changes(
    dated: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = launch(tmp_path / "r", dated, "2031-05-04", monkeypatch)
    again, day = launch(tmp_path / "r", dated, "2032-12-24", monkeypatch)
    assert (again, day) == (first, "2031-05-04")
    states = {str(e["step"]): e["state"] for e, _ in current_steps(tmp_path / "r")}
    assert states == {"mix": "remembered", "train": "remembered"}
    redone, _ = launch(tmp_path / "r", dated, "2032-12-24", monkeypatch, redo=("mix", "train"))
    assert redone == first
    other, _ = launch(tmp_path / "other", dated, "2032-12-24", monkeypatch)
    assert other != first


def test_the_length_of_a_row_is_counted_with_the_date(
    dated: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """%A makes days of different length: the count follows the pinned day."""
    path = Path(dated.path) / "chat_template.jinja"
    path.write_text(path.read_text().replace("%Y-%m-%d", "%A" * 4))
    lengths = {
        day: max(map(len, launch(tmp_path / day, dated, day, monkeypatch)[0]))
        for day in ("2031-05-04", "2031-05-07")
    }
    assert lengths["2031-05-04"] < lengths["2031-05-07"]  # a Sunday and a Wednesday


def test_the_date_is_no_part_of_identity(
    dated: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of engines: a run has one date, which run.json holds."""
    for name, day in (("a", "2031-05-04"), ("b", "2032-12-24")):
        launch(tmp_path / name, dated, day, monkeypatch)
    first, second = ({r.step: r for _, r in current_steps(tmp_path / name)} for name in "ab")
    for step in ("mix", "train"):
        assert first[step].fingerprint == second[step].fingerprint
        assert "date" not in first[step].payload["args"]
    assert read_run(tmp_path / "b")["date"] == "2032-12-24"
