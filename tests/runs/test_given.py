"""Results that are handed in: what they make needless, what they must have, what is not there."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Choice, Dataset, Metrics, Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example, Verdict
from woolgather.core.views import View, alarm
from woolgather.runs.call import EngineHandle, call_of, put_off, settle
from woolgather.runs.inputs.rows import GOOD
from woolgather.runs.record import current_steps
from woolgather.runs.run import Run

from .asking import opened, states

DONE: list[str] = []
"""What the ops below did, in order."""


def make(name: str = "", count: int = 3) -> Iterator[Example]:
    DONE.append(name)
    for n in range(count):
        yield Example(instruction=f"{name} {n}", response="yes")


@op("answer_in_test", needs={"rows": ("response",)})
def answer(rows: Iterable[Example], name: str) -> Iterator[Example]:
    DONE.append(name)
    yield from (replace(row, id="", parents=(row.id,)) for row in rows)


@op("score_in_test")
def score(rows: Iterable[Example], name: str = "score") -> Iterator[Example]:
    DONE.append(name)
    yield from (replace(row, verdicts={"quality": Verdict(1.0)}) for row in rows)


@op("best_in_test", needs=lambda *, by, **_: {"rows": (f"verdicts.{by}",)})
def best(rows: Iterable[Example], by: str) -> Iterator[Example]:
    DONE.append("best")
    yield from rows


@op("look_in_test")
def look(rows: Iterable[Example]) -> Metrics:
    DONE.append("look")
    return Metrics({"rows": sum(1 for _ in rows)}, headline="Looked.", concludes=True)


@op("warn_in_test")
def warn(rows: Iterable[Example]) -> Generator[Example, None, list[View]]:
    yield from rows
    return [alarm("Nothing", "all is lost.", "error")]


@op("decide_in_test", expects=lambda **_: Expected(value="yes"))
def decide(rows: Iterable[Example]) -> Choice:
    DONE.append("decide")
    return Choice("yes")


def chain(run: Any) -> None:
    """first -> second -> third -> looks, and beside it first -> other."""
    first = run.step("first", make, "first")
    second = run.step("second", answer, first, "second")
    third = run.step("third", answer, second, "third")
    run.step("looks", look, third)


def rows_file(folder: Path, **fields: object) -> str:
    path = folder / "rows.jsonl"
    lines = [{"instruction": f"Do {n}.", **fields} for n in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def plan_of(folder: Path, recipe: Any, **choices: Any) -> tuple[dict[str, str], frozenset[str]]:
    """State of each step, and the names of those that are not needed."""
    with opened(folder, plan=True, **choices) as run:
        recipe(run)
    found = {line.step: line.state for line in run.planned}
    return found, frozenset(step for step, state in found.items() if state == "not needed")


def carried_out(folder: Path, recipe: Any, **choices: Any) -> list[str]:
    """What is done when a plan's finding is used."""
    DONE.clear()
    _, spare = plan_of(folder, recipe, **choices)
    assert not DONE
    with opened(folder, spare=spare, **choices) as run:
        recipe(run)
    return DONE[:]


def test_what_only_a_given_step_needs_is_left_out(tmp_path: Path) -> None:
    given = {"third": rows_file(tmp_path, response="R")}
    found, _ = plan_of(tmp_path / "run", chain, given=given)
    assert found == {
        "first": "not needed", "second": "not needed", "third": "given", "looks": "new",
    }  # fmt: skip
    assert carried_out(tmp_path / "run", chain, given=given) == ["look"]
    assert states(tmp_path / "run").keys() == {"third", "looks"}
    found, _ = plan_of(tmp_path / "run", chain, given=given)
    assert found["looks"] == "remembered"


def test_what_another_step_needs_too_is_done(tmp_path: Path) -> None:
    def forked(run: Any) -> None:
        first = run.step("first", make, "first")
        second = run.step("second", answer, first, "second")
        run.step("looks", look, run.step("third", answer, second, "third"))
        run.step("other", look, first)

    given = {"third": rows_file(tmp_path, response="R")}
    assert plan_of(tmp_path / "run", forked, given=given)[1] == {"second"}
    assert sorted(carried_out(tmp_path / "run", forked, given=given)) == ["first", "look", "look"]


def test_without_a_given_step_everything_is_needed(tmp_path: Path) -> None:
    assert plan_of(tmp_path / "run", chain)[1] == frozenset()
    assert carried_out(tmp_path / "run", chain) == ["first", "second", "third", "look"]


def test_what_is_to_be_done_again_is_done(tmp_path: Path) -> None:
    given = {"third": rows_file(tmp_path, response="R")}
    again = frozenset({"second"})
    assert plan_of(tmp_path / "run", chain, given=given, redo=again)[1] == frozenset()


@pytest.mark.parametrize("look_at", [len, list, lambda rows: rows.count, lambda rows: rows.path])
def test_what_a_recipe_looks_at_is_needed(tmp_path: Path, look_at: Any) -> None:
    def curious(run: Any) -> None:
        first = run.step("first", make, "first")
        second = run.step("second", answer, first, "second")
        if not (run.plan and look_at is list):  # a plan has rows to count, and none to read
            look_at(second)
        run.step("looks", look, run.step("third", answer, second, "third"))

    given = {"third": rows_file(tmp_path, response="R")}
    expected = frozenset() if look_at is not list else {"first", "second"}
    assert plan_of(tmp_path / "run", curious, given=given)[1] == expected
    # What a plan did not foresee is done when it is looked at, and what it is made from before it.
    assert carried_out(tmp_path / "run", curious, given=given) == ["first", "second", "look"]
    assert states(tmp_path / "run").keys() == {"first", "second", "third", "looks"}


