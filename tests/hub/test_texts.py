"""`texts=` a data set of the hub: streamed, known by its commit, and refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.storage import read_rows
from woolgather.runs.record import read_launches

pytest.importorskip("datasets")

RECIPE = '''
"""Reads texts, and that is all."""
from woolgather.ops.curate.texts import TextOptions, prepare_texts
from woolgather.core.options import Options
from woolgather.runs.run import Run


class Config(Options):
    texts: str = ""
    """Documents."""
    text: TextOptions = TextOptions()
    """How they are read."""


def recipe(run, cfg):
    where = {"column": cfg.text.column, "split": cfg.text.split, "subset": cfg.text.subset}
    source = run.texts(cfg.texts, **where)
    return run.step("texts", prepare_texts, source, options=cfg.text)
'''


WORDS = [
    "meadow",
    "river",
    "cloud",
    "stone",
    "garden",
    "winter",
    "lamp",
    "bridge",
    "window",
    "orchard",
]
MEGABYTE = 1 << 20


def documents(name: str, count: int = 8, filling: int = 0) -> list[dict[str, str]]:
    """Rows with a text of a page in each of two columns, and as much in a third as is asked for."""
    said = " ".join(WORDS[i * i % 10] for i in range(100))
    return [
        {"text": f"{name} {i}: {said}.", "body": f"other {i}: {said}.", "more": "x" * filling}
        for i in range(count)
    ]


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


Read = Callable[..., tuple[Any, list[str]]]


@pytest.fixture
def read(woolgather: Any, tmp_path: Path) -> Read:
    """(settings) -> what came of a run of the recipe above, and the beginnings of its texts."""
    (tmp_path / "work" / "reading.py").write_text(RECIPE)
    options = ("text.limit=5", "text.rules=[none]", "text.near_duplicate=null")

    def run(*settings: str, **env: str) -> tuple[Any, list[str]]:
        folder = tmp_path / "work" / "run"
        done = woolgather("run", "./reading.py", "--dir", "run", *options, *settings, **env)
        if done.returncode:
            return done, []
        path = read_launches(folder)[-1].steps[-1]["path"]
        return done, [row.response.partition(":")[0] for row in read_rows(folder / path)]

    return run


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_only_what_is_needed_is_read_and_of_the_named_revision(
    hub: Any, read: Read, parquet: Any, kind: str
) -> None:
    def table(rows: list[dict[str, str]]) -> bytes:
        return lines(rows) if kind == "jsonl" else parquet(rows, group=10)

    first, second = f"data/train-0.{kind}", f"data/train-1.{kind}"
    large = table(documents("old", 800, filling=MEGABYTE // 10))
    card = b"---\nlicense: mit\n---\n"
    files = {"README.md": card, first: large, second: table(documents("more"))}
    commit = hub.publish("datasets/some/corpus", files, name="v1")
    hub.publish("datasets/some/corpus", {first: table(documents("new"))})
    done, texts = read("texts=some/corpus@v1")
    assert done.returncode == 0, done.stderr
    assert texts == [f"old {i}" for i in range(5)]
    # Twice the beginning: it is looked at before anything is made with it.
    assert 0 < hub.sent(first) < 2 * len(large) * 0.75
    assert hub.sent(second) == 0
    fetched = [a.path for a in hub.asked if "/resolve/" in a.path]
    assert fetched
    assert all(f"/resolve/{commit}/" in path for path in fetched)


def test_a_data_set_is_known_by_its_commit(hub: Any, read: Read) -> None:
    commit = hub.publish("datasets/some/lines", {"a.jsonl": lines(documents("old"))})
    assert read("texts=some/lines")[1] == [f"old {i}" for i in range(5)]
    hub.asked.clear()
    done, _ = read("texts=some/lines")
    assert "texts  remembered" in done.stdout
    assert hub.sent("a.jsonl") == 0
    newer = hub.publish("datasets/some/lines", {"a.jsonl": lines(documents("new"))})
    done, texts = read("texts=some/lines")
    assert f"some/lines: the hub has something newer ({newer[:12]}) than this run" in said(done)
    assert "texts  remembered" in done.stdout
    assert texts[0] == "old 0"
    done, texts = read(f"texts=some/lines@{newer}")
    assert "remembered" not in done.stdout
    assert texts == [f"new {i}" for i in range(5)]
    hub.close()
    done, texts = read(f"texts=some/lines@{commit}")  # a commit says all, so nobody is asked
    assert "texts  remembered" in done.stdout
    assert texts[0] == "old 0"
    done, texts = read("texts=some/lines")
    assert "some/lines: the hub cannot be reached" in said(done)
    assert f"This run goes on with what it read before, commit {commit[:12]}" in said(done)
    assert texts[0] == "old 0"
    done, _ = read("texts=some/other")
    assert done.returncode == 2
    assert "the hub cannot be reached" in done.stderr


def said(done: Any) -> str:
    """All that a command wrote, as one line."""
    return " ".join((done.stdout + done.stderr).split())


def test_the_text_may_be_in_another_column(hub: Any, read: Read, parquet: Any) -> None:
    hub.publish("datasets/some/tables", {"data/train.parquet": parquet(documents("old"))})
    assert read("texts=some/tables", "text.column=body")[1] == [f"other {i}" for i in range(5)]
    done, _ = read("texts=some/tables", "text.column=bdy")
    assert done.returncode == 2
    assert "some/tables, row 1: no column 'bdy' (there are: text, body, more)" in done.stderr
    assert "text.column=<name>" in done.stderr


def test_a_split_and_a_subset_by_name(hub: Any, read: Read) -> None:
    card = """---
