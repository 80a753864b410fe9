"""How commands print: a table or the same table as JSON.

The one idea: a command builds rows once, as dictionaries; `--json` prints them as they are, a
terminal shows them as a table. Unknown is null in JSON and an empty cell in a table. Texts of models
never reach a terminal raw: `woolgather.report.text.harmless` takes out what a terminal would obey.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from woolgather.core.views import View
from woolgather.report import text
from woolgather.report.text import harmless
from woolgather.report.view_data import TableData

NAME = 20
"""Characters up to which the first column of a table, which names its rows, is not broken."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def console(markup: bool = False) -> Console:
    """Returns a console that prints texts as they are: no markup unless asked, no emoji codes. Where
    there is no terminal its lines are wide."""
    made = Console(highlight=False, markup=markup, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(highlight=False, markup=markup, emoji=False, width=200)
    return made


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    key: str
    """Key of the row's dictionary."""
    title: str = ""
    """Head of the column; the key where it is empty."""
    right: bool = False
    """Whether it stands to the right, as numbers do."""


def print_json(value: object) -> None:
    """Print one document to stdout; characters that the terminal's encoding lacks are escaped."""
    document = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    encoding = sys.stdout.encoding or "utf-8"
    try:
        document.encode(encoding)
    except UnicodeEncodeError:
        document = json.dumps(value, ensure_ascii=True, indent=1, default=str)
    print(document)


def print_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[Column], title: str = ""
) -> None:
    """Print a table of `rows`; columns without any value are left out."""

    def written(row: Mapping[str, object], column: Column) -> str:
        value = row.get(column.key)
        return "" if value is None else cell(value)

    texts = [[written(row, column) for row in rows] for column in columns]
    heads = [column.title or column.key.replace("_", " ") for column in columns]
    shown = [
        text.WrittenColumn(head, side, column.right)
        for head, side, column in zip(heads, texts, columns, strict=True)
        if any(side)
    ]
    _print_table(shown, title)


def print_view(view: View) -> None:
    """Print a table or an alarm that an op chose to show; drawings are left to the report."""
    if view.kind == "table":
        data = TableData.model_validate(view.data)
        columns = [
            text.column(title, data.column(i), clean=harmless)
            for i, title in enumerate(data.columns)
        ]
        _print_table(columns, view.title)
    elif view.kind == "alarm":
        console().print(
            Text(f"{view.data.get('level', 'note')}: {harmless(str(view.data['text']))}")
        )


def _print_table(columns: Sequence[text.WrittenColumn], title: str) -> None:
    table = Table(
        title=Text(harmless(title)) if title else None,
        title_justify="left",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for place, column in enumerate(columns):
        table.add_column(
            Text(harmless(column.head)),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=place == 0 and max(map(len, column.cells), default=0) <= NAME,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    console().print(table)


def cell(value: object) -> str:
    """Returns a value as a cell of a terminal's table."""
    return text.cell(value, clean=harmless)
