"""A full disk: one message, exit code 1, nothing computed is lost, and the same command continues.

Wherever it strikes: in rows, records, the journal, a metrics file, the launch's record, the result's
links, a trainer; by a writer made to fail, a database at its limit, a real disk of a few hundred
KiB, and a limit on the size of files.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from woolgather.cli import app, main
from woolgather.core import storage
from woolgather.core.errors import DiskError, disk_error, no_room
from woolgather.engines import journal
from woolgather.runs import execute as execution
from woolgather.runs import folder as run_folder
from woolgather.runs import record as step_record
from woolgather.training.fake import FakeTrainer

SETTINGS = ["isheep", "--preset", "demo", "--engine", "fake", "iterations=1", "per_iteration=12",
            "measure.probes=55", "judge.pairs=24"]  # fmt: skip
FULL = OSError(errno.ENOSPC, "No space left on device")


def launch(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(app(), ["run", *SETTINGS, "--dir", str(folder), *more])


def data(folder: Path) -> dict[str, bytes]:
    """Every data file of the current steps, by step and name."""
    return {
        f"{record.step}/{name}": (folder / str(entry["path"]) / name).read_bytes()
        for entry, record in step_record.current_steps(folder)
        for name in record.result.get("files") or ()
    }


def answers(folder: Path) -> set[Any]:
    db = sqlite3.connect(folder / "journal.sqlite")
    found = set(db.execute("select key, answer from calls"))
    db.close()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = launch(folder)
    assert result.exit_code == 0, result.output
    return folder


def check(result: Result, folder: Path, step: str) -> None:
    """What the user gets: one sentence of the tree of errors, with exit code 1."""
    error = result.exception
    assert isinstance(error, DiskError), repr(error)
    assert error.exit_code == 1
    assert re.match(rf"({step}: )no room left on the disk of {folder} \(", str(error)), str(error)
    assert "free some space" in str(error)
    assert "same command" in str(error)


def finish(folder: Path, whole: Path) -> None:
    """The same command ends as if nothing had happened, and repeats nothing that was finished."""
    before = answers(folder) if (folder / "journal.sqlite").is_file() else set()
    records = {p: p.stat().st_mtime_ns for p in folder.glob("**/record.json")}
    result = launch(folder)
    assert result.exit_code == 0, result.output
    assert data(folder) == data(whole)
    assert before <= answers(folder) == answers(whole)
    assert {p: p.stat().st_mtime_ns for p in records} == records
    assert json.loads((folder / "result" / "fake.json").read_text())["kind"] == "merge"


def nth(count: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, but the call of this number meets a full disk, and so does every later one."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= count:
            raise OSError(errno.ENOSPC, "No space left on device", str(args[-1]))
        return real(*args, **kwargs)

    return call


class FullFor:
    """Instead of `storage.publish`, through which every file of a run gets its name: from the call of a
    number on, files whose path matches a pattern meet a full disk."""

    def __init__(self, pattern: str, count: int) -> None:
        self.pattern, self.count, self.calls = pattern, count, 0
        self.publish = storage.publish

    def __call__(self, temp: Path, final: Path) -> None:
        if final.match(self.pattern):
            self.calls += 1
            if self.calls >= self.count:
                raise OSError(errno.ENOSPC, "No space left on device", str(final))
        self.publish(temp, final)


FILES = {
    "the first shard": ("attempt-*/part-*.parquet", 1),
    "a shard": ("attempt-*/part-*.parquet", 4),
    "the first record": ("record.json", 1),
    "a record": ("record.json", 7),
    "a file of measures": ("metrics.json", 1),
    "the launch's record": ("launches/*.json", 9),
}


@pytest.mark.parametrize(("pattern", "count"), FILES.values(), ids=list(FILES))
def test_whichever_file_it_strikes_it_is_one_message_and_the_run_goes_on(
    whole: Path, tmp_path: Path, pattern: str, count: int
) -> None:
    folder, full = tmp_path / "run", FullFor(pattern, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "publish", full)
        result = launch(folder)
        assert full.calls >= count, "the file was never written"
        check(result, folder, "[a-z0-9/-]+")
        assert not (folder / "result").exists()
    finish(folder, whole)


PLACES: list[tuple[str, Any, str, int]] = [
    ("rows", execution, "write_rows", 4),
    ("the files' move", execution, "publish", 6),
    ("an answer", journal.Journal, "put", 150),
    ("a training", FakeTrainer, "__call__", 1),
    ("a merge", FakeTrainer, "__call__", 2),
]


@pytest.mark.parametrize(("what", "where", "name", "count"), PLACES, ids=[p[0] for p in PLACES])
def test_wherever_it_strikes_it_is_one_message_and_the_run_goes_on(
    whole: Path, tmp_path: Path, what: str, where: Any, name: str, count: int
) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, nth(count, getattr(where, name)))
        result = launch(folder)
        check(result, folder, "[a-z0-9/-]+")
        assert not (folder / "result").exists()
    finish(folder, whole)


@pytest.mark.parametrize("file", ["run.json", "launches/0001.json", "inputs/*/part-*.parquet"])
def test_before_the_first_step_too(whole: Path, tmp_path: Path, file: str) -> None:
    folder, full = tmp_path / "run", FullFor(file, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "publish", full)
        result = launch(folder)
        assert full.calls, "the file was never written"
        assert isinstance(result.exception, DiskError), repr(result.exception)
        assert str(result.exception).startswith(f"no room left on the disk of {folder}")
    finish(folder, whole)


def test_the_result_is_linked_by_the_next_launch(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "link", nth(1, run_folder.link))
        assert isinstance(launch(folder).exception, DiskError)
    finish(folder, whole)


def test_a_database_at_its_limit_is_a_full_disk(whole: Path, tmp_path: Path) -> None:
    """SQLite's own "database or disk is full", from a bound on its pages."""
    folder = tmp_path / "run"

    class Small(journal.Journal):
        def __init__(self, path: Path | str) -> None:
            super().__init__(path)
            self._db.execute("PRAGMA max_page_count = 12")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "Journal", Small)
        result = launch(folder)
        check(result, folder, "[a-z0-9/-]+")
        assert "database or disk is full" in str(result.exception)
    assert answers(folder)
    finish(folder, whole)


