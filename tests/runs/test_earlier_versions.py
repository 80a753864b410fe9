"""A folder in which an older version asked one server for every model: what that model could not have
said is made anew, with answers of its own, whatever ends the launch that does it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import Completion, Engine
from woolgather.engines.fake import FakeEngine
from woolgather.runs.earlier.doubts import past_of
from woolgather.runs.record import RunRecord, read_launches

from .asking import (
    as_before,
    by_base,
    by_name,
    name_of,
    opened,
    planned,
    recipe,
    records,
    rewrite,
    states,
    texts,
)

BY_BASE = [f"base on Say {w}." for w in ("one", "two", "six")]
BY_TUNED = [f"tuned on Say {w}." for w in ("one", "two", "six")]
TRAINED = "new because a server answered for iter0/train, which it could not have held"
JUDGED = "new because it is not on record which model on a server answered for judge_model"


@pytest.fixture
def polluted(tmp_path: Path) -> Path:
    with opened(tmp_path / "run", by_base) as run:
        recipe(run)
    as_before(tmp_path / "run")
    assert all(
        said.startswith("base on") for step in texts(tmp_path / "run").values() for said in step
    )
    return tmp_path / "run"


def finished(folder: Path, answers: Any = by_name, **more: Any) -> dict[str, tuple[str, str]]:
    with opened(folder, answers, **more) as run:
        recipe(run)
    return states(folder)


def right(folder: Path) -> bool:
    """Every model has spoken for itself."""
    found = texts(folder)
    judged = [said for step in ("iter0/assess", "iter1/assess") for said in found[step]]
    return (
        found["iter0/respond"] == BY_BASE
        and found["iter1/respond"] == BY_TUNED
        and all(said.startswith("judge on") for said in judged)
    )


def test_what_a_server_could_not_have_said_is_made_anew_and_the_rest_is_kept(
    polluted: Path,
) -> None:
    before = planned(polluted)
    assert before["iter0/respond"] == ("remembered", "")
    assert before["iter0/assess"] == ("new", JUDGED)
    assert before["iter0/train"] == ("new", "iter0/assess runs again")
    assert before["iter1/respond"] == ("new", "iter0/train runs again")
    asked: list[str] = []

    def noted(model: Model) -> Engine:
        asked.append(name_of(model))
        return by_name(model)

    ran = finished(polluted, noted)
    assert ran["iter0/respond"][0] == "remembered"
    assert ran["iter0/assess"] == ("ran", JUDGED)
    assert {state for step, (state, _) in ran.items() if step != "iter0/respond"} == {"ran"}
    assert asked == ["judge", "tuned", "judge"]  # the base's own answers stay in use
    assert right(polluted)
    assert {state for state, _ in finished(polluted, by_base).values()} == {"remembered"}


def test_answers_for_a_model_that_the_run_trained_are_not_trusted(polluted: Path) -> None:
    """With the judge's on record, and so trusted."""
    for path in polluted.glob("iter?/assess-*/record.json"):
        rewrite(path, lambda r: r["execution"]["engine"].update(served=[]))
    assert planned(polluted)["iter0/assess"][0] == "remembered"
    assert planned(polluted)["iter1/respond"] == ("new", TRAINED)
    assert planned(polluted)["iter1/assess"] == ("new", "iter1/respond runs again")
    ran = finished(polluted)
    assert ran["iter0/train"][0] == "remembered"
    assert ran["iter1/respond"] == ("ran", TRAINED)
    assert ran["iter1/assess"] == ("ran", "iter1/respond was made again with other content")
    assert texts(polluted)["iter1/respond"] == BY_TUNED


def test_redoing_a_step_by_hand_asks_again_where_it_must(polluted: Path) -> None:
    asked: list[str] = []

    def noted(model: Model) -> Engine:
        asked.append(name_of(model))
        return by_name(model)

    finished(polluted, noted, redo=("iter1/respond", "iter0/respond"))
    assert right(polluted)
    assert "base" not in asked
    assert records(polluted)["iter0/respond"].calls["remembered"] == 3


