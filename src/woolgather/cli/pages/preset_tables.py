"""The tables of the recipes' pages: what each preset holds, and where that comes from.

    python -m woolgather.cli.pages.preset_tables

The one idea: sources are data. `presets/<recipe>/sources.yaml` names one for each value of the presets
that follow a paper or its authors' code; the tables in docs/<recipe>.md are made from it, between two
marks, and tests hold presets, data and pages together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.recipes import config

DOCS = Path(__file__).parents[4] / "docs"
"""The pages, in a checkout of the repository."""
_BLOCK = "<!-- presets: {} -->"
_END = "<!-- end of presets -->"


class SourcedValue(BaseModel):
    """One value of a preset, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["paper", "code", "ours"] = Field(alias="from")
    where: str = ""
    """Section of the paper, or file of the code."""
    value: JsonValue = None
    """What the preset holds; not given where there is no such option yet."""
    says: JsonValue = None
    """What the source has, where the preset differs."""
    ours_because: str = ""
    """Why the preset differs, or why the value is ours."""
    note: str = ""

    @property
    def is_possible(self) -> bool:
        """Whether there is an option for it."""
        return "value" in self.model_fields_set

    @model_validator(mode="after")
    def _check(self) -> SourcedValue:
        differs = self.says is not None
        if self.source == "ours" and differs:
            raise ValueError("what is ours has no source that says otherwise")
        if (self.source == "ours" or differs) != bool(self.ours_because):
            raise ValueError("ours_because goes with what is ours or differs from its source")
        if self.source != "ours" and not self.where:
            raise ValueError("where: name the section of the paper or the file of the code")
        if not self.is_possible and not differs:
            raise ValueError("a row needs a value, or what the source says")
        return self

    @property
    def told(self) -> str:
        """Source, place and reasons, as a page shows them."""
        if self.source == "ours":
            return f"ours: {self.ours_because}"
        file, *more = self.where.rpartition("/")[2].split(" ", 1)
        place = " ".join([f"`{file}`", *more]) if "." in file else self.where
        note = f" ({self.note})" if self.note else ""
        told = f"{self.source}, {place}{note}"
        if self.says is None:
            return told
        here = "here" if self.is_possible else "not possible yet"
        return f"{told}: {write_value(self.says)}; {here}: {self.ours_because}"


class SourcedOption(BaseModel):
    """One option, and its cell for each preset that has one."""

    option: str
    about: str
    """What it is in the source."""
    test: str
    """The file below tests/ that holds it."""
    cells: dict[str, SourcedValue]


class SourceTable(BaseModel):
    """Presets that stand side by side, and their sources."""

    presets: list[str]
    paper: str = ""
    """The paper that rows speak of; empty where there is none."""
    code: str
    """Repository and commit, `owner/name@commit`."""
    rows: list[SourcedOption]


def read_tables(recipe: str) -> list[SourceTable]:
    """Returns the tables of a recipe's sources, none where it has none. Raises ValueError for a fault in
    them."""
    import yaml

    file = resources.files("woolgather") / "presets" / recipe / config.SOURCES
    if not file.is_file():
        return []
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [make_table(table) for table in loaded["tables"]]


def make_table(loaded: Mapping[str, JSON]) -> SourceTable:
    """Returns a table as the file has it, where cells stand beside a row's other fields, under their
    preset's name or under `all`. Raises ValueError for a fault in it."""
    rows = [_gather_cells(row, loaded["presets"]) for row in loaded["rows"]]
    return SourceTable.model_validate({**loaded, "rows": rows})


def _gather_cells(row: Mapping[str, JSON], presets: Sequence[str]) -> dict[str, JSON]:
    fields = {name: value for name, value in row.items() if name in SourcedOption.model_fields}
    cells = {name: cell for name, cell in row.items() if name not in fields}
    if unknown := sorted(cells.keys() - {*presets, "all"}):
        raise ValueError(f"{row['option']}: {', '.join(unknown)} is no preset here.")
    shared = dict.fromkeys(presets, cells.pop("all")) if "all" in cells else {}
    return {**fields, "cells": {**shared, **cells}}


def format_table(recipe: str, table: SourceTable) -> str:
    """Returns a table of sources as Markdown."""
    owner, _, commit = table.code.partition("@")
    link = f"[{owner}](https://github.com/{owner}/tree/{commit}) at {commit}"
    paper = f"*paper* is {table.paper}, " if table.paper else ""
    ours = "*ours* is what these leave open, or what is done here in its own way."
    told = f"{paper}*code* is {link}; {ours}"
    columns = ["in the source", "option", "default", *table.presets, "from", "test"]
    lines = [told, "", _line(columns), _line(["---"] * len(columns))]
    for row in table.rows:
        values = [_preset_value(row.cells.get(p)) for p in table.presets]
        cells = [
            row.about,
            f"`{row.option}`",
            _default(recipe, row),
            *values,
            _describe_source(row),
            row.test,
        ]
        lines.append(_line(cells))
    return "\n".join(lines)


def write_value(value: JsonValue) -> str:
    """Returns a setting as it is written on the command line."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {write_value(v)}' for k, v in value.items())}}}"
    return json.dumps(value)


def update_page(text: str, recipe: str) -> str:
    """Returns a page with its tables made anew. Raises ConfigError when a mark is missing."""
    for table in read_tables(recipe):
        begin = _BLOCK.format(", ".join(table.presets))
        block = re.search(f"{re.escape(begin)}.*?{re.escape(_END)}", text, re.S)
        if block is None:
            raise ConfigError(f"docs/{recipe}.md: it needs the lines {begin} and {_END}.")
        made = f"{begin}\n{format_table(recipe, table)}\n\n{_END}"
        text = text.replace(block.group(), made)
    return text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _preset_value(cell: SourcedValue | None) -> str:
    return write_value(cell.value) if cell and cell.is_possible else ""


def _describe_source(row: SourcedOption) -> str:
    """The sources of a row, once where its presets share one. A preset of another name than its source
    is named."""
    told: dict[str, list[str]] = {}
    for preset, cell in row.cells.items():
        told.setdefault(cell.told, []).append("" if preset == cell.source else f"{preset}: ")
    texts = list(told)
    return texts[0] if len(texts) == 1 else "; ".join(told[text][0] + text for text in texts)


def _default(recipe: str, row: SourcedOption) -> str:
    """The recipe's own value of an option; "" where there is none."""
    if not all(cell.is_possible for cell in row.cells.values()):
        return ""
    made = config.build(config.find_recipe(recipe).Config, recipe)
    found: JsonValue = made.model_dump(mode="json")
    for part in row.option.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return ""
        found = found[part]
    if isinstance(found, list) and _is_named(recipe, row.option, made):
        return "[default]"
    return "(an adapter)" if row.option.endswith(".lora") else write_value(found)


def _is_named(recipe: str, option: str, made: BaseModel) -> bool:
    """Whether the name `default` stands for the list of rules that the recipe has."""
    try:
        named = config.build(type(made), recipe, values={option: ["default"]})
    except ConfigError:
        return False
    return named == made


def main() -> None:
    """Writes the tables of every recipe into its page."""
    for recipe in config.RECIPES:
        page = DOCS / f"{recipe}.md"
        page.write_text(update_page(page.read_text(encoding="utf-8"), recipe), encoding="utf-8")


if __name__ == "__main__":
    main()
