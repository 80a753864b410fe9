"""Records: what is written is read again, and what cannot be read is said so."""

import json
from pathlib import Path
from typing import Any

import pytest

from woolgather.core import views
from woolgather.core.errors import RunDirError
from woolgather.runs.record import (
    FORMAT,
    RunRecord,
    StepRecord,
    current_steps,
    read_launches,
    read_record,
    read_run,
    split_name,
    step_dir,
    write,
    write_launch,
    write_run,
)

FULL = StepRecord(
    step="iter0/keep",
    op="woolgather.ops.keep:keep",
    op_version=2,
    fingerprint="ab" * 32,
    kind="dataset",
    payload={"op": "x", "args": {"above": 8}},
    result={"count": 3, "rows": 5, "kind": "example"},
    set_aside={"low_quality": 2},
    inputs={"cd" * 32: {"step": "iter0/assess", "digest": "ef" * 32}},
    digest="01" * 32,
    calls={"requests": 4, "remembered": 1},
    seconds=1.5,
    started="2025-03-01T09:00:00+00:00",
    finished="2025-03-01T09:00:02+00:00",
    launch=1,
    source="abc",
    execution={"engine": "fake"},
    views=({"kind": "alarm", "title": "t", "data": {"text": "x", "level": "note"}, "note": ""},),
    warnings=("careful",),
)


def test_a_step_record_survives_the_disk(tmp_path: Path) -> None:
    write(FULL, tmp_path)
    assert (tmp_path / "record.json").is_file()
    assert read_record(tmp_path) == read_record(tmp_path / "record.json") == FULL
    assert FULL.shown() == [views.alarm("t", "x", "note")]


def test_fields_of_a_record_that_we_do_not_know_are_ignored() -> None:
    assert StepRecord.from_json({**FULL.to_json(), "colour": "red"}) == FULL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, r"has format 2, and this woolgather reads up to 1: install"),
        ({"format": None}, "has no format number"),
        ({"kind": "poem"}, "field kind is 'poem', not one of dataset, model, metrics, choice"),
        ({"set_aside": []}, "field set_aside is a list; delete it"),
        ({"views": 3}, "field views is a int"),
    ],
)
def test_what_cannot_be_read_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunDirError, match=message):
        StepRecord.from_json({**FULL.to_json(), **change}, "record.json")


def test_broken_incomplete_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(RunDirError, match="cannot be read: No such file"):
        read_record(path)
    path.write_text('{"format": 1, "step"', encoding="utf-8")
    with pytest.raises(RunDirError, match=r"record\.json is broken.*done again"):
        read_record(path)
    path.write_text('{"format": 1, "step": "a"}', encoding="utf-8")
    with pytest.raises(RunDirError, match=r"incomplete .*'op'"):
        read_record(path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(RunDirError, match="not a JSON object"):
        read_record(path)


def test_run_json(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not a run directory"):
        read_run(tmp_path)
    write_run(tmp_path / "new", {"recipe": "spin", "title": "x"})
    assert read_run(tmp_path / "new") == {
        "format": FORMAT, "recipe": "spin", "title": "x",
    }  # fmt: skip
    (tmp_path / "new" / "run.json").write_text(json.dumps({"format": 99}), encoding="utf-8")
    with pytest.raises(RunDirError, match="has format 99"):
        read_run(tmp_path / "new")


def save(run: Path, launch: int, status: Any, *names: str) -> None:
    entries = []
    for name in names:
        fingerprint = f"{launch}{len(name)}".ljust(64, "0")
        path = step_dir(name, fingerprint)
        (run / path).mkdir(parents=True)
        record = StepRecord(step=name, op="m:f", fingerprint=fingerprint, kind="choice")
        write(record, run / path)
        entries.append({"step": name, "fingerprint": fingerprint, "path": path, "state": "ran",
                        "why": ""})  # fmt: skip
    made = RunRecord(launch=launch, recipe="r", status=status, steps=tuple(entries))
    assert write_launch(made, run) == run / "launches" / f"{launch:04d}.json"
    assert read_launches(run)[-1] == made


def steps(run: Path) -> list[tuple[str, str]]:
    return [(r.step, r.fingerprint[0]) for _, r in current_steps(run)]


def test_a_finished_launch_is_the_whole_truth(tmp_path: Path) -> None:
    save(tmp_path, 1, "finished", "iter0/a", "iter1/a", "end")
    save(tmp_path, 2, "finished", "iter0/a", "end")
    assert steps(tmp_path) == [("iter0/a", "2"), ("end", "2")]


def test_an_unfinished_launch_stands_on_those_before_it(tmp_path: Path) -> None:
    assert steps(tmp_path) == []
    save(tmp_path, 1, "finished", "old")
    save(tmp_path, 2, "finished", "iter0/a", "iter0/bb")
    save(tmp_path, 3, "stopped", "iter0/a")
    save(tmp_path, 4, "running")
    assert steps(tmp_path) == [("iter0/a", "3"), ("iter0/bb", "2")]


def test_a_step_whose_directory_is_gone_is_left_out(tmp_path: Path) -> None:
    save(tmp_path, 1, "finished", "a", "bb")
    next(tmp_path.glob("a-*")).rename(tmp_path / "gone")
    assert steps(tmp_path) == [("bb", "1")]


def test_names() -> None:
    assert step_dir("iter0/keep", "0123456789abcdef") == "iter0/keep-0123456789ab"
    assert split_name("select") == ("", None, "select")
    assert split_name("iter12/keep") == ("iter12", 12, "keep")
    assert split_name("humback/iter0/score") == ("humback/iter0", 0, "score")
    assert split_name("iterate/keep") == ("iterate", None, "keep")
