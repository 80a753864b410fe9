"""docs/<recipe>.md says what the code does: every option, its default, the paper's value, its test.

A page has one table with the columns `in the paper | option | default | paper | test`. Values are
written as YAML; `null` also stands for what a switched-off group has. A row without a default is an
example of settings, and is not checked.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from woolgather.recipes import config

ROOT = Path(__file__).resolve().parents[2]
RECIPES = [name for name in config.RECIPES if (ROOT / "docs" / f"{name}.md").is_file()]
HEAD = "| in the paper"


def tables(recipe: str) -> dict[str, list[list[str]]]:
    """Rows by preset: what it is in the paper, option, default, the preset's value, test."""
    lines = (ROOT / "docs" / f"{recipe}.md").read_text(encoding="utf-8").splitlines()
    found: dict[str, list[list[str]]] = {}
    for start, line in enumerate(lines):
        if line.startswith(HEAD):
            rows = itertools.takewhile(lambda row: row.startswith("| "), lines[start + 2 :])
            found[cells(line)[3]] = [cells(row) for row in rows]
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = [
    (recipe, preset, row)
    for recipe in RECIPES
    for preset, rows in tables(recipe).items()
    for row in rows
    if row[2]
]
PRESETS = {
    (recipe, preset): config.build(
        config.find_recipe(recipe).Config, recipe, preset=preset
    ).model_dump(mode="json")
    for recipe in RECIPES
    for preset in ("default", *tables(recipe))
}


def value(recipe: str, preset: str, key: str) -> Any:
    found: Any = PRESETS[recipe, preset]
    for part in key.split("."):
        if found is None:
            return None
        found = found[part]
    return found


def same(written: str, real: Any) -> bool:
    if isinstance(real, list) and len(real) > 1 and all(isinstance(r, str) for r in real):
        return written in ("default", "paper") or yaml.safe_load(written) == real
    return bool(numbers(yaml.safe_load(written), real) == real)


def numbers(read: Any, like: Any) -> Any:
    """YAML 1.1 takes 5e-07 for text."""
    if isinstance(read, list) and isinstance(like, list) and len(read) == len(like):
        return [numbers(r, x) for r, x in zip(read, like, strict=True)]
    return float(read) if isinstance(read, str) and isinstance(like, int | float) else read


def test_every_preset_of_a_paper_has_its_table() -> None:
    assert set(RECIPES) == set(config.RECIPES)
    for recipe in RECIPES:
        papers = {name for name in config.presets(recipe) if name.startswith("paper")}
        assert set(tables(recipe)) == papers


@pytest.mark.parametrize(
    ("recipe", "preset", "row"), ROWS, ids=[f"{r} {p}: {row[1]}" for r, p, row in ROWS]
)
def test_row_is_true(recipe: str, preset: str, row: list[str]) -> None:
    _, option, default, paper, test = row
    key = option.strip("`")
    for name, written in (("default", default), (preset, paper)):
        real = value(recipe, name, key)
        assert same(written, real), f"{key}: {name} is {real!r}"
    assert (ROOT / "tests" / test).is_file(), test


def test_rule_lists_are_those_named() -> None:
    from woolgather.ops.curate.instruction_rules import InstructionRules
    from woolgather.ops.curate.response_rules import ResponseRules

    for preset in ("default", "paper"):
        assert value("isheep", preset, "rules.use") == list(ResponseRules(use=(preset,)).use)
        named = list(InstructionRules(use=(preset,)).use)
        assert value("isheep", preset, "synthesis.rules.use") == named


@pytest.mark.parametrize(("recipe", "preset"), [(r, p) for r in RECIPES for p in tables(r)])
def test_every_option_of_a_paper_preset_is_in_its_table(recipe: str, preset: str) -> None:
    def leaves(node: Any, path: str = "") -> list[str]:
        if isinstance(node, dict):
            return [leaf for k, v in node.items() for leaf in leaves(v, f"{path}.{k}".strip("."))]
        return [path]

    documented = {re.sub(r"`", "", row[1]) for row in tables(recipe)[preset]}
    groups = {key.rpartition(".")[0] for key in documented}
    assert set(leaves(config.load_preset(recipe, preset))) <= documented | groups