def killed(folder: Path, after: int) -> None:
    """A launch that is killed when a trained model has given so many answers."""

    class Deadly(FakeEngine):
        def complete(self, requests: Any) -> Iterator[tuple[int, Completion]]:
            for count, answer in enumerate(super().complete(requests)):
                if name_of(self.model) == "tuned" and count == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield answer

    def deadly(model: Model) -> Engine:
        return Deadly(answer=lambda p, _: f"{name_of(model)} on {p[:20]}", model=model)

    child = os.fork()
    if child == 0:
        try:
            finished(folder, deadly)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_after_a_kill_in_the_middle_the_new_answers_are_used_and_the_old_ones_are_not(
    polluted: Path,
) -> None:
    killed(polluted, after=2)
    assert not list(polluted.glob("iter1/respond-*/record.json"))
    assert read_launches(polluted)[-1].status == "running"
    assert finished(polluted)["iter1/respond"][0] == "ran"
    assert right(polluted)
    calls = records(polluted)["iter1/respond"].calls
    assert (calls["requests"], calls["remembered"]) == (3, 2)


def test_answers_of_a_step_that_was_never_finished_are_not_taken_either(polluted: Path) -> None:
    for folder in polluted.glob("iter1/*"):
        shutil.rmtree(folder)
    finished(polluted)
    assert right(polluted)


def test_a_step_of_another_engine_that_took_such_answers_is_made_anew(polluted: Path) -> None:
    """The old version, continued with --engine transformers: the journal gave what the server said."""

    def continued(record: dict[str, Any]) -> None:
        record["execution"] = {"engine": {"name": "transformers"}}
        record["calls"] = {"requests": 3, "remembered": 1}

    for path in polluted.glob("iter?/*/record.json"):
        if "respond" in str(path) or "assess" in str(path):
            rewrite(path, continued)
    taken = "new because remembered answers of {} may be those of another model"
    plan = planned(polluted)
    assert plan["iter0/respond"][0] == "remembered"
    assert plan["iter0/assess"] == ("new", taken.format("judge_model"))
    for path in polluted.glob("iter?/assess-*/record.json"):
        rewrite(path, lambda r: r["calls"].update(remembered=0))
    plan = planned(polluted)
    assert plan["iter0/assess"][0] == "remembered"
    assert plan["iter1/respond"] == ("new", taken.format("iter0/train"))
    finished(polluted)
    assert texts(polluted)["iter1/respond"] == BY_TUNED
    assert {state for state, _ in finished(polluted).values()} == {"remembered"}


@pytest.mark.parametrize("words", [
    ("woolgather", "run", "--engine=openai", "x"), ("woolgather", "run", "x", "--engine", "openai")
])  # fmt: skip
def test_a_launch_tells_by_its_command(polluted: Path, words: tuple[str, ...]) -> None:
    for path in polluted.glob("**/record.json"):
        path.unlink()
    rewrite(polluted / "launches" / "0001.json", lambda r: r["provenance"].update(argv=list(words)))
    assert past_of(polluted).doubted
    finished(polluted)
    assert right(polluted)


def test_a_launch_from_python_tells_by_its_records_and_it_is_noted_before_they_are_gone(
    polluted: Path,
) -> None:
    rewrite(polluted / "launches" / "0001.json", lambda r: r["provenance"].update(argv=["mine.py"]))
    assert past_of(polluted).doubted
    killed(polluted, after=1)
    for path in polluted.glob("**/record.json"):
        path.unlink()
    assert past_of(polluted).doubted
    finished(polluted)
    assert right(polluted)


def test_a_folder_of_an_older_version_that_asked_no_server_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finished(folder)
    as_before(folder, engine="transformers")
    rewrite(folder / "launches" / "0001.json", lambda r: r.update(status="running"))
    for path in folder.glob("**/record.json"):
        rewrite(path, lambda r: r["calls"] and r["calls"].update(remembered=2))
    assert not past_of(folder).doubted
    assert {state for state, _ in finished(folder, by_base).values()} == {"remembered"}
    finished(folder, by_base, redo=("iter1/respond", "iter0/assess"))
    assert right(folder)  # what is done again takes the answers that are there


def test_a_folder_of_this_version_is_never_doubted(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    assert read_launches(tmp_path / "run")[0].journal == "sure"
    argv = ["woolgather", "run", "--engine", "openai"]
    rewrite(
        tmp_path / "run" / "launches" / "0001.json", lambda r: r["provenance"].update(argv=argv)
    )
    assert not past_of(tmp_path / "run").doubted
    assert past_of(tmp_path / "run").unsure == frozenset()


def test_an_older_version_that_comes_later_is_looked_at_again(polluted: Path) -> None:
    launches = polluted / "launches"
    shutil.copy(launches / "0001.json", launches / "0002.json")
    rewrite(launches / "0002.json", lambda r: r.update(launch=2))
    rewrite(launches / "0001.json", lambda r: r.update(journal="sure"))
    assert past_of(polluted).doubted
    assert past_of(polluted).unsure == {2}
    assert RunRecord(1, "x").journal == ""
