"""An op has a name of its own: where its function lies is no part of what a step is."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import tarfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import woolgather.ops
from woolgather.cli import app
from woolgather.core.artifacts import Choice, Dataset, Metrics, Model
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import canonical
from woolgather.core.op import Op, as_op, op, source_hash
from woolgather.core.rows import Example, PreferencePair
from woolgather.core.views import View
from woolgather.runs.earlier.payloads import GROUPED, modern
from woolgather.runs.record import read_launches

STORED = Path(__file__).parents[1] / "stored" / "isheep-before-ops-had-names.tar.xz"
"""A run of the fake engine, made by the version whose steps were known by the places of functions."""


def rows(tasks: Iterable[Example]) -> Iterator[Example]:
    yield from tasks


def viewed(tasks: Iterable[Example]) -> Generator[Example, None, list[View]]:
    yield from tasks
    return []


def pairs(tasks: Iterable[Example]) -> Iterator[PreferencePair]:
    yield from ()


def model(tasks: Iterable[Example], *, n: int = 3) -> Model:
    return Model("fake")


def metrics() -> Metrics:
    return Metrics({})


def choice() -> Choice:
    return Choice(1)


def nothing() -> int:
    return 1


def bare():  # type: ignore[no-untyped-def]
    return 1


@pytest.mark.parametrize(
    ("function", "kind", "shape"),
    [
        (rows, "dataset", "example"),
        (viewed, "dataset", "example"),
        (pairs, "dataset", "pair"),
        (model, "model", "example"),
        (metrics, "metrics", "example"),
        (choice, "choice", "example"),
    ],
)
def test_what_it_makes_is_read_from_its_annotation(function: Any, kind: str, shape: str) -> None:
    made = as_op(function)
    assert (made.kind, made.rows) == (kind, shape)


@pytest.mark.parametrize("function", [nothing, bare])
def test_a_function_that_makes_nothing_to_keep_is_refused_by_name(function: Any) -> None:
    with pytest.raises(TypeError, match=f"test_op:{function.__name__} must be annotated to return"):
        as_op(function)


def test_an_op_is_called_like_its_function_and_knows_its_parameters() -> None:
    made = op("my model", version=2)(model)
    assert made([], n=4) == Model("fake")
    assert list(made.signature.parameters) == ["tasks", "n"]
    assert (made.name, made.version, made.__name__) == ("my model", 2, "model")
    assert as_op(made) is made
    assert canonical(made) == {"op": "my model", "version": 2}


def test_a_plain_function_is_known_by_its_place_and_a_nameless_one_is_refused() -> None:
    assert as_op(model).name == f"{__name__}:model"
    with pytest.raises(TypeError, match="has no identity"):
        as_op(lambda: 1)


def test_without_a_word_of_its_own_as_many_rows_come_out_as_go_in() -> None:
    assert as_op(rows).expects(tasks=Dataset(Path(), count=7)).rows == 7
    assert op("rows", expects=lambda tasks: Expected(rows=1))(rows).expects([]).rows == 1


def test_the_source_of_a_function() -> None:
    assert source_hash(rows) != source_hash(pairs)
    assert len(op("rows")(rows).source) == 12
    assert source_hash(len) == ""


def ops() -> list[Op[..., Any]]:
    """Every op of ours, once."""
    found = {}
    for info in pkgutil.walk_packages(woolgather.ops.__path__, "woolgather.ops."):
        module = importlib.import_module(info.name)
        found |= {id(v): v for v in vars(module).values() if isinstance(v, Op)}
    return list(found.values())


def test_no_two_ops_have_one_name() -> None:
    names = [op.name for op in ops()]
    assert len(names) > 30
    assert len(set(names)) == len(names)


def test_payloads_of_earlier_versions_are_read_as_this_one_writes_them() -> None:
    old = {
        "op": "woolgather.ops.train:sft",
        "version": 1,
        "args": {"config": {"precision": "auto"}},
    }
    now = {"op": "sft", "version": 1, "args": {"config": {"precision": "bfloat16"}}}
    assert modern(old) == now
    assert modern(now) == now
    own = {"op": "mine:sft", "version": 1, "args": {}}
    assert modern(own) == own


@pytest.mark.parametrize(
    ("name", "old", "now"),
    [
        (
            "audition",
            {
                "seeds": "S", "engine": "E", "candidates": ["yes_no"], "rubrics": [1],
                "questions": {"yes_no": "?"}, "sampling": {"t": 0}, "on_unfit": "stop", "pairs": 8,
                "probes": 0, "samples": 4, "answers": {"t": 1}, "seed": 3,
            },
            {
                "seeds": "S",
                "engine": "E",
                "how": {"candidates": ["yes_no"], "pairs": 8, "probes": 0, "on_unfit": "stop"},
                "asked": {"rubrics": [1], "questions": {"yes_no": "?"}, "sampling": {"t": 0}},
                "sampled": {"samples": 4, "sampling": {"t": 1}},
                "seed": 3,
            },
        ),
        (
            "judge",
            {"rows": "R", "rubrics": [], "questions": {}, "sampling": {"t": 0}, "floor": 0.5},
            {
                "rows": "R",
                "asked": {"rubrics": [], "questions": {}, "sampling": {"t": 0}},
                "floor": 0.5,
            },
        ),
        (
            "win_rate",
            {"ours": "O", "rubrics": [], "questions": {}, "sampling": {"t": 0}},
            {"ours": "O", "asked": {"rubrics": [], "questions": {}, "sampling": {"t": 0}}},
        ),
        (
            "evaluate",
            {"tasks": "T", "probes": 9, "probe_seeds": [1, 2], "max_tokens": 8, "likelihood": True},
            {
                "tasks": "T",
                "how": {"probes": 9, "max_tokens": 8, "likelihood": True},
                "probe_seeds": [1, 2],
            },
        ),
        (
            "pool",
            {"sources": ["S"], "min_tokens": 2, "max_tokens": None, "limit": 5, "note": ""},
            {
                "sources": ["S"],
                "how": {"min_tokens": 2, "max_tokens": None, "limit": 5},
                "note": "",
            },
        ),
        (
            "real_rows",
            {"rows": "R", "budget": 6, "max_length": 50, "max_prompt_length": 10},
            {"rows": "R", "limits": {"answer": 6, "row": 50, "prompt": 10}},
        ),
        (
            "mix",
            {"kept": "B", "history": ["A"], "seeds": "S", "max_length": 9, "max_rows": None},
            {
                "kept": ["A", "B"],
                "seeds": "S",
                "replay": [],
                "limits": {"max_length": 9, "max_rows": None},
            },
        ),
        (
            "mix",
            {"kept": [], "history": [], "seeds": "S", "max_length": 9, "max_rows": None},
            {"kept": [], "seeds": "S", "replay": [], "limits": {"max_length": 9, "max_rows": None}},
        ),
        (
            "dpo",
            {"pairs": "B", "earlier": ["A"], "start": "M"},
            {"pairs": ["A", "B"], "start": "M"},
        ),
        (
            "summarize",
            {"rated": ["a", "b"], "kept": ["c", "d"], "portraits": ["e", "f"], "by": "last"},
            {"rounds": [["a", "c", "e"], ["b", "d", "f"]], "by": "last"},
        ),
    ],
)  # fmt: skip
def test_arguments_that_were_apart_are_read_as_the_one_they_are_now(
    name: str, old: dict[str, Any], now: dict[str, Any]
) -> None:
    told = {"op": name, "version": 1, "args": now}
    assert modern({"op": name, "version": 1, "args": old}) == told
    assert modern({"op": f"woolgather.ops.somewhere:{name}", "version": 1, "args": old}) == told
    assert modern(told) == told


def test_a_group_has_the_fields_that_older_arguments_are_put_into() -> None:
    """A group's canonical form has exactly the fields that the table puts into it."""
    known = {op.name: op for op in ops()}
    for name, groups in GROUPED.items():
        made = known[name]
        for argument, fields in groups.items():
            annotation = made.signature.parameters[argument].annotation
            group = eval(annotation, vars(importlib.import_module(made.function.__module__)))
            identity = group.model_fields.keys() - group.execution - group.added
            assert set(fields) == identity, (name, argument)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "stored"


