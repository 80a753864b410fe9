"""`base=` a model of the hub: fetched once, known by its commit, and then no hub is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.storage import read_rows

pytest.importorskip("transformers")

RECIPE = '''
"""Asks a model, and that is all."""
from collections.abc import Iterator

from woolgather.core.options import Options
from woolgather.core.rows import Example


class Config(Options):
    base: str = ""
    """The model."""


def ask(engine, *, text) -> Iterator[Example]:
    yield Example(instruction=text, response=engine.model.path)


def recipe(run, cfg):
    return run.step("ask", ask, run.engine(run.model("base", cfg.base)), text="Say something.")
'''

OPEN = """
import json, sys
from woolgather.engines import open_engine
from woolgather.engines.base import EngineOptions
from woolgather.core.errors import WoolgatherError
from woolgather.models.open import open_model

try:
    model = open_model(sys.argv[1])
except WoolgatherError as error:
    sys.exit(f"error: {error}")
print(json.dumps({"path": model.path, "fingerprint": model.fingerprint}))
"""


@pytest.fixture
def opened(python: Any) -> Any:
    """(name) -> the model as `open_model` gives it, in a process of its own; or what it said."""

    def run(name: str, **env: str) -> Any:
        done = python("-c", OPEN, name, **env)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return run


@pytest.fixture
def repository(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with what repositories have beside it: other shapes of the same weights."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny_model, folder)
    (folder / "README.md").write_text("# a card\n")
    for name in ("pytorch_model.bin", "consolidated.safetensors", "original/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"the same again")
    return folder


def test_a_model_is_fetched_once_and_known_by_its_commit(
    hub: Any, opened: Any, repository: Path
) -> None:
    commit = hub.publish("models/some/tiny", repository, name="v1")
    hub.publish("models/some/tiny", {"config.json": b"{}"})
    found = opened("some/tiny@v1")
    assert Path(found["path"]).name == commit
    assert sorted(p.name for p in Path(found["path"]).iterdir()) == sorted(
        p.name
        for p in repository.iterdir()
        if p.suffix not in (".md", ".bin", "")
        if p.name != "consolidated.safetensors"
    )
    for name in ("pytorch_model.bin", "consolidated.safetensors", "original/model.safetensors"):
        assert hub.sent(name) == 0
    assert opened(f"some/tiny@{commit}")["fingerprint"] == found["fingerprint"]
    hub.asked.clear()
    hub.close()
    assert opened("some/tiny@v1") == found
    assert hub.asked == []


def test_another_commit_is_another_model(hub: Any, opened: Any, repository: Path) -> None:
    hub.publish("models/some/tiny", repository, name="v1")
    hub.publish("models/some/tiny", repository, name="refs/pr/2")
    first, second = opened("some/tiny@v1"), opened("some/tiny@refs/pr/2")
    assert first["fingerprint"] != second["fingerprint"]
    assert first["path"] != second["path"]


def test_what_another_program_fetched_of_it_is_completed(
    hub: Any, opened: Any, python: Any, repository: Path
) -> None:
    hub.publish("models/some/tiny", repository)
    only = "from huggingface_hub import hf_hub_download as f; print(f('some/tiny', 'config.json'))"
    done = python("-c", only)
    assert done.returncode == 0, done.stderr
    found = opened("some/tiny")
    assert found["path"] == str(Path(done.stdout.strip()).parent)
    assert (Path(found["path"]) / "model.safetensors").is_file()


def test_a_run_on_a_model_of_the_hub_goes_on_without_the_hub(
    hub: Any, woolgather: Any, repository: Path, tmp_path: Path
) -> None:
    commit = hub.publish("models/some/tiny", repository)
    (tmp_path / "work" / "asking.py").write_text(RECIPE)
    words = ("run", "./asking.py", "--dir", "run", "base=some/tiny@main")
    done = woolgather(*words)
    assert done.returncode == 0, done.stderr
    [row] = read_rows(next((tmp_path / "work" / "run").glob("ask-*")))
    assert Path(row.response).name == commit
    hub.close()
    done = woolgather(*words)
    assert "ask  remembered" in done.stdout


LOGIN = "`hf auth login`, or HF_TOKEN in the environment"


@pytest.mark.parametrize(
    ("name", "refused", "said"),
    [
        ("some/none", None, ["has no model of this name, or does not show it", LOGIN]),
        ("some/tiny@nope", None, ["no revision 'nope'", "some/tiny@<revision>"]),
        ("some/tiny@a/branch", None, ["no revision 'a/branch'"]),
        ("some/tiny", (401, "GatedRepo", "restricted"), ["/some/tiny)", "terms", LOGIN]),
        ("some/tiny", (403, "GatedRepo", "restricted"), ["/some/tiny)", "terms", LOGIN]),
        ("some/tiny", (403, "", "no permission"), ["refuses it (403)", LOGIN]),
        ("some/data", None, ["no config.json", "not a model"]),
    ],
)
def test_what_the_hub_does_not_give_is_said_with_the_remedy(
    hub: Any, woolgather: Any, told: Any, repository: Path, name: str, refused: Any, said: list[str]
) -> None:
    hub.publish("models/some/tiny", repository)
    hub.publish("models/some/data", {"README.md": b"nothing", "vocab.json": b"{}"})
    if refused:
        hub.refuse("models/some/tiny", *refused)
    done = woolgather("run", "isheep", f"base={name}", "--dir", "run")
    assert done.returncode == 2
    message = told(done)
    assert message.startswith(f"error: base={name}")
    for words in said:
        assert words in message


def test_without_a_network_it_is_said(hub: Any, opened: Any) -> None:
    hub.close()
    said = opened("some/tiny")
    assert "base=some/tiny: no folder here, and the hub cannot be reached" in said
    assert "Or give a local folder." in said
    assert "the hub cannot be reached" in opened("some/tiny", HF_HUB_OFFLINE="1")
