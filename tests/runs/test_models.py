"""Which models a run may ask a server for, at which server, and what the record keeps of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.engines.openai.serving import read_endpoint, redact_address
from woolgather.models.open import open_model
from woolgather.runs.call import EngineHandle, engines_in
from woolgather.runs.run import Run

from .asking import (
    name_of,
    opened,
    planned,
    rate,
    recipe,
    records,
    states,
    texts,
    tune,
    write,
)

URL = "http://host:8000"
BOTH = (f"base={URL}#a", f"judge_model={URL}#b")
REFUSED = (
    "--engine openai: iter1/respond asks the model that iter0/train makes in this run, and a server "
    "holds only models that existed when it was started, so use --engine transformers, which asks "
    "every model of a run."
)


class Served(FakeEngine):
    """As an engine that asks servers: knows who answered."""

    def __init__(self, model: Model, options: EngineOptions) -> None:
        super().__init__(answer=lambda p, _: f"{name_of(model)} on {p[:20]}", model=model)
        self.urls = options.urls

    @property
    def served(self) -> list[Any]:
        at = [read_endpoint(text) for text in self.urls] if self.calls else []
        return [{"url": redact_address(e.url), "name": e.name, "card": {}} for e in at]


def outside(run: Any) -> None:
    """Asks models from outside only."""
    base, judge = run.model("base", "fake"), run.model("judge_model", "fake-judge")
    rows = run.step("respond", write, run.engine(base))
    run.step("assess", rate, rows, run.engine(judge))
    run.step("again", write, run.engine(base), words=("six", "ten"))


def asked_of(folder: Path, **more: Any) -> tuple[list[tuple[str, ...]], Run]:
    """The addresses that each engine was opened with, in order."""
    found = []

    def open_engine(model: Model, options: EngineOptions, log: Path) -> Engine:
        assert options.serve == ()
        found.append(options.urls)
        return Served(model, options)

    run = opened(folder, engine="openai", **more)
    run._engines._backends = replace(run._backends, open_engine=open_engine)
    with run:
        outside(run)
    return found, run


# -- models that the run makes ---------------------------------------------------------------------


def test_a_model_that_the_run_makes_is_refused_in_plan_and_in_work(tmp_path: Path) -> None:
    for plan in (True, False):
        with pytest.raises(ConfigError) as caught, opened(
            tmp_path / "run", engine="openai", plan=plan, serve=BOTH
        ) as run:  # fmt: skip
            recipe(run)
        assert str(caught.value) == REFUSED
        assert not (tmp_path / "run").exists() or not plan
    assert not list((tmp_path / "run").glob("iter1/*"))


def test_a_finished_run_is_opened_with_it_and_a_step_to_redo_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with opened(folder) as run:
        recipe(run)
    assert {state for state, _ in planned(folder, engine="openai").values()} == {"remembered"}
    with opened(folder, engine="openai") as run:
        recipe(run)
    assert {state for state, _ in states(folder).values()} == {"remembered"}
    with pytest.raises(ConfigError) as caught:
        planned(folder, engine="openai", redo=("iter1/respond",))
    assert str(caught.value) == REFUSED


def test_a_model_that_is_given_is_from_outside(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "given" / name).write_text("{}")
    given = {"iter0/train": str(tmp_path / "given")}
    serve = (*BOTH, f"iter0/train={URL}#c")
    with opened(tmp_path / "run", engine="openai", plan=True, given=given, serve=serve) as run:
        recipe(run)
    run.check_servers()
    with opened(tmp_path / "run", engine="openai", plan=True, given=given, serve=BOTH) as run:
        recipe(run)
    with pytest.raises(
        ConfigError, match=rf"for iter0/train \({tmp_path}/given\)\. Add --serve it"
    ):
        run.check_servers()


def test_a_model_that_one_recipe_hands_to_the_next_stays_the_runs_own(tmp_path: Path) -> None:
    def walk() -> None:
        with opened(tmp_path / "run", engine="openai", plan=True, urls=(URL,)) as run:
            base = run.model("base", "fake")
            made = run.step("train", tune, run.step("respond", write, run.engine(base)))
            handed = run.scope("second").model("base", made)
            run.scope("second").step("respond", write, run.engine(handed))

    with pytest.raises(ConfigError, match="second/respond asks the model that train makes"):
        walk()


def test_engines_are_found_wherever_arguments_hold_them() -> None:
    one, two = (EngineHandle(Model(n, n), EngineOptions()) for n in "ab")
    assert list(engines_in({"a": [one, ("x", two)], "b": {"c": one}, "d": Model("c")})) == [
        one, two, one,
    ]  # fmt: skip


# -- models from outside ---------------------------------------------------------------------------


def test_each_is_asked_at_its_own_server_and_the_record_says_where(tmp_path: Path) -> None:
    secret = ("base=http://me:pw@host:8000#a", "fake-judge=http://other/v1/#b", f"base={URL}#c")
    addresses, _ = asked_of(tmp_path / "run", serve=secret)
    base = ("http://me:pw@host:8000/v1#a", "http://host:8000/v1#c")
    assert addresses == [base, ("http://other/v1#b",)]  # the base is asked again, opened once
    found = records(tmp_path / "run")
    engine = found["assess"].execution["engine"]
    assert engine["name"] == "openai"
    assert engine["served"] == [
        {"model": "judge_model", "url": "http://other/v1", "name": "b", "card": {}}
    ]
    assert found["respond"].execution["engine"]["served"] == [
        {"model": "base", "url": f"{URL}/v1", "name": name, "card": {}} for name in "ac"
    ]
    assert not [p for p in (tmp_path / "run").glob("**/*.json") if "me:pw" in p.read_text()]
    assert not {"urls", "serve"} & set(engine)


def test_servers_are_no_part_of_what_a_step_is(tmp_path: Path) -> None:
    asked_of(tmp_path / "run", serve=BOTH)
    assert asked_of(tmp_path / "run", serve=(f"base={URL}", f"judge_model={URL}9"))[0] == []
    assert asked_of(tmp_path / "run")[0] == []
    with opened(tmp_path / "run", plan=True) as run:
        outside(run)
    assert {p.state for p in run.planned} == {"remembered"}


def test_answers_that_are_remembered_need_no_server_and_name_none(tmp_path: Path) -> None:
    asked_of(tmp_path / "run", serve=BOTH)
    addresses, _ = asked_of(tmp_path / "run", redo=("assess",))
    assert addresses == []
    record = records(tmp_path / "run")["assess"]
    assert record.execution["engine"]["served"] == []
    assert record.calls["remembered"] == 3
    assert asked_of(tmp_path / "run")[0] == []  # and it is trusted


def test_url_alone_asks_for_one_model(tmp_path: Path) -> None:
    said = (
        "--url is for one model, and base (fake) and judge_model (fake-judge) are asked. Say where"
    )
    with pytest.raises(ConfigError) as caught:
        asked_of(tmp_path / "run", urls=(URL,))  # without a plan: when the second one is asked
    assert str(caught.value).startswith(said)
    with opened(tmp_path / "other", engine="openai", plan=True, urls=(URL,)) as run:
        outside(run)
    with pytest.raises(ConfigError) as caught:
        run.check_servers()
    assert str(caught.value) == (
        f"{said} each is: --serve base=http://host:8000/v1#NAME "
        "--serve judge_model=http://host:8000/v1#NAME."
    )
    addresses, _ = asked_of(tmp_path / "third", urls=(f"{URL}#a",), serve=BOTH[1:])
    assert addresses == [(f"{URL}/v1#a",), (f"{URL}/v1#b",)]


def test_two_roles_of_one_model_are_one_model(tmp_path: Path) -> None:
    with opened(tmp_path / "run", engine="openai", plan=True, urls=(URL,)) as run:
        base, judge = run.model("base", "fake"), run.model("judge_model", "fake")
        run.step("assess", rate, run.step("respond", write, run.engine(base)), run.engine(judge))
    run.check_servers()


def test_a_model_without_a_role_is_called_by_its_path(tmp_path: Path) -> None:
    model = open_model("fake-other")
    with opened(tmp_path / "run", engine="openai", plan=True) as run:
        run.step("respond", write, run.engine(model))
    with pytest.raises(
        ConfigError, match=r"for fake-other\. Add --url URL, or --serve fake-other=U"
    ):
        run.check_servers()


def test_a_server_for_a_role_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with opened(
        tmp_path / "run", engine="openai", plan=True, serve=(*BOTH, f"win_judge={URL}")
    ) as run:
        outside(run)
    with pytest.raises(
        ConfigError, match=r"called win_judge\. Those that are asked: base \(fake\) an"
    ):
        run.check_servers()


def test_a_plan_needs_no_server(tmp_path: Path) -> None:
    with opened(tmp_path / "run", engine="openai", plan=True) as run:
        outside(run)
    assert [p.state for p in run.planned] == ["new"] * 3


def test_other_engines_ask_every_model_and_take_no_servers(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        recipe(run)
    run.check_servers()
    assert texts(tmp_path / "run")["iter1/respond"][0] == "tuned on Say one."
    engine = records(tmp_path / "run")["iter1/respond"].execution["engine"]
    assert engine["name"] == "transformers"
    assert not {"served", "urls", "serve"} & set(engine)
    with pytest.raises(ConfigError, match="--engine transformers asks none"):
        opened(tmp_path / "none", urls=(URL,))


def test_a_judge_at_a_server_beside_models_in_memory(tmp_path: Path) -> None:
    found: list[EngineOptions] = []

    def open_engine(model: Model, options: EngineOptions, log: Path) -> Engine:
        found.append(options)
        return Served(model, options)

    folder, judge = tmp_path / "run", (f"judge_model={URL}#b",)
    with opened(folder, serve=judge, plan=True) as run:
        recipe(run)
    run.check_servers()
    run = opened(folder, serve=judge)
    run._engines._backends = replace(run._backends, open_engine=open_engine)
    with run:
        recipe(run)
    asked = [(options.name, options.urls, options.serve) for options in found]
    memory = ("transformers", (), ())
    assert asked == [memory, ("openai", (f"{URL}/v1#b",), ()), memory]  # base, judge, tuned
    rated = records(folder)["iter1/assess"].execution["engine"]
    served = {"model": "judge_model", "url": f"{URL}/v1", "name": "b", "card": {}}
    assert (rated["name"], rated["served"]) == ("transformers", [served])
    assert records(folder)["iter1/respond"].execution["engine"] == {
        key: value for key, value in rated.items() if key != "served"
    }
    for other in ({}, {"serve": (f"judge_model={URL}9",)}):
        assert {state for state, _ in planned(folder, **other).values()} == {"remembered"}


def test_a_server_that_no_model_has_is_refused_with_any_engine(tmp_path: Path) -> None:
    with opened(tmp_path / "run", serve=(f"judge={URL}",), plan=True) as run:
        outside(run)
    with pytest.raises(ConfigError, match=r"no model that is asked is called judge\. Those that"):
        run.check_servers()