def test_a_step_that_a_plan_did_not_foresee_has_what_it_needs(tmp_path: Path) -> None:
    def branching(run: Any) -> None:
        first = run.step("first", make, "first")
        run.step("looks", look, run.step("second", answer, first, "second"))
        if not run.plan:
            run.step("more", look, first)

    given = {"second": rows_file(tmp_path, response="R")}
    assert carried_out(tmp_path / "run", branching, given=given) == ["look", "first", "look"]
    assert states(tmp_path / "run")["first"][0] == "ran"


def test_a_choice_that_the_recipe_reads_is_made(tmp_path: Path) -> None:
    def deciding(run: Any) -> None:
        told = run.step("told", decide, run.step("first", make, "first"))
        assert told.value == "yes"

    assert carried_out(tmp_path / "run", deciding) == ["first", "decide"]


def test_a_result_that_is_put_off_passes_for_one(tmp_path: Path) -> None:
    run: Run = opened(tmp_path / "run")
    asked: list[str] = []

    def writes() -> Model:
        return Model("")

    around: Any = type("Around", (), {"replicate": 0, "date": None, "run_dir": tmp_path})
    around.precision = staticmethod(lambda: None)
    call = call_of("train", op("writes_in_test")(writes), (), {}, around)
    real = Model("there", call.identity, "chat", digest="d")
    late: Any = put_off(call, lambda: real, lambda: asked.append("looked"))
    handle: Any = run.engine(late)
    assert isinstance(late, Model)
    assert not isinstance(late, Dataset)
    assert handle.__canonical__()["engine"] == late.fingerprint == call.identity
    assert late.prompt_format == "chat"
    assert not asked
    settled = settle({"a": [handle], "b": (late, "x")})
    assert isinstance(settled, dict)
    assert settled["b"] == [real, "x"]
    assert isinstance(settled["a"][0], EngineHandle)
    assert settled["a"][0].model is real
    assert not asked, "what a step takes is nothing that a recipe looked at"
    assert replace(late, prompt_format="raw") == replace(real, prompt_format="raw")
    assert asked


# -- what given rows must have ---------------------------------------------------------------------


def rated(run: Any) -> None:
    first = run.step("first", make, "first")
    scored = run.step("assess", score, run.step("respond", answer, first, "respond"))
    run.step("looks", look, run.step("keep", best, scored, "quality"))


@pytest.mark.parametrize(
    ("step", "fields", "said"),
    [
        ("assess", {"response": "R"}, "no row has a verdict 'quality', which keep needs (field "),
        ("assess", {"response": ""}, '"verdicts": [{"name": "quality", "score": 9'),
        ("first", {}, "no row has a response, which respond needs (field 'response')"),
        ("first", {"response": " "}, 'such as {"instruction": "...", "response": "..."}'),
    ],
)  # fmt: skip
def test_given_rows_without_what_the_next_step_needs(
    tmp_path: Path, step: str, fields: dict[str, object], said: str
) -> None:
    given = {step: rows_file(tmp_path, **fields)}
    with pytest.raises(InputError) as found:
        plan_of(tmp_path / "run", rated, given=given)
    assert str(found.value).startswith(f"--given {step}={given[step]}: ")
    assert said in str(found.value)
    assert "earlier step" in str(found.value)
    assert not (tmp_path / "run").exists()


def test_a_single_row_that_has_it_will_do(tmp_path: Path) -> None:
    given = {"assess": rows_file(tmp_path, response="R")}
    with Path(given["assess"]).open("a") as file:  # the line that the refusal shows is a good one
        file.write(GOOD["verdicts"].replace("NAME", "quality") + "\n")
    assert carried_out(tmp_path / "run", rated, given=given) == ["best", "look"]


def test_rows_for_a_step_that_is_not_needed_itself_are_not_held_to_anything(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    given = {"first": rows_file(tmp_path), "keep": rows_file(whole, response="R")}
    assert carried_out(tmp_path / "run", rated, given=given) == ["look"]


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"redo": frozenset({"thrid"})}, "--redo thrid: the run has no such step. Did you mean third"),
        ({"given": {"iter0/second": "x"}}, "--given iter0/second: the run has no such step. Did"),
        ({"redo": frozenset({"zzz"})}, "--redo zzz: the run has no such step. `woolgather plan` lists"),
    ],
)  # fmt: skip
def test_a_step_that_is_not_there(tmp_path: Path, choices: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as found:
        plan_of(tmp_path / "run", chain, **choices)
    assert said in str(found.value)


# -- what went wrong is said first -----------------------------------------------------------------


def test_a_conclusion_begins_with_the_grave_alarms_of_its_scope(tmp_path: Path) -> None:
    def failing(run: Any) -> None:
        for name in ("one", "two"):
            scope = run.scope(name)
            rows = scope.step("first", make, "first")
            if name == "two":
                rows = scope.scope("iter0").step("mix", warn, rows)
            scope.step("summary", look, rows)
        run.step("whole", look, rows)

    for _ in range(2):  # remembered, it says the same
        with opened(tmp_path / "run") as run:
            failing(run)
        said = {r.step: r.headline for _, r in current_steps(tmp_path / "run")}
        assert said["one/summary"] == "Looked."
        assert said["two/summary"] == "iter0/mix: all is lost. Looked."
        assert said["whole"] == "two/iter0/mix: all is lost. Looked."
