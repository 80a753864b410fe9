"""A sample of rows from outside: the same in every run, and from this machine alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, set_aside
from woolgather.runs.inputs import InputStore, open_sample
from woolgather.runs.inputs.sample import draw

SETTING = "embedding_map.reference"


def write_tasks(path: Path, count: int, word: str = "Task") -> Path:
    rows = [{"instruction": f"{word} {i}", "response": "R"} for i in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_sample_is_the_same_in_every_run_and_told(tmp_path: Path) -> None:
    path, told = write_tasks(tmp_path / "tasks.jsonl", 50), list[str]()
    first = open_sample(str(path), InputStore(tmp_path / "one", told.append), SETTING, 20)
    assert (len(first), first.path.name.partition("-")[0]) == (20, "reference")
    assert told == [f"{SETTING}={path}: 20 of 50 rows are used, drawn with seed 0."]
    second = open_sample(str(path), InputStore(tmp_path / "two"), SETTING, 20)
    assert second.fingerprint == first.fingerprint
    lines = [int(str(row.id).partition("-")[2]) for row in first]
    assert lines == sorted(lines), "in the order of the file"
    assert lines != list(range(1, 21)), "and not its beginning"
    assert open_sample(str(path), InputStore(tmp_path / "two"), SETTING, 21).count == 21


def test_files_that_have_not_changed_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = write_tasks(tmp_path / "tasks.jsonl", 5), list[str]()
    store = InputStore(tmp_path / "run", told.append)
    first = open_sample(str(path), store, SETTING, 4)
    with monkeypatch.context() as patched:
        patched.setattr("woolgather.data.read_examples", lambda *_, **__: pytest.fail("read again"))
        again = open_sample(str(path), store, SETTING, 4)
    assert again.fingerprint == first.fingerprint
    assert len(told) == 2, "and it is told again"
    write_tasks(path, 5, word="Changed")
    assert open_sample(str(path), store, SETTING, 4).fingerprint != first.fingerprint


def test_each_row_is_as_likely_as_any_other() -> None:
    """Of rows that are set aside none is drawn, and of few all are."""
    rows = [Example(instruction=str(i)) for i in range(1000)]
    mixed = [
        row for pair in zip(rows, rows, strict=True) for row in (set_aside(pair[0], "x"), pair[1])
    ]
    drawn, total = draw(mixed, 200)
    places = [int(row.instruction) for row in drawn]
    assert (len(set(places)), total) == (200, 1000)
    assert places == sorted(places)
    assert 450 < sum(places) / 200 < 550
    assert draw(rows[:3], 200) == (rows[:3], 3)


def test_a_data_set_of_the_hub_is_read_where_it_was_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, commit = tmp_path / "hub", "1" * 40
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    held = cache / "datasets--some--tasks"
    with pytest.raises(InputError) as error:
        open_sample("some/tasks", InputStore(tmp_path / "run"), SETTING, 4)
    assert f"{SETTING}=some/tasks: no file or folder here" in str(error.value)
    assert f"{SETTING}=FILE" in str(error.value)
    assert "hf download some/tasks --repo-type dataset" in str(error.value)
    (held / "refs").mkdir(parents=True)
    (held / "refs" / "main").write_text(commit)
    readme = held / "snapshots" / commit / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text("A card alone is no data.")
    with pytest.raises(InputError, match="no data set that was downloaded"):
        open_sample("some/tasks", InputStore(tmp_path / "run"), SETTING, 4)
    write_tasks(readme.parent / "data" / "train.jsonl", 9)
    found = open_sample("some/tasks", InputStore(tmp_path / "run"), SETTING, 4)
    assert len(found) == 4


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = write_tasks(tmp_path / "tasks.jsonl", 2)
    path.write_text(path.read_text() + "{\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"tasks\.jsonl.*3"):
        open_sample(str(path), InputStore(tmp_path / "run"), SETTING, 4)
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        open_sample(str(tmp_path / "nowhere.jsonl"), InputStore(tmp_path / "run"), SETTING, 4)
