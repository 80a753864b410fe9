"""`seeds=`, `held_out=` and `--given` a data set of the hub, or several places at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.storage import read_rows
from woolgather.runs.record import current_steps, read_launches

pytest.importorskip("datasets")

RECIPE = '''
"""Reads seeds, and passes them on."""
from collections.abc import Iterable, Iterator

from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example


class Config(Options):
    seeds: str | tuple[str, ...] = ""
    """Tasks."""


@op("pass_on")
def pass_on(rows: Iterable[Example]) -> Iterator[Example]:
    yield from rows


def recipe(run, cfg):
    return run.step("second", pass_on, run.step("first", pass_on, run.rows("seeds", cfg.seeds)))
'''


def lines(name: str, count: int = 3) -> bytes:
    rows = [{"instruction": f"{name} {n}", "response": "R"} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def read(woolgather: Any, tmp_path: Path) -> Any:
    """(words) -> what came of a run of the recipe above, and the instructions of its second step."""
    (tmp_path / "work" / "reading.py").write_text(RECIPE)

    def run(*words: str, **env: str) -> tuple[Any, list[str]]:
        done = woolgather("run", "./reading.py", "--dir", "run", *words, **env)
        if done.returncode:
            return done, []
        folder = tmp_path / "work" / "run"
        path = read_launches(folder)[-1].steps[-1]["path"]
        return done, [row.instruction for row in read_rows(folder / path)]

    return run


def test_seeds_of_the_hub_are_those_of_the_named_revision(hub: Any, read: Any) -> None:
    files = {"README.md": b"# A card", "a.jsonl": lines("old"), "picture.bin": b"0" * 1000}
    hub.publish("datasets/some/tasks", files, name="v1")
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("new")})
    done, found = read("seeds=some/tasks@v1")
    assert done.returncode == 0, done.stderr
    assert found == ["old 0", "old 1", "old 2"]
    assert not hub.sent("picture.bin"), "only what may hold rows is fetched"
    assert read("seeds=some/tasks")[1] == ["new 0", "new 1", "new 2"]


def test_they_are_known_by_their_content(hub: Any, read: Any) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    read("seeds=some/tasks")
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old"), "README.md": b"# A card"})
    done, _ = read("seeds=some/tasks")
    assert "second  remembered" in done.stdout


OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("how", ["closed", "offline"])
def test_a_run_goes_on_without_the_hub_and_says_so(
    hub: Any, read: Any, tmp_path: Path, how: str
) -> None:
    commit = hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    hub.publish("datasets/some/made", {"a.jsonl": lines("made")})
    work = tmp_path / "work"
    (work / "b.jsonl").write_bytes(lines("mine", 1))
    (work / "more.yaml").write_text("seeds: [some/tasks, b.jsonl]\n")
    words = ("-c", "more.yaml")
    expected = ["old 0", "old 1", "old 2", "mine 0"]
    assert read(*words)[1] == expected
    assert read("seeds=some/tasks", "--given", "first=some/made")[1][0] == "made 0"
    for step in (work / "run").glob("second-*"):  # as if it had been stopped before
        shutil.rmtree(step)
    env = OFFLINE if how == "offline" else {}
    if how == "closed":
        hub.close()
    hub.asked.clear()
    done, found = read(*words, **env)
    assert found == expected
    told = " ".join(done.stdout.split())
    assert "some/tasks: the hub cannot be reached" in told
    assert f"This run goes on with what it read before, commit {commit[:12]}." in told
    assert "first  remembered" in done.stdout
    assert read("seeds=some/tasks", "--given", "first=some/made", **env)[1][0] == "made 0"
    assert not hub.asked
    (work / "b.jsonl").write_bytes(lines("other", 1))
    done, _ = read(*words, **env)
    assert done.returncode == 2
    assert "error: some/tasks: no file or folder here, and the hub cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_moved_revision_is_told_and_not_taken(hub: Any, read: Any) -> None:
    first = hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")}, name="v1")
    assert read("seeds=some/tasks@v1")[1][0] == "old 0"
    second = hub.publish("datasets/some/tasks", {"a.jsonl": lines("new")}, name="v1")
    done, found = read("seeds=some/tasks@v1")
    assert found[0] == "old 0"
    told = " ".join(done.stdout.split())
    assert f"something newer ({second[:12]}) than this run first read ({first[:12]})" in told
    assert f"For the newer: some/tasks@{second}" in told
    assert read(f"seeds=some/tasks@{second}")[1][0] == "new 0"


def test_a_data_set_that_is_gone_is_read_as_before(hub: Any, read: Any) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    assert read("seeds=some/tasks")[1][0] == "old 0"
    del hub.repositories["datasets/some/tasks"]
    done, found = read("seeds=some/tasks")
    assert found[0] == "old 0"
    assert "some/tasks: the hub has no data set of this name" in " ".join(done.stdout.split())


def test_a_plan_remembers_nothing(hub: Any, read: Any, woolgather: Any, tmp_path: Path) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    read("seeds=some/tasks")
    hub.publish("datasets/other/tasks", {"a.jsonl": lines("other")})
    note = tmp_path / "work" / "run" / "inputs" / "hub.json"
    before = note.read_text()
    done = woolgather("plan", "./reading.py", "--dir", "run", "seeds=other/tasks")
    assert done.returncode == 0, done.stderr
    assert note.read_text() == before


def test_a_step_is_given_by_its_name_on_the_hub(hub: Any, read: Any, tmp_path: Path) -> None:
    hub.publish("datasets/some/made", {"a.jsonl": lines("newer")})
    hub.publish("datasets/some/made", {"a.jsonl": lines("made")}, name="v3")
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    done, found = read("seeds=some/tasks", "--given", "first=some/made@v3")
    assert done.returncode == 0, done.stderr
    assert found == ["made 0", "made 1", "made 2"]
    steps = {record.step: record for _, record in current_steps(tmp_path / "work" / "run")}
    assert steps["first"].execution == {"given": "some/made@v3"}


def test_several_places_in_one_setting(hub: Any, read: Any, tmp_path: Path) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("hub", 1)})
    work = tmp_path / "work"
    for name in ("a", "b"):
        (work / f"{name}.jsonl").write_bytes(lines(name, 1))
    assert read("seeds=a.jsonl,b.jsonl")[1] == ["a 0", "b 0"]
    assert read("seeds=[b.jsonl, some/tasks]")[1] == ["b 0", "hub 0"]
    (work / "more.yaml").write_text("seeds: [a.jsonl, some/tasks]\n")
    assert read("-c", "more.yaml")[1] == ["a 0", "hub 0"]
    assert read("seeds=a.jsonl", "--given", "first=a.jsonl, b.jsonl")[1] == ["a 0", "b 0"]
    (work / "a.jsonl,b.jsonl").write_bytes(lines("comma", 1))
    assert read("seeds=a.jsonl,b.jsonl")[1] == ["comma 0"]
    (work / "a.jsonl,b.jsonl").unlink()
    done, _ = read("seeds=a.jsonl,none.jsonl")
    assert done.returncode == 2
    assert "none.jsonl: no such file" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("seeds=some/none",),
            "error: some/none: no file or folder here, and the hub has no",
        ),
        (("seeds=some/tasks@nope",), "the data set has no revision 'nope'. Give a branch, a tag"),
        (
            ("seeds=some/tasks", "--given", "first=some/none"),
            "error: some/none: no file or folder here",
        ),
        (("seeds=some/card",), "error: some/card: no file or folder here, and the hub"),
        (("seeds=some/none.jsonl",), "some/none.jsonl: no such file"),
    ],
)
def test_what_is_not_there_is_one_message(
    hub: Any, read: Any, told: Any, words: tuple[str, ...], said: str
) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old")})
    hub.publish("datasets/some/card", {"README.md": b"# Nothing"})
    done, _ = read(*words)
    assert done.returncode == 2
    assert said in told(done)


def test_every_recipe_takes_them(hub: Any, woolgather: Any) -> None:
    hub.publish("datasets/some/tasks", {"a.jsonl": lines("old", 40)})
    where = ("seeds=some/tasks", "held_out=some/tasks", "prompts=some/tasks")
    done = woolgather("plan", "dromedary", "--preset", "demo", "--engine", "fake", *where)
    assert done.returncode == 0, done.stderr
    asked = [a.path for a in hub.asked if a.path.endswith("a.jsonl")]
    assert asked
