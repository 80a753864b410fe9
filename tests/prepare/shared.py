"""What the tests of preparations have in common: files in a layout, and what a preparation makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from woolgather.prepare import SETS, FilterCounts, PublishedSource, Wanted

LONG = "a text of rather more than five words"


def save(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(records)), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def prepared(
    name: str, sources: Path | Mapping[str, Path], **wanted: Any
) -> tuple[list[Any], dict[str, tuple[int, int]]]:
    """Rows, and (before, after) by filter."""
    if isinstance(sources, Path):
        sources = {name: sources}
    tally = FilterCounts()
    found = {k: PublishedSource(str(v), SETS[name].sources[k].split) for k, v in sources.items()}
    rows = list(SETS[name].make(found, Wanted(**wanted), tally))
    return rows, {f"{c.source} {c.filter}".strip(): (c.before, c.after) for c in tally.lines}


def message(
    id_: str, text: str = LONG, parent: str | None = None, quality: float | None = 0.8, **more: Any
) -> dict[str, Any]:
    """A message as a row of the table: labels are parallel lists."""
    named = [("spam", 0.0)] + ([("quality", quality)] if quality is not None else [])
    return {
        "message_id": id_,
        "parent_id": parent,
        "user_id": "u",
        "created_date": "2023-02-05T14:23:50",
        "text": text,
        "role": "assistant" if parent else "prompter",
        "lang": "en",
        "deleted": False,
        "rank": None,
        "synthetic": False,
        "message_tree_id": id_[:1],
        "tree_state": "ready_for_export",
        "labels": {
            "name": [n for n, _ in named],
            "value": [v for _, v in named],
            "count": [3 for _ in named],
        },
        **more,
    }
