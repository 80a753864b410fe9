"""Times in a plan: of this run's finished steps, of this machine as measured, or a guess; told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.expected import Expected
from woolgather.core.machine_speed import DeviceSpeed, remember
from woolgather.core.views import table
from woolgather.runs.record import RunRecord, StepRecord, step_dir, write, write_launch, write_run
from woolgather.runs.speed.earlier import FILE, SpeedSetup, keep_speeds, read_earlier
from woolgather.runs.speed.rates import Rates, measure_steps

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
    rates = Rates.of_run(tmp_path / "run", SpeedSetup(precision="float32"))
    assert rates.source == "from this machine's measured speed"
    # 135 million parameters: two operations each to read or write a token, six to train on one.
    assert rates.new_tokens == pytest.approx(0.45 * 54e9 / 2.7e8)
    assert rates.read_tokens == pytest.approx(100e9 / 2.7e8)
    assert rates.trained_tokens == pytest.approx(0.45 * 100e9 / 8.1e8)


def test_a_run_that_trains_in_the_slow_precision_is_told_how_long_that_takes(
    tmp_path: Path,
) -> None:
    remember({"cpu": SPEED})
    slow, fast = (Rates.of_run(tmp_path, SpeedSetup(precision=p)) for p in ("bfloat16", "float32"))  # type: ignore[arg-type]
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
    assert Rates.of_run(tmp_path / "run", SpeedSetup(str(base))).read_tokens == pytest.approx(
        100e9 / 54e3
    )


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
    source = Rates.of_run(tmp_path / "run", SpeedSetup(engine="openai")).source
    assert source == "a guess: the server's speed shows when a step has finished"


def test_earlier_runs_come_before_the_machine_and_behind_the_run_itself(tmp_path: Path) -> None:
    remember({"cpu": SPEED})
    setup = SpeedSetup(precision="float32")
    keep_speeds(setup, {"new_tokens": (300.0, 10.0), "trained_tokens": (900.0, 9.0)})
    rates = Rates.of_run(tmp_path / "run", setup)
    assert rates.source == "at the speed of earlier runs on this machine"
    assert (rates.new_tokens, rates.trained_tokens, rates.calls) == (30, 100, None)
    finished(
        tmp_path / "run",
        record("ask", seconds=10, calls={"requests": 50, "completion_tokens": 700}),
    )
    rates = Rates.of_run(tmp_path / "run", setup)
    assert rates.source == "at the speed of this run's finished steps"
    assert (rates.new_tokens, rates.trained_tokens) == (70, 100)


def test_a_speed_is_that_of_its_engine_its_precision_and_its_size(tmp_path: Path) -> None:
    sizes = {}
    for name, count in {"small": 2**20, "alike": 1_200_000, "large": 2**22}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(count))
        sizes[name] = str(tmp_path / name)
    keep_speeds(
        SpeedSetup(sizes["small"], precision="float32"),
        {"new_tokens": (300.0, 10.0), "trained_tokens": (900.0, 9.0)},
    )
    assert read_earlier(SpeedSetup(sizes["alike"], precision="bfloat16")) == {"new_tokens": 30}
    assert read_earlier(SpeedSetup(sizes["alike"], "vllm", precision="float32")) == {
        "trained_tokens": 100
    }
    assert read_earlier(SpeedSetup(sizes["small"], dtype="float16")) == {}
    assert read_earlier(SpeedSetup(sizes["small"], replicas=2)) == {}
    assert read_earlier(SpeedSetup(sizes["small"], precision="float32", processes=2)) == {
        "new_tokens": 30
    }
    assert read_earlier(SpeedSetup(sizes["large"], precision="float32")) == {}


def test_the_latest_run_counts_at_least_half(tmp_path: Path) -> None:
    for speed, seconds in ((10.0, 1000.0), (30.0, 10.0)):
        keep_speeds(SpeedSetup(), {"calls": (speed * seconds, seconds)})
    assert read_earlier(SpeedSetup()) == {"calls": 20}


def test_speeds_are_of_the_steps_that_the_launch_made(tmp_path: Path) -> None:
    calls = {"requests": 50, "completion_tokens": 700}
    finished(
        tmp_path / "run",
        record("first", seconds=10, calls=calls, launch=1),
        record("second", seconds=20, calls=calls, launch=2),
    )
    assert measure_steps(tmp_path / "run", 2) == {"new_tokens": (700, 20)}
    assert measure_steps(tmp_path / "run") == {"new_tokens": (1400, 30)}


def test_a_broken_file_of_speeds_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "cache" / FILE
    path.parent.mkdir()
    path.write_text("{")
    assert read_earlier(SpeedSetup()) == {}
    keep_speeds(SpeedSetup(), {"calls": (8.0, 2.0)})
    assert read_earlier(SpeedSetup()) == {"calls": 4}
    path.unlink()
    path.mkdir()
    keep_speeds(SpeedSetup(), {"calls": (8.0, 2.0)})
    assert read_earlier(SpeedSetup()) == {}