configs:
- config_name: en
  data_files: [{split: train, path: en/a.jsonl}, {split: test, path: en/b.jsonl}]
- config_name: de
  data_files: [{split: train, path: de/a.jsonl}]
---
"""
    files = {f"{name}.jsonl": lines(documents(name)) for name in ("en/a", "en/b", "de/a")}
    hub.publish("datasets/some/many", {"README.md": card.encode(), **files})
    where = ("texts=some/many", "text.subset=en")
    assert read(*where, "text.split=test")[1][0] == "en/b 0"
    assert hub.sent("de/a.jsonl") == 0
    done, _ = read("texts=some/many")
    assert "Config name is missing" in done.stderr
    assert "Check text.subset (none) and text.split (train)" in done.stderr
    done, _ = read(*where, "text.split=dev")
    assert "text.split (dev)" in done.stderr


def test_a_fault_shows_before_a_model_is_trained(hub: Any, woolgather: Any) -> None:
    hub.publish("datasets/some/lines", {"a.jsonl": lines(documents("old"))})
    words = ("run", "humback", "--engine", "fake", "base=fake", "texts=some/lines")
    done = woolgather(*words, "text.column=bdy")
    assert done.returncode == 2
    assert "no column 'bdy'" in done.stderr
    assert "train" not in done.stdout


LOGIN = "`hf auth login`, or HF_TOKEN in the environment"
GATED = "Access to dataset some/lines is restricted."


@pytest.mark.parametrize(
    ("name", "refused", "token", "said"),
    [
        ("some/none", None, "", ["has no data set of this name, or does not show it", LOGIN]),
        ("some/none", None, "hf_x", ["has no data set of this name, or does not show it", LOGIN]),
        ("some/lines@nope", None, "", ["no revision 'nope'", "some/lines@<revision>"]),
        ("some/lines@" + 40 * "0", None, "", ["no revision '000", "some/lines@<revision>"]),
        ("some/lines", (401, "GatedRepo", GATED), "", ["/datasets/some/lines)", "terms", LOGIN]),
        ("some/lines", (403, "GatedRepo", GATED), "hf_x", ["/datasets/some/lines)", "terms"]),
        ("some/lines", (403, "", "no permission"), "hf_x", ["refuses it (403)", LOGIN]),
        ("some/lines", (500, "", "out of order"), "", ["HfHubHTTPError", "500"]),
    ],
)
def test_what_the_hub_does_not_give_is_said_with_the_remedy(
    hub: Any, read: Read, told: Any, name: str, refused: Any, token: str, said: list[str]
) -> None:
    hub.publish("datasets/some/lines", {"a.jsonl": lines(documents("old"))})
    if refused:
        hub.refuse("datasets/some/lines", *refused)
    done, _ = read(f"texts={name}", **({"HF_TOKEN": token} if token else {}))
    assert done.returncode == 2
    message = told(done)
    assert message.startswith(f"error: texts={name.partition('@')[0]}")
    for words in said:
        assert words in message
