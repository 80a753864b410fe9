"""How commands print: a table or the same table as JSON, and texts of models made harmless.

The one idea: a command builds rows once, as dictionaries; `--json` prints them as they are, a
terminal shows them as a table. Unknown is null in JSON and an empty cell in a table. Texts of models
never reach a terminal raw: `harmless` takes out what a terminal would obey.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from woolgather.records import JSON
from woolgather.views import View

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but newline and tab, changes of writing direction, lone surrogates."""


def harmless(text: str) -> str:
    """`text` without what a terminal would obey: escape sequences and control characters."""
    return _UNSEEN.sub("", _SEQUENCE.sub("", text))


def one_line(text: str, width: int = 100) -> str:
    """A cleaned text on one line, shortened to `width` characters."""
    flat = " ".join(harmless(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def console(markup: bool = False) -> Console:
    """Prints texts as they are (no markup unless asked, no emoji codes); wide where there is no
    terminal."""
    made = Console(highlight=False, markup=markup, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(highlight=False, markup=markup, emoji=False, width=200)
    return made


@dataclass(frozen=True)
class Column:
    key: str
    """Of the row's dictionary."""
    title: str = ""
    """Empty takes the key."""
    right: bool = False
    """Numbers stand to the right."""


def print_json(value: JSON) -> None:
    """To stdout, as one document; characters that the terminal's encoding lacks are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=True, indent=1, default=str)
    print(text)


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str = ""
) -> None:
    """A table of `rows`; columns without any value are left out."""
    table = Table(
        title=Text(harmless(title)) if title else None, title_justify="left", box=box.SIMPLE
    )
    shown = [c for c in columns if any(cell(row.get(c.key)) for row in rows)]
    for column in shown:
        table.add_column(
            column.title or column.key.replace("_", " "),
            justify="right" if column.right else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell(row.get(c.key))) for c in shown))
    console().print(table)


def cell(value: Any) -> str:
    """A value as it stands in a table; None is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
        return estimate(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{harmless(str(k))} {cell(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(v) for v in value)
    return harmless(str(value))


def estimate(value: Mapping[str, JSON], sign: str = "") -> str:
    """A number with its interval."""
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def print_view(view: View) -> None:
    """A table or an alarm that an op chose to show; drawings are left to the report."""
    if view.kind == "table":
        names = [str(name) for name in view.data["columns"]]
        rows = [dict(zip(names, row, strict=False)) for row in view.data["rows"]]
        print_rows(rows, [Column(n, n) for n in names], view.title)
    elif view.kind == "alarm":
        console().print(
            Text(f"{view.data.get('level', 'note')}: {harmless(str(view.data['text']))}")
        )


def size(count: float) -> str:
    """Bytes, readable: `740 B`, `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
