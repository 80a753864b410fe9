"""What a row or a step was made from, back to the seeds and texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.runs.inputs import open_texts
from woolgather.runs.record import current_steps

from .conftest import answer, open_run

Call = Callable[..., Any]


def read_texts(documents: Iterable[Any], *, seeds: Iterable[Example]) -> Iterator[Example]:
    """A row per paragraph, as ops that read texts say where each is from."""
    for document in documents:
        pieces = document.text.strip().split("\n\n")
        for i, text in enumerate(pieces, 1):
            cut = {"segment": i} if len(pieces) > 1 else {}
            yield Example(instruction="", response=text, meta={"source": document.source, **cut})


def path_of(run: Path, step: str) -> Path:
    paths = {r.step: run / str(e["path"]) for e, r in current_steps(run)}
    return paths[step]


def ids(told: Call, run: Path, step: str, *more: object) -> list[str]:
    return [row["id"] for row in told("show", run, step, "-n", 99, *more)]


def test_lineage_of_a_row_ends_at_the_seeds(told: Call, call: Call, built_run: Path) -> None:
    pair = told("show", built_run, "iter0/pairs")[0]
    tree = told("lineage", built_run, pair["id"])
    response = tree["parents"][0]
    assert (tree["where"], response["where"]) == ("iter0/pairs", "iter0/respond")
    assert response["also"] == ["iter0/assess", "iter0/keep"]
    task = response["parents"][0]
    assert task["where"] == "iter0/synthesize"
    assert [p["text"] for p in task["parents"]] == ["seed task 0", "seed task 1"]
    assert all(p["where"].startswith("inputs/seeds-") for p in task["parents"])
    assert "seed task 1" in call("lineage", built_run, pair["id"]).stdout


def test_lineage_says_where_a_row_was_set_aside(told: Call, built_run: Path) -> None:
    row = told("show", built_run, "iter0/keep", "--reason", "unreadable")[0]
    tree = told("lineage", built_run, row["id"])
    assert tree["also"] == ["iter0/assess", "iter0/keep (set aside: unreadable)"]


def test_lineage_takes_the_beginning_of_an_id(told: Call, call: Call, built_run: Path) -> None:
    first = ids(told, built_run, "iter0/pairs")[0]
    only = first[:-1]
    with pytest.raises(InputError, match="5 ids begin with"):
        call("lineage", built_run, only)
    assert told("lineage", built_run, first)["name"] == first
    with pytest.raises(InputError, match="neither a row nor a finished step"):
        call("lineage", built_run, "zzz")


def test_lineage_of_a_step_ends_at_its_sources(told: Call, built_run: Path) -> None:
    tree = told("lineage", built_run, "iter0/keep")
    steps = []
    while tree["parents"]:
        steps.append(tree["name"])
        tree = tree["parents"][0]
    assert steps == ["iter0/keep", "iter0/assess", "iter0/respond", "iter0/synthesize"]
    assert tree["name"] == "seeds"
    assert tree["where"].startswith("inputs/seeds-")


def test_lineage_can_end_early_and_repeats_nothing(told: Call, built_run: Path) -> None:
    pair = ids(told, built_run, "iter0/pairs")[0]
    assert told("lineage", built_run, pair, "--depth", 1)["parents"][0]["parents"] == []
    tree = told("lineage", built_run, "iter0/stop")
    assert tree["parents"][0]["name"] == "iter0/measure"


def test_rows_of_seeds_that_are_no_longer_used_are_not_found(
    told: Call, call: Call, a_run: Path, again: Call
) -> None:
    old = told("lineage", a_run, "seeds-1")["where"]
    seeds = a_run.parent / "seeds.jsonl"
    seeds.write_text(seeds.read_text().replace("seed task", "other task"))
    again()
    tree = told("lineage", a_run, "seeds-1")
    assert tree["text"] == "other task 0"
    assert tree["where"] != old


@pytest.fixture
def text_run(tmp_path: Path) -> Path:
    """A run on texts: a file of records, and one that was cut."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in ("one", "two")))
    (corpus / "b.md").write_text("three\n\nfour\n")
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"instruction": "seed task", "response": "yes"}\n')
    with open_run(tmp_path / "run") as run:
        texts = run.step("texts", read_texts, open_texts(corpus), seeds=run.rows("seeds", seeds))
        run.step("tasks", answer, texts)
    return tmp_path / "run"


def test_lineage_of_a_row_made_from_a_text_ends_at_its_place(told: Call, text_run: Path) -> None:
    made = [told("lineage", text_run, row) for row in ids(told, text_run, "tasks")]
    texts = [tree["parents"][0] for tree in made]
    assert [t["text"] for t in texts] == ["one", "two", "three", "four"]
    places = [t["parents"][0] for t in texts]
    assert [p["name"] for p in places] == [
        "a.jsonl, line 1",
        "a.jsonl, line 2",
        "b.md, segment 1",
        "b.md, segment 2",
    ]
    assert {p["text"] for p in places} == {str(text_run.parent / "corpus")}
    assert all(p["where"].startswith("inputs/texts-") and not p["parents"] for p in places)
    first = ids(told, text_run, "tasks")[0]
    assert told("lineage", text_run, first, "--depth", 1)["parents"][0]["parents"] == []


def test_lineage_of_a_step_that_read_texts_names_them(told: Call, text_run: Path) -> None:
    found = {p["name"]: p for p in told("lineage", text_run, "texts")["parents"]}
    assert set(found) == {"seeds", "texts"}
    assert found["texts"]["text"].endswith("corpus")


def test_a_row_of_the_users_own_that_names_a_source_is_no_text(told: Call, a_run: Path) -> None:
    assert told("lineage", a_run, "seeds-1")["parents"] == []


def test_status_and_show_know_what_was_given(told: Call, call: Call, text_run: Path) -> None:
    seeds, texts = told("status", text_run)["inputs"]
    assert (seeds["name"], texts["name"]) == ("seeds", "texts")
    assert (texts["files"], texts["column"]) == (2, "text")
    said = " ".join(call("status", text_run).stdout.split())
    assert "inputs: seeds; texts (" in said
    assert ", 2 files, " in said
    assert "from b.md, segment 2" in call("show", text_run, "texts").stdout
