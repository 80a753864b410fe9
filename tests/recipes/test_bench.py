"""A suite among the steps of a run: planned, asked once per model, resumed, shown, refused in time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError, WorkError
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.prompting.template_choice import load_chat_template
from woolgather.recipes import humback, isheep, spin
from woolgather.recipes.dromedary import Config as Dromedary
from woolgather.suites.bench import HarnessOptions, bench, open_exam

from ..suites.conftest import TOY, FakeHarness, fake_harness

__all__ = ["fake_harness"]
SMALL = [
    "base=fake",
    "iterations=1",
    "per_iteration=8",
    "judge.pairs=24",
    "measure.probes=11",
    "measure.calibration=0",
    "measure.tasks=4",
]
DRY = Dry(isheep, SMALL)
MODELS = {"bench/base", "bench/iter0", "bench/seeds-alone", "bench/random-rows"}


def asked(fake: FakeHarness, *more: str) -> list[str]:
    return [f"bench={TOY}", f"harness.python={fake.python}", *more]


def test_a_run_sends_its_models_through_the_suite(
    fake_harness: FakeHarness, tmp_path: Path
) -> None:
    words = asked(fake_harness)
    plan = DRY.planned(tmp_path, *words)
    assert {step for step in plan if step.startswith("bench/")} == {*MODELS, "bench/table"}
    assert not fake_harness.jobs
    DRY.finished(tmp_path, *words)
    assert len(fake_harness.jobs) == len(MODELS)
    done = steps(tmp_path)
    folder, base = done["bench/base"]
    measures = json.loads((folder / "metrics.json").read_text())
    assert measures["items"]["toy_opposites"]["toy_opposites/3"] == 1
    assert list(folder.glob("harness/*/toy_echo-*/record.json"))
    assert base.execution["engine"]["name"] == "fake"
    titles = [view.title for view in done["bench/table"][1].shown()]
    assert titles[0].startswith("A toy suite: lm-evaluation-harness 0.4.13")
    assert "Against base, item by item" in titles
    assert "plain text throughout" in done["bench/table"][1].shown()[0].note
    assert {view.kind for view in done["bench/table"][1].shown()} == {"table"}
    _, summary = done["summary"]
    shown = next(view for view in summary.shown() if view.title == "The suite toy")
    assert shown.data["columns"][:4] == ["task", "base", "iter0", "seeds alone"]
    values = done["bench/table"][1].result["values"]
    assert values["models"] == ["base", "iter0", "seeds alone", "random rows"]
    assert values["iter0 against base"]["toy_echo"]["low"] < 0
    chosen = values["models"][summary.result["values"]["chosen"]]
    assert summary.result["values"]["bench"] == values[chosen]


def test_a_base_that_completes_text_is_asked_as_a_chat_too(
    fake_harness: FakeHarness, tmp_path: Path
) -> None:
    words = [*asked(fake_harness), "controls=false", "base_format=raw"]
    plan = DRY.planned(tmp_path, *words)
    assert "bench/base-asked-as-a-chat" in plan
    DRY.finished(tmp_path, *words)
    assert [job["tasks"] for job in fake_harness.jobs] == [
        ["toy_opposites", "toy_echo"],
        ["toy_echo"],
        ["toy_opposites", "toy_echo"],
    ]
    _, record = steps(tmp_path)["bench/table"]
    values = record.result["values"]
    assert values["models"] == ["base", "base, asked as a chat", "iter0"]
    assert values["base, asked as a chat"]["toy_opposites"] == values["base"]["toy_opposites"]


def test_what_was_asked_is_kept_and_another_limit_is_another_question(
    fake_harness: FakeHarness, tmp_path: Path
) -> None:
    words = [*asked(fake_harness), "controls=false"]
    DRY.finished(tmp_path, *words)
    states = {state for state, _ in DRY.planned(tmp_path, *words).values()}
    assert states == {"remembered"}
    plan = DRY.planned(tmp_path, *words, "harness.limit=2")
    new = {step for step, (state, _) in plan.items() if state == "new"}
    assert new == {"bench/base", "bench/iter0", "bench/table", "summary"}
    without = DRY.planned(tmp_path, "controls=false")
    assert not any(step.startswith("bench/") for step in without)


def test_a_step_that_was_killed_asks_the_rest_only(
    fake_harness: FakeHarness, tmp_path: Path
) -> None:
    words = [*asked(fake_harness), "controls=false"]
    fake_harness.will(dies_after=1)
    with pytest.raises(WorkError, match="ended early"):
        DRY.finished(tmp_path, *words)
    fake_harness.will(dies_after=None)
    DRY.finished(tmp_path, *words)
    assert [job["tasks"] for job in fake_harness.jobs[:2]] == [
        ["toy_opposites", "toy_echo"],
        ["toy_echo"],
    ]


def test_a_plan_counts_what_is_asked(fake_harness: FakeHarness, tmp_path: Path) -> None:
    def calls(*more: str) -> int:
        with DRY.opened(tmp_path, plan=True) as run:
            DRY.module.recipe(run, DRY.built(*asked(fake_harness, *more)))
        return next(line.expected.calls for line in run.planned if line.step == "bench/base")

    assert calls() == 6 * 3 + 4
    assert calls("harness.limit=2") == 2 * 3 + 2


@pytest.mark.parametrize(
    ("setting", "error", "said"),
    [
        ("bench=sqin", InputError, r"bench=sqin: unknown suite\. Did you mean spin\?"),
        ("bench=spin", InputError, r"6 of its data sets.*then add harness\.data_dir=DIR"),
        ("harness.data_dir=nowhere", InputError, r"harness\.data_dir=nowhere: no such folder"),
        ("harness.python=nowhere", ConfigError, r"harness\.python=nowhere: cannot be run"),
        ("harness.limit=0", ConfigError, r"harness\.limit"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_the_plan(
    fake_harness: FakeHarness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(error, match=f"(?s){said}"):
        DRY.planned(tmp_path / "run", *asked(fake_harness, setting))
    assert not (tmp_path / "run").exists()


def test_engines_that_the_harness_cannot_ask_with_are_refused(fake_harness: FakeHarness) -> None:
    how = HarnessOptions(python=fake_harness.python)
    with pytest.raises(ConfigError, match=r"--engine openai: the harness opens each model"):
        open_exam(str(TOY), how, EngineOptions("openai"))
    with pytest.raises(ConfigError, match=r"--engine-replicas"):
        open_exam(str(TOY), how, EngineOptions("vllm", replicas=2))
    with pytest.raises(ConfigError, match=r"has no vllm\. Name an interpreter"):
        open_exam(str(TOY), how, EngineOptions("vllm"))


@pytest.mark.parametrize("form", ["chat", "raw"])
def test_a_model_is_asked_as_the_run_asks_it(
    fake_harness: FakeHarness, tmp_path: Path, tiny_model: Path, form: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_model, folder)
    own = (folder / "chat_template.jinja").read_text()
    plain = load_chat_template("plain").text
    model = Model(str(folder), "print", prompt_format="chat").with_template(plain)
    if form == "raw":
        model = replace(model, prompt_format="raw")
    engine = FakeEngine(model=model)
    engine.options = EngineOptions("transformers", dtype="float32")
    exam = open_exam(str(TOY), HarnessOptions(python=fake_harness.python), engine.options)
    out = tmp_path / "step" / "attempt-1"
    out.mkdir(parents=True)
    found = bench(engine, exam=exam, out=out)
    (job,) = fake_harness.jobs
    assert found.values["in_turns"] == (["toy_echo"] if form == "chat" else [])
    assert job["chat"] == [False, form == "chat"]
    assert job["template"] == (plain if form == "chat" else own)
    assert (folder / "chat_template.jinja").read_text() == own
    assert not any(path.is_symlink() for path in folder.iterdir())
    left = {path.name for path in (out.parent / "harness").iterdir() if path.is_dir()}
    assert len(left) == 1, "links are gone: a copy of the step would follow them"


@pytest.mark.parametrize("config", [isheep.Config, humback.Config, spin.Config, Dromedary])
def test_it_is_off_by_default(config: type[isheep.Config]) -> None:
    assert config().bench == ""