def test_the_report_is_not_written_on_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "write_rows", nth(4, execution.write_rows))
        launch(folder)
    assert not (folder / "report.html").exists()
    assert step_record.read_launches(folder)[-1].status == "failed"


COMMAND = '"$python" -c "{} main()" run ' + " ".join(SETTINGS)
TRUSTING = COMMAND.format(
    "from woolgather.cli import main; from woolgather.api.launch import Launch; "
    "Launch._check_disk = lambda self, total: None;"
)
"""Without the look at the disk before the work, which would end it at once."""
COMMAND = COMMAND.format("from woolgather.cli import main;")
Small = Callable[[str, str], subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("size", ["24k", "120k", "2m", "4m"])
def test_on_a_real_small_disk(whole: Path, tmp_path: Path, on_small_disk: Small, size: str) -> None:
    out = tmp_path / "kept"
    done = on_small_disk(
        size,
        f"""
        {TRUSTING} --dir "$disk/run" --no-report > '{tmp_path}/out' 2> '{tmp_path}/err'
        echo first $?
        grow 100m
        {COMMAND} --dir "$disk/run" --no-report >> '{tmp_path}/out' 2>> '{tmp_path}/err'
        echo second $?
        cp -r "$disk/run" '{out}'
        """,
    )
    said = (tmp_path / "err").read_text()
    assert done.stdout.split() == ["first", "1", "second", "0"], said
    [line] = said.splitlines()
    assert line.startswith("error: ")
    assert f"no room left on the disk of {tmp_path}/disk/run (" in line
    assert data(out) == data(whole)
    assert answers(out) == answers(whole)


def test_under_a_limit_on_the_size_of_files(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-c", "from woolgather.cli import main; main()", "run", *SETTINGS]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "-", *words, "--dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "no room left on the disk of" in done.stderr
    assert "Traceback" not in done.stderr
    finish(folder, whole)


def test_no_room_for_what_the_plan_expects_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new" / "run"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    result = launch(folder)
    error = result.exception
    assert isinstance(error, DiskError)
    assert error.exit_code == 1
    assert re.match(
        rf"{folder}: the run may write [\d.]+ MiB and {tmp_path} has 1,000 B free\.", str(error)
    ), str(error)
    assert "--dir" in str(error)
    assert not folder.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert launch(folder).exit_code == 0


def test_other_commands_say_it_in_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tmp_path / "u.jsonl"
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    source.write_text(json.dumps({"messages": turns}) + "\n")
    words = ["woolgather", "prepare", "ultrachat", str(source), "--out", str(tmp_path / "o.jsonl")]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr("woolgather.data.writing.publish", nth(1, storage.publish))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: no room left on the disk of")
    assert len(shown.splitlines()) == 1


def signs() -> Iterator[tuple[BaseException, bool]]:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        yield OSError(number, "x"), True
    yield OSError(errno.EACCES, "x"), False
    yield ValueError("x"), False
    yield RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576"), True
    yield RuntimeError("I/O error: No space left on device (os error 28)"), True
    wrapped = ValueError("cannot save")
    wrapped.__cause__ = FULL
    yield wrapped, True


@pytest.mark.parametrize(("error", "full"), list(signs()), ids=lambda v: str(v)[:30])
def test_signs_of_a_full_disk(error: BaseException, full: bool) -> None:
    assert no_room(error) is full
    assert (disk_error(error, Path("here")) is not None) is full


def test_what_has_been_said_is_not_said_again() -> None:
    said = disk_error(FULL, Path("here"), "iter0/train")
    assert isinstance(said, DiskError)
    assert str(said).startswith("iter0/train: no room left on the disk of here (")
    assert disk_error(said, Path("here")) is None
    assert disk_error(None, Path("here")) is None
