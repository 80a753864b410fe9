"""The examples run, on the fake engine, as a user would start them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from woolgather.cli import app
from woolgather.core.errors import InputError
from woolgather.core.rows import Example, set_aside
from woolgather.core.storage import write_rows
from woolgather.runs.record import current_steps, read_launches

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ["measure.probes=55", "controls=false"]
RATED = [*SMALL, "judge.pairs=24", "judge.on_unfit=keep_all", "select_by=last"]


def launch(name: str, folder: Path, *settings: str) -> list[str]:
    """States of the steps."""
    words = ["run", str(EXAMPLES / name), "--engine", "fake", "--dir", str(folder), *settings]
    result = CliRunner().invoke(app(), words)
    assert result.exit_code == 0, (result.output, result.exception)
    return [str(e["state"]) for e in read_launches(folder)[-1].steps]


def test_a_recipe_of_ones_own_runs_and_explains_a_change(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert launch("short_answers.py", folder, "words=12") == ["ran"] * 4
    assert launch("short_answers.py", folder, "words=12") == ["remembered"] * 4
    assert launch("short_answers.py", folder, "words=9") == ["remembered", "ran", "ran", "ran"]
    found = {record.step: record for _, record in current_steps(folder)}
    assert 0 < found["short"].result["count"] < found["respond"].result["count"]


def test_an_op_of_ones_own_sets_aside_with_a_reason_and_says_its_size() -> None:
    module = load_example("short_answers")
    rows = [Example(instruction="x", response=text) for text in ("two words", "now three words")]
    assert [row.set_aside for row in module.keep_short(rows, words=2)] == [None, "too_wordy"]
    assert module.keep_short.expects(rows, words=2).rows == 2


def test_an_engine_of_ones_own_answers_an_op() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "own_engine.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "NAME A BIRD | set aside: None",
        "NAME A TREE THAT | set aside: unfinished",
    ]


def load_example(name: str) -> ModuleType:
    spec = util.spec_from_file_location(f"{name}_alone", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def verified_rows(folder: Path) -> Path:
    """A step's folder with two tasks that are to be kept and one that is set aside."""
    told = [[{"check": "commas", "value": 1}], [{"check": "commas", "value": 0}], []]
    rows = [
        Example(instruction=f"Say {n}.", response="x", meta={"constraints": each})
        for n, each in enumerate(told)
    ]
    rows[2] = set_aside(rows[2], "no_constraint")
    assert len(list(write_rows(rows, folder, "example"))) == 3
    return folder


def test_checks_reward_what_meets_them(tmp_path: Path) -> None:
    grpo = load_example("grpo_reward")
    told = json.dumps([{"check": "commas", "value": 1}, {"check": "digits", "value": "no"}])
    answers = ["a, b", [{"role": "assistant", "content": "a, 2"}], "2", " "]
    assert grpo.make_reward()(answers, [told] * 4) == [1.0, 0.5, 0.0, 0.0]
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from woolgather.ops.curate.constraints import check\n"
        '@check("Be loud.")\ndef loud(answer): return answer.isupper()\n'
    )
    told = json.dumps([{"check": "loud", "value": None}])
    assert grpo.make_reward(str(mine))(["HO", "ho"], [told] * 2) == [1.0, 0.0]
    with pytest.raises(InputError, match="the check loud, which is unknown"):
        grpo.make_reward()(["HO"], [told])


def test_grpo_trains_a_tiny_model_on_verified_rows(tmp_path: Path, tiny_model: Path) -> None:
    rows, out = verified_rows(tmp_path / "rows"), tmp_path / "out"
    load_example("grpo_reward").main(
        str(tiny_model), str(rows), str(out), max_steps=1, per_device_train_batch_size=4,
        num_generations=4, max_completion_length=8, use_cpu=True, bf16=False, report_to="none",
        save_strategy="no",
    )  # fmt: skip
    assert (out / "model.safetensors").is_file()


def test_an_example_is_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path


def test_compose_chains_three_methods_in_one_run(tmp_path: Path) -> None:
    settings = [f"humback.{s}" for s in RATED] + [f"isheep.{s}" for s in RATED]
    settings += [f"spin.{s}" for s in (*SMALL, "select_by=last")]
    settings += ["isheep.per_iteration=12", "isheep.iterations=1", "spin.iterations=1",
                 "humback.iterations=1"]  # fmt: skip
    folder = tmp_path / "run"
    launch("compose.py", folder, *settings)
    found = {r.step: r for _, r in current_steps(folder)}
    for before, after in (("humback", "spin"), ("spin", "isheep")):
        handed_over = found[f"{before}/result"].fingerprint
        asked = found[f"{after}/measure"].payload["args"]["engine"]["engine"]
        assert asked == handed_over
    told = {i["step"] for i in found["result"].inputs.values()}
    assert told == {"isheep/result"}
    assert (folder / "result" / "README.md").is_file()
    assert set(launch("compose.py", folder, *settings)) == {"remembered"}
