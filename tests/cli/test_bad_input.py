"""What users get wrong: one sentence that names the place and the remedy, the exit code, no traceback.

Each case goes through the entry point, as a shell sees it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from woolgather.cli import app

Said = Callable[..., str]
RUN = ("run", "isheep", "--preset", "demo", "--engine", "fake", "--no-report")
GOOD = '{"instruction": "Say yes.", "input": "", "response": "Yes."}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def seeds(tmp_path: Path, text: str, name: str = "seeds.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# -- seeds -----------------------------------------------------------------------------------------

MALFORMED = [
    (GOOD + '{"instruction": "x", "response": }\n', "line 2: not valid JSON: .*column 3"),
    (GOOD + '{"instruction": 5, "response": "x"}\n', "line 2: field 'instruction' is the number 5"),
    (GOOD + '{"response": "x"}\n', "line 2: field 'instruction' is missing"),
    (GOOD + '{"instruction": "x", "response": ""}\n', "line 2: .*field 'response' is empty"),
    (GOOD + '{"instruction": "x"}\n', "line 2: .*field 'response' is missing"),
    (GOOD + '["x"]\n', "line 2: expected a JSON object, found a list"),
    (
        '{"question": "x", "answer": "y"}\n',
        r"line 1: the fields \(answer, question\) are those of no",
    ),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_seed_file(
    said: Said, tmp_path: Path, folder: Path, text: str, message: str
) -> None:
    path = seeds(tmp_path, text)
    found = said(*RUN, f"seeds={path}", "--dir", folder)
    assert re.search(f"{re.escape(str(path))}, {message}", found), found
    assert '"instruction": "..."' in found  # what a good one looks like
    assert not folder.exists()


def test_seeds_that_are_not_there(said: Said, tmp_path: Path, folder: Path) -> None:
    seeds(tmp_path, GOOD, "mine.jsonl")
    found = said(*RUN, f"seeds={tmp_path / 'mien.jsonl'}", "--dir", folder)
    assert found.startswith(f"{tmp_path / 'mien.jsonl'}: no such file.")
    assert f"Did you mean {tmp_path / 'mine.jsonl'}?" in found


@pytest.mark.parametrize(("text", "name"), [("", "e.jsonl"), ("\n\n", "e.jsonl"), ("[]", "e.json")])
def test_no_seeds_in_the_file(
    said: Said, tmp_path: Path, folder: Path, text: str, name: str
) -> None:
    path = seeds(tmp_path, text, name)
    found = said(*RUN, f"seeds={path}", "--dir", folder)
    assert found.startswith(f"{path} holds no rows.")


def test_a_folder_without_seeds(said: Said, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = said(*RUN, f"seeds={tmp_path / 'empty'}", "--dir", folder)
    assert "no file that ends in .jsonl" in found


def test_held_out_tasks_are_read_with_the_same_care(
    said: Said, tmp_path: Path, folder: Path
) -> None:
    path = seeds(tmp_path, '{"instruction": ["x"], "response": "y"}\n', "held.jsonl")
    found = said(*RUN, f"held_out={path}", "--dir", folder)
    assert "held.jsonl, line 1: field 'instruction' is a list, not text." in found


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("iteration=3", "there is no setting 'iteration'. Did you mean iterations?"),
        ("sft.learning_rat=1", "Did you mean sft.learning_rate?"),
        ("learning_rate=1e-4", "Did you mean sft.learning_rate?"),
        ("foo=1", "there is no setting 'foo'. Did you mean judge.floor?"),
        ("xyzzyx=1", "there is no setting 'xyzzyx'. `woolgather recipes NAME` lists those"),
        ("sft.args.adam_beta=0.9", "Did you mean 'adam_beta"),
        ("iterations=0", "iterations: Input should be greater than or equal to 1 (given: 0)."),
        ("iterations=many", "iterations: Input should be a valid integer"),
        ("sft.learning_rate=-1", "sft.learning_rate: Input should be greater than 0 (given: -1)."),
        ("keep.by=best", "keep.by: Input should be 'auto', "),
        ("sft.validation=1", "sft.validation: Input should be less than 1 (given: 1)."),
        ("iterations", "'iterations' is not a setting. Write key=value"),
        ("seeds=caf\udce9.jsonl", "seeds: 'caf\\udce9.jsonl' holds bytes that are not UTF-8"),
        ('judge.candidates=["a\\ud800"]', "judge.candidates: 'a\\ud800' holds bytes that are not"),
    ],
)
def test_a_setting_that_cannot_be(said: Said, folder: Path, setting: str, message: str) -> None:
    assert message in said(*RUN, setting, "--dir", folder)
    assert message in said("plan", *RUN[1:-1], setting, "--dir", folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations: 2\nsft:\n  learning_rte: 1\n", "Did you mean sft.learning_rate?"),
        ("iterations: [2\n", "settings.yaml, line 2: not YAML"),
        ("- iterations\n", "settings are `key: value` lines"),
    ],
)
def test_a_settings_file_that_cannot_be(
    said: Said, tmp_path: Path, folder: Path, text: str, message: str
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert message in said(*RUN, "-c", path, "--dir", folder)
    assert "no such file" in said(*RUN, "-c", tmp_path / "none.yaml", "--dir", folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "isheap"), "there is no recipe 'isheap'. Did you mean isheep?"),
        (
            ("run", "isheep", "--preset", "papre"),
            "isheep has no preset 'papre'. Did you mean paper?",
        ),
        (
            ("run", "isheep", "--engine", "vlm"),
            "--engine vlm: choose transformers, vllm, openai or fake.",
        ),
        (("run", "none.py"), "recipe none.py: no such file."),
        ((*RUN, "--given", "iter0/keep"), "--given iter0/keep: write STEP=PATH"),
        (
            (*RUN, "--given", "keep=x"),
            "--given keep: the run has no such step. Did you mean iter0/",
        ),
        ((*RUN, "--redo", "iter0/kep"), "--redo iter0/kep: the run has no such step. Did you mean"),
        (
            (*RUN, "--redo", "nono"),
            "--redo nono: the run has no such step. `woolgather plan` lists",
        ),
        ((*RUN, "--max-hours", "0"), "--max-hours 0: give a number above 0."),
    ],
)
def test_words_that_cannot_be(said: Said, words: tuple[str, ...], message: str) -> None:
    assert message in said(*words)


# -- models ----------------------------------------------------------------------------------------

REAL = ("run", "isheep", "--preset", "demo", "--no-report")


def test_no_model_is_named(said: Said, folder: Path) -> None:
    found = said("run", "isheep", "--dir", folder)
    assert found == "no base model. Name one: base=<folder or hub name>, or base=embedded."


@pytest.mark.parametrize("name", ["./nothing/here", "/nothing", "a/b/c"])
def test_a_model_that_is_not_there(said: Said, folder: Path, name: str) -> None:
    found = said(*REAL, f"base={name}", "--dir", folder)
    assert found == f"base={name}: no such folder. Give a folder with config.json in it."


def test_a_model_that_the_hub_does_not_give(
    said: Said, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    found = said(*REAL, "base=nobody/nothing", "--dir", folder)
    assert "base=nobody/nothing: no folder here, and the hub " in found
    assert "Check the network. Or give a local folder." in found


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def test_a_model_without_a_tokenizer(said: Said, model: Path, folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).unlink()
    found = said(*REAL, f"base={model}", "--dir", folder)
    assert found.startswith(f"base={model}: the model has no tokenizer (tokenizer.json).")
    assert "tokenizer.save_pretrained" in found


def test_a_model_whose_tokenizer_is_broken(said: Said, model: Path, folder: Path) -> None:
    """Noticed by the process that asks the model, and said by this one."""
    (model / "tokenizer.json").write_text("{")
    found = said(*REAL, f"base={model}", "base_format=chat", "--dir", folder)
    assert f"{model}: no tokenizer could be loaded" in found
    assert "needs tokenizer.json and tokenizer_config.json" in found


def test_a_folder_that_is_no_model(said: Said, model: Path, folder: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "no *.safetensors weights there" in said(*REAL, f"base={model}", "--dir", folder)
    (model / "config.json").unlink()
    assert "no config.json there" in said(*REAL, f"base={model}", "--dir", folder)


# -- templates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        (
            "synthesis.template={}",
            "{{items}} {{demos}} {{nxt}}",
            "field {{nxt}} is not given here. Use only: demos, items, next.",
        ),
        ("synthesis.template={}", "{{items}} {{demos}}", "it must have the field {{next}}."),
        ("synthesis.template={}", "Write tasks.", "it must have the field {{demos}}."),
        (
            "judge.rubric.templates={{quality: {}}}",
            "Rate {{question}}.\nScore:",
            "a rubric must show the response. Add the field {{response}}.",
        ),
        (
            "judge.rubric.templates={{quality: {}}}",
            "Rate {{answer}}.\nScore:",
            "field {{answer}} is not given here. Use only: ",
        ),
    ],
)
def test_a_template_with_other_fields(
    said: Said, tmp_path: Path, folder: Path, setting: str, text: str, message: str
) -> None:
    path = tmp_path / "mine.md"
    path.write_text(f"<!-- Ours. -->\n{text}\n")
    found = said(*RUN, setting.format(path), "--dir", folder)
    assert found.startswith(f"template {path}: ")
    assert message in found


def test_a_template_that_is_not_there(said: Said, tmp_path: Path, folder: Path) -> None:
    found = said(*RUN, f"synthesis.template={tmp_path / 'no.md'}", "--dir", folder)
    assert "no such file" in found
    found = said(*RUN, "synthesis.template=synthesise", "--dir", folder)
    assert "template 'synthesise' is not one of ours" in found
    found = said(*RUN, "judge.rubric.templates={taste: x.md}", "--dir", folder)
    assert "rubric template 'taste': style 'full' has no such rubric" in found


# -- run directories -------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe of a user's own, of one step."""
    path = tmp_path / "small.py"
    path.write_text(
        "from pydantic import BaseModel\n"
        "from woolgather.core.artifacts import Choice\n"
        "def choose() -> Choice:\n    return Choice(1)\n"
        "class Config(BaseModel):\n    base: str = ''\n"
        "def recipe(run, cfg):\n    return run.step('choose', choose)\n"
    )
    return path


