"""What a run remembers of the hub, told apart from what it cannot know; the hub is a stand-in here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from woolgather.core.artifacts import Dataset
from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.core.storage import write_rows
from woolgather.runs.inputs import InputStore

FIRST, SECOND = "1" * 40, "2" * 40


class Hub:
    """Answers with `commit`, or not at all where it is empty."""

    commit = FIRST
    asked = 0

    def dataset_info(self, repo: str, **_: Any) -> SimpleNamespace:
        Hub.asked += 1
        if not self.commit:
            raise ConnectionError("no route")
        return SimpleNamespace(sha=self.commit)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    made = type("Hub", (Hub,), {})
    monkeypatch.setattr(huggingface_hub, "HfApi", made)
    return made


def test_the_first_commit_stands_and_what_changed_is_told_once(
    hub: type[Hub], tmp_path: Path
) -> None:
    told: list[str] = []
    assert InputStore(tmp_path, told.append).pins("some/a, some/b@v1") == {
        "some/a": FIRST,
        "some/b@v1": FIRST,
    }
    assert not told
    hub.commit = SECOND
    later = InputStore(tmp_path, told.append)
    assert [later.commit("some/a") for _ in range(2)] == [FIRST, FIRST]
    assert len(told) == 1
    assert f"For the newer: some/a@{SECOND}" in told[0]
    hub.commit = ""
    assert InputStore(tmp_path, told.append).commit("some/b@v1") == FIRST
    assert told[1].startswith("some/b@v1: the hub cannot be reached")
    with pytest.raises(InputError, match="some/c: no file or folder here, and the hub cannot be"):
        InputStore(tmp_path).commit("some/c")


def test_a_commit_and_files_are_not_asked_for(hub: type[Hub], tmp_path: Path) -> None:
    hub.commit = ""
    (tmp_path / "a.jsonl").touch()
    store = InputStore(tmp_path)
    assert store.pins([f"some/a@{SECOND}", tmp_path / "a.jsonl"]) == {f"some/a@{SECOND}": SECOND}


def test_a_plan_and_a_broken_note_leave_it_to_the_hub(hub: type[Hub], tmp_path: Path) -> None:
    assert InputStore(tmp_path, keep=False).commit("some/a") == FIRST
    assert not list(tmp_path.iterdir())
    InputStore(tmp_path).commit("some/a")
    (tmp_path / "hub.json").write_text("{")
    hub.commit = SECOND
    assert InputStore(tmp_path).commit("some/a") == SECOND


def test_rows_are_found_again_with_what_was_told(tmp_path: Path) -> None:
    told: list[str] = []
    store = InputStore(tmp_path, told.append)
    rows = Dataset(tmp_path / "seeds-0123", "f" * 64, 1)
    store.note_rows("key", rows, ["one left out"])
    assert store.find_rows("other") is None
    assert store.find_rows("key") is None, "the rows are gone"
    assert list(write_rows([Example(instruction="Q")], rows.path, "example"))
    assert store.find_rows("key") == rows
    assert told == ["one left out"]
