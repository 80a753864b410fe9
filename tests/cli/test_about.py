"""`recipes` gives every option its default and meaning; `doctor` says what there is, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from woolgather.api import machine
from woolgather.api.recipe_options import options_of
from woolgather.core import machine_speed
from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.machine_speed import DeviceSpeed
from woolgather.core.options import Options
from woolgather.ops.generate.synthesize import Synthesis
from woolgather.recipes import config

Call = Callable[..., Any]


class Inner(Options):
    rate: float = Field(default=0.5, gt=0, le=1)
    """How fast,
    per update."""
    names: tuple[str, ...] = ("a", "b")


class Group(Options):
    inner: Inner = Inner(rate=0.25)
    """Settings of their own."""
    off: Inner | None = None
    """None switches it off."""
    mode: Literal["x", "y"] = "x"
    size: int | tuple[int, ...] | None = Field(default=None, ge=1)
    free: Mapping[str, Any] = Field(default_factory=dict)
    needed: str


def options() -> dict[str, dict[str, Any]]:
    return {row["option"]: dict(row) for row in options_of(Group)}


def test_options_are_dotted_with_the_default_their_group_gives() -> None:
    found = options()
    assert list(found) == [
        "inner.rate",
        "inner.names",
        "off",
        "off.rate",
        "off.names",
        "mode",
        "size",
        "free",
        "needed",
    ]
    assert found["inner.rate"]["default"] == 0.25
    assert found["off.rate"]["default"] == 0.5
    assert found["off"]["default"] is None
    assert found["inner.rate"]["meaning"] == "How fast, per update."
    assert found["needed"]["required"]
    assert not found["mode"]["required"]


def test_types_are_as_a_user_writes_them() -> None:
    types = {name: row["type"] for name, row in options().items()}
    assert types["inner.rate"] == "float, > 0, ≤ 1"
    assert types["inner.names"] == "list of str"
    assert types["mode"] == "x | y"
    assert types["size"] == "int | list of int | null, ≥ 1"
    assert types["free"] == "mapping"


def test_a_template_is_shown_as_its_name() -> None:
    row = next(r for r in options_of(Synthesis) if r["option"] == "template")
    assert (row["type"], row["default"]) == ("str", "synthesize")


def test_recipes_are_listed_in_a_sentence_each(told: Call) -> None:
    found = told("recipes")
    assert [row["recipe"] for row in found] == list(config.RECIPES)
    assert all(row["what"].endswith(".") for row in found)


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_every_option_of_a_recipe_is_there_with_its_presets(
    call: Call, told: Call, recipe: str
) -> None:
    rows = {row["option"]: row for row in told("recipes", recipe)}
    settings = set(config._keys(config.find_recipe(recipe).Config))
    assert set(rows) <= settings
    groups = {key.rpartition(".")[0] for key in settings}
    assert settings - set(rows) <= groups
    for preset in config.presets(recipe):
        free = {key for key, row in rows.items() if row["type"] == "mapping"}
        for key, value in leaves(config.load_preset(recipe, preset), free):
            assert rows[key]["presets"][preset] == ("null" if value is None else value)
    text = call("recipes", recipe).stdout
    assert all(f"\n{option} = " in text for option in rows)


def leaves(settings: Any, free: set[str], prefix: str = "") -> list[tuple[str, Any]]:
    """Settings by dotted name; a `free` mapping is one."""
    found = []
    for key, value in settings.items():
        if isinstance(value, dict) and prefix + key not in free:
            found += leaves(value, free, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def test_a_recipe_of_ones_own_and_one_that_is_not_there(call: Call, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        '"""My own method. It is short."""\n'
        "from woolgather.core.options import Options\n"
        "class Config(Options):\n"
        "    base: str = ''\n    '''The model.'''\n"
        "def recipe(run, cfg): ...\n"
    )
    text = call("recipes", mine).stdout
    assert "My own method." in text
    assert 'base = ""  str\n    The model.' in text
    with pytest.raises(ConfigError, match="Did you mean isheep"):
        call("recipes", "isheeep")


def test_doctor_is_pasteable_and_holds_no_secret(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(machine, "_torch", lambda: {"threads": 2})
    text = call("doctor").stdout
    assert "secret" not in text
    assert str(Path.home()) not in text
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    assert lines["offline"].strip() == "true"
    assert int(lines["cores"]) >= 1
    assert "pydantic: 2" in lines["packages"]
    assert "threads: 2" in lines["torch"]


def test_doctor_without_torch_and_with_a_broken_one(
    told: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = machine.importlib.util.find_spec
    monkeypatch.setattr(
        machine.importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    assert told("doctor")["torch"].startswith("not installed")
    monkeypatch.undo()
    monkeypatch.setattr(machine, "_TORCH", "raise ImportError('libcudart.so is missing')")
    assert told("doctor")["torch"] == "cannot be loaded: ImportError: libcudart.so is missing"


def test_doctor_asks_torch_in_another_process() -> None:
    found = machine._torch()
    assert isinstance(found, dict), found
    assert json.dumps(found)
    assert found["threads"] >= 1


def test_doctor_shows_what_each_device_computes_and_what_follows(
    told: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path))
    speed = DeviceSpeed(
        {"float32": 90.0, "bfloat16": 0.2}, {"float32": 40.0, "bfloat16": 55.5}, 12.0
    )

    def measure() -> dict[str, DeviceSpeed]:
        machine_speed.remember({"cpu": speed})
        return {"cpu": speed}

    monkeypatch.setattr(machine_speed, "measure_speeds", measure)
    assert told("doctor")["speed of cpu"] == (
        "training in float32 (GFLOP/s: float32 90.0, bfloat16 0.2); "
        "generation in bfloat16 (GFLOP/s: float32 40.0, bfloat16 55.5); copy 12.0 GB/s"
    )


def test_doctor_says_why_nothing_was_measured(told: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> dict[str, DeviceSpeed]:
        raise EngineError("torch cannot be used: ImportError")

    monkeypatch.setattr(machine_speed, "measure_speeds", fails)
    assert told("doctor")["speed"] == "not measured: torch cannot be used: ImportError"