@pytest.fixture
def finished(small: Path, folder: Path) -> Path:
    words = ["run", str(small), "--engine", "fake", "--no-report", "--dir", str(folder)]
    result = CliRunner().invoke(app(), words)
    assert result.exit_code == 0, result.output
    return folder


def test_the_run_of_another_recipe(said: Said, finished: Path) -> None:
    found = said(*RUN, "--dir", finished)
    assert found == (
        f"{finished} is a run of 'small', not of 'isheep'. Give another directory with --dir."
    )


def test_a_run_of_a_newer_format(said: Said, small: Path, finished: Path) -> None:
    head = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**head, "format": 99}))
    message = "run.json has format 99, and this woolgather reads up to 1: install the version"
    assert message in said("run", small, "--engine", "fake", "--dir", finished)
    assert message in said("status", finished)


def test_a_record_of_a_newer_format(said: Said, small: Path, finished: Path) -> None:
    [path] = finished.glob("choose-*/record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    found = said("run", small, "--engine", "fake", "--no-report", "--dir", finished)
    assert "record.json has format 99" in found


def test_a_broken_record(said: Said, small: Path, finished: Path) -> None:
    [path] = finished.glob("choose-*/record.json")
    path.write_text("{")
    found = said("run", small, "--engine", "fake", "--no-report", "--dir", finished)
    assert f"{path} is broken" in found
    assert "delete its directory" in found


OWNER = """
import sys
from pathlib import Path
from woolgather.runs.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_on_the_same_run(said: Said, small: Path, finished: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(finished)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "in\n"
        found = said("run", small, "--engine", "fake", "--no-report", "--dir", finished)
    finally:
        owner.communicate()
    place = re.escape(str(finished))
    since = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.fullmatch(
        rf"{place} is in use by process {owner.pid} on \S+ since {since}\. Wait for it, stop it, or "
        "give another directory with --dir.",
        found,
    ), found


def test_a_directory_that_is_no_run(said: Said, tmp_path: Path) -> None:
    assert "is not a run directory: it has no run.json" in said("status", tmp_path)


# -- the work --------------------------------------------------------------------------------------


def test_work_that_fails_ends_with_1(said: Said, tmp_path: Path, folder: Path) -> None:
    """Three seeds and no others: too few rows to train on."""
    lines = [{"instruction": f"Say {w}.", "response": f"It is {w}."} for w in ("a", "b", "c")]
    path = seeds(tmp_path, "".join(json.dumps(line) + "\n" for line in lines))
    more = ("keep.by=threshold", "keep.above=10", "judge.floor=0", "judge.assessor=rubric")
    found = said(*RUN, f"seeds={path}", "per_iteration=6", *more, "--dir", folder, code=1)
    assert "only " in found
    assert "rows to train on" in found


def test_python_m_says_the_same_as_the_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "woolgather", "status", "/nowhere"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nowhere is not a run directory")
