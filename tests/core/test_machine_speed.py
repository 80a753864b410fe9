"""Which precision is fast here: measured once, kept for this machine as it is, forced where asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from woolgather.core import machine_speed
from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.machine_speed import DeviceSpeed, auto_precision, read_speeds, remember

EMULATED = DeviceSpeed({"float32": 90.0, "bfloat16": 0.2}, {"float32": 40.0, "bfloat16": 0.2}, 12.0)
"""As on a processor with AVX2 alone."""
NATIVE = DeviceSpeed(
    {"float32": 90.0, "bfloat16": 160.0}, {"float32": 30.0, "bfloat16": 60.0}, 12.0
)
MIXED = DeviceSpeed(
    {"float32": 240.0, "bfloat16": 160.0}, {"float32": 30.0, "bfloat16": 60.0}, 12.0
)
"""Large products are faster in float32, small ones read half the memory in bfloat16."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(machine_speed.FORCED, raising=False)


@pytest.mark.parametrize(
    ("speed", "training", "generation"),
    [
        (EMULATED, "float32", "float32"),
        (NATIVE, "bfloat16", "bfloat16"),
        (MIXED, "float32", "bfloat16"),
        (DeviceSpeed({"float32": 9.0, "bfloat16": 9.0}, {"float32": 9.0, "bfloat16": 0.0}, 1.0),
         "float32", "float32"),
    ],
)  # fmt: skip
def test_the_faster_precision_is_taken_for_each_kind_of_work(
    speed: DeviceSpeed, training: str, generation: str
) -> None:
    remember({"cpu": speed})
    assert auto_precision("cpu", "training") == training
    assert auto_precision("auto", "generation") == generation


def test_auto_is_the_gpu_where_there_is_one_and_a_named_device_is_itself() -> None:
    remember({"cpu": EMULATED, "cuda": NATIVE})
    assert auto_precision("auto", "training") == "bfloat16"
    assert auto_precision("cuda:1", "training") == "bfloat16"
    assert auto_precision("cpu", "training") == "float32"


def test_a_machine_that_was_not_measured_is_said_to_be_so_when_nothing_may_be_measured() -> None:
    assert read_speeds() == {}
    assert auto_precision("cpu", "training", measure=False) is None


def test_it_is_measured_once_in_a_child_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = auto_precision("cpu", "training")
    speed = read_speeds()["cpu"]
    assert chosen == speed.faster("training")
    assert speed.product["float32"] > 1
    assert speed.step["float32"] > 1
    assert speed.copy > 0.1
    monkeypatch.setattr(machine_speed.subprocess, "run", None)
    assert auto_precision("cpu", "training") == chosen


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"])
def test_what_changes_the_speed_asks_for_another_measurement(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    remember({"cpu": NATIVE})
    monkeypatch.setenv(name, "AVX2")
    assert read_speeds() == {}
    remember({"cpu": EMULATED})
    monkeypatch.delenv(name)
    assert read_speeds() == {"cpu": NATIVE}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"k": 1}', "null"])
def test_a_broken_cache_is_an_empty_one(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cache" / machine_speed.FILE
    file.parent.mkdir()
    file.write_text(text)
    assert read_speeds() == {}
    remember({"cpu": NATIVE})
    assert read_speeds() == {"cpu": NATIVE}


def test_an_entry_of_another_shape_is_none(tmp_path: Path) -> None:
    remember({"cpu": NATIVE})
    file = tmp_path / "cache" / machine_speed.FILE
    stored = json.loads(file.read_text())
    for entry in stored.values():
        entry["cpu"]["unheard_of"] = 1
    file.write_text(json.dumps(stored))
    assert read_speeds() == {}


def test_the_answer_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    remember({"cpu": NATIVE})
    monkeypatch.setenv(machine_speed.FORCED, "float32")
    assert auto_precision("cpu", "training") == "float32"
    monkeypatch.setenv(machine_speed.FORCED, "half")
    with pytest.raises(
        ConfigError, match="WOOLGATHER_AUTO_PRECISION=half: write float32 or bfloat16"
    ):
        auto_precision("cpu", "training")


def test_without_torch_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speed, "_version", lambda package: None)
    with pytest.raises(ConfigError, match=r"pip install 'woolgather\[local\]'"):
        auto_precision("cpu", "training")


def test_a_torch_that_cannot_be_loaded_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(
        "raise ImportError('libgomp.so.1: cannot open shared object')"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(EngineError, match=r"^torch cannot be used: ImportError: libgomp"):
        machine_speed.measure_speeds()
