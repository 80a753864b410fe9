"""A suite for models as they are named: a run stands for what it measured itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from woolgather.api.suites import evaluate_suite
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import fingerprint
from woolgather.engines.base import EngineOptions
from woolgather.prompting.template_choice import with_origin
from woolgather.runs.record import (
    RunRecord,
    StepRecord,
    step_dir,
    write,
    write_launch,
    write_run,
)
from woolgather.suites.run import SuiteOptions

from ..suites.conftest import TOY, FakeHarness, fake_harness

__all__ = ["fake_harness"]
FAKE = EngineOptions("fake")


def save_run(folder: Path, measured: bool = True, base: str = "mine") -> Path:
    """A run of two iterations and a control, each measured, with models that are empty folders."""
    records = [("measure", "metrics", "base")] if measured else []
    for scope in ("iter0", "iter1", "control"):
        records += [(f"{scope}/train", "model", ""), (f"{scope}/train-merge", "model", "")]
        records += [(f"{scope}/measure", "metrics", f"{scope}/train-merge")] if measured else []
    write_run(folder, {"recipe": "isheep"})
    steps = []
    for name, kind, of in records:
        print_ = fingerprint(name)
        place = folder / step_dir(name, print_)
        (place / "model").mkdir(parents=True)
        result: Any = {"path": "model"} if kind == "model" else {"values": {}}
        inputs = {"tasks": {"step": "tasks"}, "model": {"step": of}} if of else {}
        write(
            StepRecord(name, "op", print_, kind, result=result, inputs=inputs),  # type: ignore[arg-type]
            place,
        )
        steps.append(
            {
                "step": name,
                "fingerprint": print_,
                "path": step_dir(name, print_),
                "state": "ran",
                "why": "",
            }
        )
    write_launch(
        RunRecord(1, "isheep", config={"base": base}, status="finished", steps=steps),  # type: ignore[arg-type]
        folder,
    )
    return folder


@pytest.fixture
def evaluate(fake_harness: FakeHarness, tmp_path: Path) -> Callable[..., Any]:
    def call(*names: object, options: EngineOptions = FAKE, **how: Any) -> Any:
        asked = SuiteOptions(tmp_path / "out", **how)
        return evaluate_suite(
            [str(n) for n in names], str(TOY), options, asked, python=fake_harness.python, tell=str
        )

    return call


def test_a_run_is_its_base_and_every_iteration(
    evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run")
    result = evaluate(run)
    names = [each.name for each in result.measured]
    assert names == ["base", "iter0", "iter1"]
    places = [each.path for each in result.measured]
    assert places[0] == "fake:mine"
    assert "/iter0/train-merge-" in places[1]
    assert places[1].endswith("/model")
    both = evaluate(run, "other")
    assert [m.name for m in both.measured] == [
        "run/base",
        "run/iter0",
        "run/iter1",
        "other",
    ]


def test_the_base_of_a_run_is_asked_as_the_tuned_models_are_too(
    evaluate: Callable[..., Any], fake_harness: FakeHarness, tmp_path: Path, tiny_model: Path
) -> None:
    run = save_run(tmp_path / "run", base=str(tiny_model))
    for folder in run.glob("iter*/train-merge-*/model"):
        shutil.copytree(tiny_model, folder, dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text("what it was tuned with")
    on_cpu = EngineOptions("transformers", dtype="float32")
    result = evaluate(run, options=on_cpu)
    names = [each.name for each in result.measured]
    assert names == ["base", "base, asked as iter1", "iter0", "iter1"]
    base, again, *_ = fake_harness.jobs
    assert base["tasks"] == ["toy_opposites", "toy_echo"]
    assert again["tasks"] == ["toy_echo"], "the other is asked in plain text, as it was before"
    assert again["template"] == "what it was tuned with"
    assert (
        result.measured[0].outcomes["toy_opposites"] == result.measured[1].outcomes["toy_opposites"]
    )
    n = len(fake_harness.jobs)
    evaluate(run, options=on_cpu)
    assert len(fake_harness.jobs) == n
    assert len(evaluate(run, options=on_cpu, form="chat").measured) == 3
    for folder in run.glob("iter*/train-merge-*/model"):
        own = (tiny_model / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").write_text(with_origin(own, "its own"))
    assert len(evaluate(run, options=on_cpu).measured) == 3, "one form is all there is"


def test_the_result_is_views_and_json(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    result = evaluate("one", "two")
    titles = [view.title for view in result.views()]
    assert titles[0].startswith("A toy suite")
    assert titles[1].startswith("At chance: bits per byte")
    assert titles[2].startswith("Against one")
    assert json.loads(json.dumps(result.json()))["suite"] == "toy"
    assert (tmp_path / "out" / "toy" / "data").is_dir()


def test_a_run_without_a_measure_says_how_to_go_on(
    evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has measured no model yet"):
        evaluate(save_run(tmp_path / "run", measured=False))


def test_mistakes_in_options(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose auto, raw or chat"):
        evaluate("one", form="blocks")
    with pytest.raises(ConfigError, match="--engine-replicas"):
        evaluate("one", options=EngineOptions("fake", replicas=2))
    with pytest.raises(InputError, match="nowhere: no such folder"):
        evaluate("./nowhere", options=EngineOptions("transformers"))
    server = EngineOptions("openai", urls=("http://localhost:1/v1#m",))
    with pytest.raises(ConfigError, match="a server holds one model of a run"):
        evaluate(save_run(tmp_path / "run"), options=server)


def test_a_server_is_asked_with_the_tokenizer_of_the_folder(
    evaluate: Callable[..., Any], fake_harness: FakeHarness, tiny_model: Path
) -> None:
    evaluate(tiny_model, options=EngineOptions("openai", urls=("http://localhost:1/v1#tiny",)))
    args: Any = fake_harness.jobs[0]["args"]
    assert args["base_url"] == "http://localhost:1/v1/completions"
    assert args["model"] == "tiny"
    assert args["tokenizer"] == str(tiny_model.resolve())
    with pytest.raises(ConfigError, match="has a secret in it"):
        evaluate(
            tiny_model, options=EngineOptions("openai", urls=("http://u:p@localhost:1/v1#tiny",))
        )
    with pytest.raises(ConfigError, match="what the server calls the model"):
        evaluate(tiny_model, options=EngineOptions("openai", urls=("http://localhost:1/v1",)))
