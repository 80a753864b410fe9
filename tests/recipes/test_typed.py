"""A type checker sees what a recipe may do: the mistakes below are refused, each where it is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
from woolgather import Example, Model, Rows, Scope
from woolgather.ops.curate.keep import KeepRule, keep
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.train.sft import sft
from woolgather.training.job import SftOptions


def recipe(run: Scope, base: Model, rows: Rows[Example]) -> Model:
    answers = run.step("respond", respond, rows, run.engine(base), how=Responding())
    {line}
    return run.step("train", sft, answers, start=base, config=SftOptions(), trainer=run.trainer())
"""
MISTAKES = {
    'run.step("keep", keep, answers, rulee=KeepRule())': 'Unexpected keyword argument "rulee"',
    'run.step("keep", keep, base, rule=KeepRule())': 'has incompatible type "Model"; expected',
    'x: Model = run.step("keep", keep, answers, rule=KeepRule())': "Incompatible types in assignment",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What mypy says of each file, by its name."""
    folder = tmp_path_factory.mktemp("typed")
    lines = {"right": "pass", **{f"wrong{i}": line for i, line in enumerate(MISTAKES)}}
    for name, line in lines.items():
        (folder / f"{name}.py").write_text(HEAD.format(line=line))
    config = Path(__file__).parents[2] / "pyproject.toml"
    words = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(folder)]
    files = [str(folder / f"{name}.py") for name in lines]
    done = subprocess.run([*words, *files], capture_output=True, text=True, cwd=config.parent)
    found = dict.fromkeys(lines, "")
    for text in done.stdout.splitlines():
        for name in lines:
            if f"{name}.py:" in text and ": error:" in text:
                found[name] += text + "\n"
    return found


def test_a_right_recipe_passes(said: dict[str, str]) -> None:
    assert said["right"] == ""


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_a_wrong_one_is_refused_where_it_is_wrong(said: dict[str, str], number: int) -> None:
    assert list(MISTAKES.values())[number] in said[f"wrong{number}"]
