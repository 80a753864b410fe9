"""Times in a plan: of this run's finished steps, of this machine as measured, or a guess; told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.expected import Expected
from woolgather.core.machine_speed import DeviceSpeed, remember
from woolgather.core.views import table
from woolgather.runs.record import RunRecord, StepRecord, step_dir, write, write_launch, write_run
from woolgather.runs.speed import Rates

SPEED = DeviceSpeed({"float32": 100.0, "bfloat16": 0.5}, {"float32": 54.0, "bfloat16": 1.0}, 1000.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path / "cache"))


def finished(folder: Path, *records: StepRecord) -> None:
    """A run with these steps."""
    write_run(folder, {"recipe": "test"})
    entries = []
    for record in records:
        path = step_dir(record.step, record.fingerprint)
        (folder / path).mkdir(parents=True)
        write(record, folder / path)
        entries.append({"step": record.step, "path": path, "state": "ran"})
    write_launch(RunRecord(1, "test", status="finished", steps=entries), folder)


def record(step: str, *, seconds: float, calls: dict[str, int], **more: object) -> StepRecord:
    return StepRecord(step, f"m:{step}", step * 3, "model", seconds=seconds, calls=calls, **more)  # type: ignore[arg-type]


def test_without_any_measurement_it_is_a_guess_and_says_so(tmp_path: Path) -> None:
    rates = Rates.of_run(tmp_path / "run")
    assert rates.source == "a guess: this machine is not measured yet"
    assert 20 < rates.new_tokens < 200


def test_a_measured_machine_gives_the_speed_of_the_embedded_model(tmp_path: Path) -> None:
    remember({"cpu": SPEED})
    rates = Rates.of_run(tmp_path / "run", precision="float32")
    assert rates.source == "from this machine's measured speed"
    # 135 million parameters: two operations each to read or write a token, six to train on one.
    assert rates.new_tokens == pytest.approx(0.45 * 54e9 / 2.7e8)
    assert rates.read_tokens == pytest.approx(100e9 / 2.7e8)
    assert rates.trained_tokens == pytest.approx(0.45 * 100e9 / 8.1e8)


def test_a_run_that_trains_in_the_slow_precision_is_told_how_long_that_takes(
    tmp_path: Path,
) -> None:
    remember({"cpu": SPEED})
    slow, fast = (Rates.of_run(tmp_path, precision=p) for p in ("bfloat16", "float32"))  # type: ignore[arg-type]
    work = Expected(updates=10, train_tokens=10_000)
    assert slow.seconds(work) - 10 == pytest.approx(200 * (fast.seconds(work) - 10))


def test_memory_bounds_generation_where_copies_are_slow(tmp_path: Path) -> None:
    remember({"cpu": DeviceSpeed(SPEED.product, SPEED.step, 2.7)})
    assert Rates.of_run(tmp_path / "run").new_tokens == pytest.approx(2.7e9 * 16 / (4 * 1.35e8))


def test_weights_that_are_here_are_counted(tmp_path: Path) -> None:
    remember({"cpu": SPEED})
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(bytes(54_000))
    assert Rates.of_run(tmp_path / "run", str(base)).read_tokens == pytest.approx(100e9 / 54e3)


def test_finished_steps_of_the_run_come_first(tmp_path: Path) -> None:
    remember({"cpu": SPEED})
    numbers = [["rows", 64], ["tokens", 5000], ["seconds", 50.0], ["loss", 2.0]]
    trained = table("Training", ["measure", "value"], numbers)
    view = {"kind": "table", "title": trained.title, "data": trained.data, "note": ""}
    finished(
        tmp_path / "run",
        record("ask", seconds=10, calls={"requests": 50, "completion_tokens": 700}),
        record("score", seconds=4, calls={"requests": 100, "remembered": 80}),
        record("train", seconds=70, calls={}, views=[view]),
    )
    rates = Rates.of_run(tmp_path / "run")
    assert rates.source == "at the speed of this run's finished steps"
    assert rates.new_tokens == 70
    assert rates.calls == 5
    assert rates.trained_tokens == 100
    assert rates.seconds(Expected(calls=10, new_tokens=140)) == 2
    assert rates.seconds(Expected(calls=10, prompt_tokens=4000)) == 2
    assert rates.seconds(Expected(updates=3, train_tokens=300)) == pytest.approx(13)
    assert rates.seconds(Expected(rows=5)) == 0


def test_of_a_server_nothing_is_known_before_it_has_answered(tmp_path: Path) -> None:
    remember({"cpu": SPEED})
    source = Rates.of_run(tmp_path / "run", engine="openai").source
    assert source == "a guess: the server's speed shows when a step has finished"
