"""Where the values of the presets come from: each has a row, each row is true, and the pages show them.

A row without a value is an option that there is not: when it comes, its row fails here until it is given
the source's value.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from woolgather.cli.pages.preset_tables import (
    SourcedValue,
    SourceTable,
    make_table,
    read_tables,
    update_page,
)
from woolgather.core.errors import ConfigError
from woolgather.recipes import config

ROOT = Path(__file__).parents[2]
TABLES = [(recipe, table) for recipe in config.RECIPES for table in read_tables(recipe)]
CELLS = [
    pytest.param(recipe, preset, row.option, cell, id=f"{recipe} {preset}: {row.option}")
    for recipe, table in TABLES
    for row in table.rows
    for preset, cell in row.cells.items()
]
FOLLOWS = [
    (recipe, preset)
    for recipe in config.RECIPES
    for preset in config.presets(recipe)
    if preset not in ("default", "demo", "small")
]
"""Presets that follow a paper, or the code of its authors."""


@cache
def built(recipe: str, preset: str) -> BaseModel:
    made: BaseModel = config.build(config.find_recipe(recipe).Config, recipe, preset=preset)
    return made


def with_value(recipe: str, preset: str, option: str, value: Any) -> BaseModel:
    made: BaseModel = config.build(
        config.find_recipe(recipe).Config, recipe, preset=preset, values={option: value}
    )
    return made


def leaves(node: Any, path: str = "") -> list[str]:
    if isinstance(node, dict):
        return [leaf for k, v in node.items() for leaf in leaves(v, f"{path}.{k}".strip("."))]
    return [path]


def test_every_preset_of_a_source_stands_in_one_table() -> None:
    shown = [(recipe, preset) for recipe, table in TABLES for preset in table.presets]
    assert sorted(shown) == sorted(FOLLOWS)
    assert ("spin", "code") in FOLLOWS
    assert ("isheep", "code") in FOLLOWS


@pytest.mark.parametrize(("recipe", "preset"), FOLLOWS)
def test_every_value_of_a_preset_has_a_row(recipe: str, preset: str) -> None:
    rows = {
        row.option
        for name, table in TABLES
        for row in table.rows
        if name == recipe and preset in row.cells
    }
    set_here = leaves(config.load_preset(recipe, preset))
    missing = [key for key in set_here if key not in rows and key.rpartition(".")[0] not in rows]
    assert not missing


@pytest.mark.parametrize(("recipe", "preset", "option", "cell"), CELLS)
def test_row_is_true(recipe: str, preset: str, option: str, cell: SourcedValue) -> None:
    if cell.is_possible:
        assert with_value(recipe, preset, option, cell.value) == built(recipe, preset)
    else:
        with pytest.raises(ConfigError, match="there is no setting"):
            with_value(recipe, preset, option, cell.says)


@pytest.mark.parametrize(("recipe", "table"), TABLES)
def test_rows_are_one_for_each_option_and_name_their_test(recipe: str, table: SourceTable) -> None:
    options = [row.option for row in table.rows]
    assert len(options) == len(set(options))
    for row in table.rows:
        assert row.cells, row.option
        assert (ROOT / "tests" / row.test).is_file(), f"{row.option}: {row.test}"
    assert any(cell.source == "paper" for row in table.rows for cell in row.cells.values()) == bool(
        table.paper
    )


def test_code_and_paper_differ_where_their_sources_do() -> None:
    def changed(recipe: str) -> set[str]:
        one, two = (built(recipe, preset).model_dump() for preset in ("paper", "code"))
        keys = leaves(one)
        assert keys == leaves(two)
        return {key for key in keys if at(one, key) != at(two, key)}

    def at(node: Any, key: str) -> Any:
        for part in key.split("."):
            node = node[part]
        return node

    assert changed("isheep") == {"iterations", "judge_model"}
    assert changed("spin") == {
        "chat_template",
        "respond.sampling.temperature",
        "dpo.epochs",
        "dpo.keep_epochs",
        "dpo.max_length",
        "dpo.max_prompt_length",
    }


WRONG = {
    "a reason": {"from": "ours", "value": 1},
    "a place": {"from": "code", "value": 1},
    "a value": {"from": "code", "where": "x.py"},
    "a reason to differ": {"from": "code", "where": "x.py", "value": 1, "says": 2},
    "nothing unknown": {"from": "code", "where": "x.py", "value": 1, "saying": 2},
}


@pytest.mark.parametrize("cell", WRONG.values(), ids=WRONG.keys())
def test_a_row_needs(cell: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourcedValue.model_validate(cell)


def test_a_value_under_no_preset_of_the_table_is_refused() -> None:
    row = {"option": "x", "about": "x", "test": "x", "papre": {"from": "code", "where": "x.py"}}
    with pytest.raises(ValueError, match="papre is no preset here"):
        make_table({"presets": ["paper"], "code": "a/b@c", "rows": [row]})


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_pages_are_made_from_the_tables(recipe: str) -> None:
    page = (ROOT / "docs" / f"{recipe}.md").read_text(encoding="utf-8")
    assert update_page(page, recipe) == page, "the page is stale: run make docs"


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="needs the lines"):
        update_page("# A page\n", "spin")
