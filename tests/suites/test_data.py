"""Data are found under the harness's names, and all that is missing is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.suites.data import check_data, describe_data, link_data
from woolgather.suites.suite import Data, Measure, Suite, SuiteTask

MEASURE = Measure(metric="acc")
SUITE = Suite(
    name="own",
    tasks=(
        SuiteTask(task="one", measures=(MEASURE,), data=(Data(path="owner/set"),)),
        SuiteTask(
            task="two", measures=(MEASURE,), data=(Data(path="other/set", file="lines.jsonl"),)
        ),
        SuiteTask(
            task="three", measures=(MEASURE,), data=(Data(path="third", fetch="wget it into DIR"),)
        ),
    ),
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    return cache


def test_everything_missing_is_one_error_with_a_command_each(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_data(SUITE, SUITE.tasks, tmp_path)
    said = str(caught.value)
    assert "3 of its data sets" in said
    assert "Nothing was run" in said
    assert f"hf download --repo-type dataset owner/set --local-dir {tmp_path}/owner/set" in said
    assert "other/set" in said
    assert f"wget it into {tmp_path}" in said


def test_without_a_folder_the_error_says_to_name_one() -> None:
    with pytest.raises(InputError, match="then add --data-dir DIR"):
        check_data(SUITE, SUITE.tasks, None)
    with pytest.raises(InputError, match="no such folder"):
        check_data(SUITE, SUITE.tasks, Path("nowhere"))


def test_a_folder_a_single_file_and_the_cache_will_do(tmp_path: Path, empty_cache: Path) -> None:
    (tmp_path / "owner" / "set").mkdir(parents=True)
    (tmp_path / "lines.jsonl").write_text("{}\n")
    (empty_cache / "third").mkdir()
    check_data(SUITE, SUITE.tasks, tmp_path)
    links = tmp_path / "out" / "data"
    for _ in range(2):  # again, over what the first time left
        link_data(SUITE, SUITE.tasks, tmp_path, links)
        assert (links / "owner" / "set").resolve() == tmp_path / "owner" / "set"
        assert (links / "other" / "set" / "lines.jsonl").read_text() == "{}\n"
    assert not (links / "third").exists()
    assert (tmp_path / "lines.jsonl").exists()


def test_a_suite_of_your_own_has_its_folder_beside_it(tmp_path: Path) -> None:
    own = SUITE.model_copy(update={"folder": tmp_path / "own"})
    (tmp_path / "own" / "owner" / "set").mkdir(parents=True)
    (tmp_path / "own" / "more.jsonl").write_text("{}\n")
    (tmp_path / "own" / "one.yaml").write_text("task: one\n")
    check_data(own, own.tasks[:1], None)
    link_data(own, own.tasks[:1], None, tmp_path / "data")
    assert (tmp_path / "data" / "more.jsonl").exists()
    assert (tmp_path / "data" / "owner" / "set").exists()
    assert not (tmp_path / "data" / "one.yaml").exists()


def test_results_beside_a_suite_are_no_data_of_it(tmp_path: Path) -> None:
    own = SUITE.model_copy(update={"folder": tmp_path})
    (tmp_path / "one.yaml").write_text("task: one\n")
    before = describe_data(own, own.tasks[2], None)
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "record.json").write_text("{}")
    (tmp_path / "eval.log").write_text("what a shell wrote of this very command")
    assert describe_data(own, own.tasks[2], None) == before
    (tmp_path / "one.yaml").write_text("task: another\n")
    assert describe_data(own, own.tasks[2], None) != before


def test_changed_data_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text("{}\n")
    before = describe_data(SUITE, SUITE.tasks[1], tmp_path)
    assert before == describe_data(SUITE, SUITE.tasks[1], tmp_path)
    (tmp_path / "lines.jsonl").write_text("{}\n{}\n")
    assert before != describe_data(SUITE, SUITE.tasks[1], tmp_path)


def test_the_metric_that_runs_code_is_where_the_harness_looks(tmp_path: Path) -> None:
    (tmp_path / "code_eval").mkdir()
    (tmp_path / "code_eval" / "code_eval.py").touch()
    harmless = SuiteTask(task="one", measures=(MEASURE,))
    for task in (harmless, harmless.model_copy(update={"code": True})):
        own = Suite(name="own", tasks=(task,))
        link_data(own, own.tasks, tmp_path, tmp_path / "links")
        found = (tmp_path / "links" / "code_eval" / "code_eval.py").is_file()
        assert found == task.code
