"""`push` against the hub on loopback: what is asked, what goes out, and that nothing goes twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard

TOKEN = "hf_loopback"
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def run(fake_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fake_run, tmp_path / "runs" / "sheep", symlinks=True)


@pytest.fixture
def push(woolgather: Run, run: Path) -> Run:
    """(words) -> what came of `push RUN words`, as the hub's owner unless told otherwise."""
    return partial(woolgather, "push", str(run), HF_TOKEN=TOKEN)


def commits(hub: Any) -> dict[str, int]:
    """Commits of each repository after the empty one that creates it."""
    return {name: len(kept.commits) - 1 for name, kept in hub.repositories.items()}


def uploads(hub: Any) -> int:
    return sum(asked.method == "PUT" for asked in hub.asked)


def test_it_goes_out_once(hub: Any, push: Run, run: Path) -> None:
    words = ("--models", "iter0,result", "--with-data", "--yes")
    first = push(*words)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("sent: ") == 3
    once = {"models/ann/sheep": 1, "models/ann/sheep-iter0": 1, "datasets/ann/sheep": 1}
    assert commits(hub) == once
    sent = uploads(hub)
    assert sent > 10

    second = push(*words)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("nothing new: ") == 3
    assert second.stderr == ""
    assert commits(hub) == once
    assert uploads(hub) == sent

    files = hub.repositories["models/ann/sheep-iter0"].files
    assert set(files) == {"README.md", "lineage.json", "fake.json"}
    assert ModelCard(files["README.md"].decode()).data.datasets == ["ann/sheep"]
    rows = dict(hub.repositories["datasets/ann/sheep"].files)
    assert DatasetCard(rows["README.md"].decode()).data.pretty_name == "sheep"

    # What changes goes out alone, and what is new beside it.
    launch = next((run / "launches").glob("*.json"))
    launch.write_text(launch.read_text().replace('"iterations": 2', '"iterations": 4'))
    third = push("--models", "iter1,result", "--with-data", "--yes")
    assert third.stdout.count("sent: ") == 3, third.stderr
    assert commits(hub) == {
        "models/ann/sheep": 2,
        "models/ann/sheep-iter0": 1,
        "models/ann/sheep-iter1": 1,
        "datasets/ann/sheep": 2,
    }
    assert uploads(hub) == sent  # no Parquet
    after = hub.repositories["datasets/ann/sheep"].files
    assert [name for name in after if after[name] != rows[name]] == ["README.md"]


def test_nothing_goes_out_unasked(hub: Any, push: Run) -> None:
    done = push()  # stdin has no answer
    assert done.returncode == 1
    assert "Send this to the hub?" in done.stdout
    assert hub.repositories == {}


def test_a_dry_run_asks_nobody(hub: Any, push: Run, run: Path) -> None:
    done = push("--dry-run", "--with-data", HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    assert "nothing was sent" in done.stdout
    assert hub.asked == []
    assert (run / "release" / "data" / "README.md").is_file()
    assert (run / "release" / "models" / "result" / "README.md").is_file()


def test_private_stays_private(hub: Any, push: Run, told: Any) -> None:
    assert push("--private", "--yes", "--to", "ann/hidden").returncode == 0
    assert hub.repositories["models/ann/hidden"].private
    assert push("--yes", "--to", "ann/open").returncode == 0
    assert not hub.repositories["models/ann/open"].private
    assert "ann/open is public already" in told(push("--private", "--yes", "--to", "ann/open"))


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        ((), {"HF_TOKEN": ""}, "no token: the hub must know who sends. Say who you are"),
        ((), {"HF_TOKEN": "hf_other"}, "the hub does not know this token"),
        ((), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub: the hub cannot be reached"),
        (("--to", "bob/sheep"), {}, "the hub does not let this token write there"),
    ],
)
def test_one_sentence_each(
    push: Run, told: Any, words: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    done = push(*words, "--yes", **env)
    assert said in told(done)
    assert done.returncode == 2
