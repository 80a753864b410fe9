"""Variables of a chat template change what a model is asked: a step made with others is another step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import Engine, EngineOptions
from woolgather.runs.call import EngineHandle

from .asking import by_name, opened, planned, recipe, records, states, tune, write

OFF = {"enable_thinking": False}


def launched(folder: Path, **more: Any) -> list[Model]:
    """The models that were asked."""
    asked: list[Model] = []

    def answers(model: Model) -> Engine:
        asked.append(model)
        return by_name(model)

    with opened(folder, answers, **more) as run:
        recipe(run)
    return asked


def test_steps_are_made_anew_with_other_variables_and_remembered_with_the_same(
    tmp_path: Path,
) -> None:
    launched(tmp_path)
    assert {state for state, _ in planned(tmp_path).values()} == {"remembered"}
    told = {"chat_template_kwargs": OFF}
    assert planned(tmp_path, **told)["iter0/respond"][0] == "new"
    asked = launched(tmp_path, **told)
    outside = [m for m in asked if m.path.startswith("fake")]
    assert all(m.chat_template_kwargs == OFF for m in outside)
    assert {state for state, _ in planned(tmp_path, **told).values()} == {"remembered"}
    assert launched(tmp_path, **told) == []
    assert {state for state, _ in states(tmp_path).values()} == {"remembered"}
    engine_said = records(tmp_path)["iter0/respond"].execution["engine"]
    assert engine_said["chat_template_kwargs"] == OFF
    # Without them, the first steps stand as they were.
    assert {state for state, _ in planned(tmp_path).values()} == {"remembered"}


def test_a_chosen_template_makes_another_model_which_the_run_knows(tmp_path: Path) -> None:
    def with_template(run: Any, text: str) -> Any:
        base = run.model("base", "fake", chat_template=text)
        tuned = run.step("tune", tune, run.step("respond", write, run.engine(base)))
        again = run.scope("again").model("base", tuned, chat_template=text)
        return base, again, run.step("again", write, run.engine(again))

    texts = ("", "{{ messages }}")
    for text in texts:
        with opened(tmp_path / "run") as run:
            base, again, _ = with_template(run, text)
        assert (base.chat_template, again.chat_template) == (text, text)
        with opened(tmp_path / "run", plan=True) as run:
            with_template(run, text)
        assert {line.state for line in run.planned} == {"remembered"}
    served = {"engine": "openai", "urls": ("http://127.0.0.1:1",)}
    asks = pytest.raises(ConfigError, match="again asks the model that tune makes")
    with asks, opened(tmp_path / "run", plan=True, **served) as run:
        with_template(run, "{{ messages[0] }}")


def test_no_template_is_no_part_of_a_models_identity() -> None:
    model = Model("somewhere", "print")
    assert model.with_template("") is model
    assert len({m.fingerprint for m in (model, *map(model.with_template, ("own", "a")))}) == 3


def test_no_variables_are_no_part_of_a_models_identity() -> None:
    model = Model("somewhere", "print")
    assert model.with_variables({}) is model
    off, on = model.with_variables(OFF), model.with_variables({"enable_thinking": True})
    assert len({model.fingerprint, off.fingerprint, on.fingerprint}) == 3
    assert off.with_variables({"effort": "low"}).chat_template_kwargs == {**OFF, "effort": "low"}
    assert off == model.with_variables(dict(OFF))
    assert EngineHandle(model, EngineOptions()).__canonical__() == {
        "engine": "print",
        "format": "chat",
    }
