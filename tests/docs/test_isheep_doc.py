"""docs/isheep.md says what the code does: every option, its default, the paper's value, its test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from woolgather import config
from woolgather.recipes import isheep

ROOT = Path(__file__).resolve().parents[2]
TABLE = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "isheep.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| in the paper")
]
ROWS = [row for row in TABLE if row[2]]
PRESETS = {
    name: config.build(isheep.Config, "isheep", preset=name).model_dump(mode="json")
    for name in ("default", "paper")
}


def value(preset: str, key: str) -> Any:
    found: Any = PRESETS[preset]
    for part in key.split("."):
        found = found[part]
    return found


def same(written: str, real: Any) -> bool:
    read = yaml.safe_load(written)
    if isinstance(real, list) and key_is_rule_list(real):
        return written in ("default", "paper")
    if isinstance(read, str) and not isinstance(real, str):
        read = float(read)
    return bool(read == real)


def key_is_rule_list(real: list[Any]) -> bool:
    return len(real) > 1 and all(isinstance(r, str) for r in real)


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_row_is_true(row: list[str]) -> None:
    _, option, default, paper, test = row
    key = option.strip("`")
    assert same(default, value("default", key)), f"{key}: default is {value('default', key)!r}"
    assert same(paper, value("paper", key)), f"{key}: paper is {value('paper', key)!r}"
    assert (ROOT / "tests" / test).is_file(), test


def test_rule_lists_are_those_named() -> None:
    from woolgather.ops.instruction_rules import InstructionRules
    from woolgather.ops.rules import ResponseRules

    for preset in ("default", "paper"):
        assert value(preset, "rules.use") == list(ResponseRules(use=(preset,)).use)
        assert value(preset, "synthesis.rules.use") == list(InstructionRules(use=(preset,)).use)


def test_every_option_of_the_paper_preset_is_in_the_table() -> None:
    text = (ROOT / "src/woolgather/presets/isheep/paper.yaml").read_text(encoding="utf-8")

    def leaves(node: Any, path: str = "") -> list[str]:
        if isinstance(node, dict):
            return [leaf for k, v in node.items() for leaf in leaves(v, f"{path}.{k}".strip("."))]
        return [path]

    documented = {re.sub(r"`", "", row[1]) for row in TABLE}
    assert set(leaves(yaml.safe_load(text))) <= documented