def planned(stored: Path, *words: str) -> dict[str, Any]:
    """The lines of a plan with the settings that the stored run had, by step."""
    config = read_launches(stored)[-1].config
    given = stored.parent / "settings.yaml"
    del config["measure"]["select_seed"], config["measure"]["report_seed"]  # one seed since
    given.write_text(json.dumps({k: v for k, v in config.items() if k != "base"}))
    (tasks,) = stored.glob("inputs/held_out-*")  # ours have better checks since
    asked = ["plan", "isheep", "--engine", "fake", "--dir", str(stored), "-c", str(given)]
    asked += [f"held_out={tasks}", "measure.margin=0", *words]  # margins came later
    done = CliRunner().invoke(app(), [*asked, "--json"])
    assert done.exit_code == 0, done.output
    return {line["step"]: line for line in json.loads(done.stdout)["steps"]}


ANEW = {
    "measure",
    "iter0/audition",
    "iter0/assess",
    "iter0/measure",
    "iter0/stop",
    "select",
    "summary",
}
"""Steps of ops that make something else of the same arguments since, and so count a version more."""
UNSEEN = {"tier-shots", "tier", "probes", "iter0/contamination"}
"""Steps that there were none of."""


def test_a_run_of_the_version_before_is_remembered_but_for_what_rates_and_measures_otherwise(
    stored: Path,
) -> None:
    told = planned(stored)
    assert len(told) == 21
    new = {name: line["why"] for name, line in told.items() if line["state"] != "remembered"}
    assert {name for name, why in new.items() if "version: 1 -> " in why} == ANEW
    assert {name for name, why in new.items() if why == "not done yet"} == UNSEEN
    # New tasks are compared with the probes since; whatever is made from them is made anew.
    assert new["iter0/synthesize"].endswith('args.measured: added [{"artifact": "held_out"}, '
                                            '{"artifact": "probes"}]')  # fmt: skip
    assert told["shots"]["state"] == "remembered"
    changed = new.keys() - ANEW - UNSEEN - {"iter0/synthesize", "result"}
    assert all(re.fullmatch(r"new because (\S+ changed(; )?)+", new[name]) for name in changed)


@pytest.mark.parametrize("command", ["status", "report", "show"])
def test_a_run_of_the_version_before_can_be_looked_at(stored: Path, command: str) -> None:
    words = [command, str(stored), *(["iter0/keep"] if command == "show" else [])]
    done = CliRunner().invoke(app(), words)
    assert done.exit_code == 0, done.output


def test_a_changed_setting_is_explained_across_versions(stored: Path) -> None:
    told = planned(stored, "sft.learning_rate=1e-3")
    assert told["shots"]["state"] == "remembered"
    assert told["iter0/train"]["why"] == "new because args.config.learning_rate: 0.0002 -> 0.001"
