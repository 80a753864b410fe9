"""The rows that a report carries: a sample of each step's, small enough to open, honest about size.

The one idea: the samples of different steps belong together. Steps are sampled from the last to the
first, and a row shown in a later step, or named as a parent there, is taken first in an earlier one,
so that a row can be followed back to the seeds. Texts that several steps share are stored once.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from woolgather.core.errors import WoolgatherError
from woolgather.core.rows import CONVERSATION, Example, Row, turns_of
from woolgather.core.storage import read_rows
from woolgather.report.text import cell, is_number, visible

FIELD_CHARS = 4000
"""Kept of one text; the report says how many more there are."""
TEXT_BUDGET = 6_000_000
"""Characters of all texts together; beyond it, fewer rows of each step are shown."""


@dataclass(frozen=True)
class RowFolder:
    """A directory of rows that a report may show."""

    name: str
    """Step, or "inputs/<name>" for rows from outside."""
    path: Path


@dataclass
class Table:
    """The chosen rows of one source, in order of writing."""

    name: str
    total: int
    reasons: Mapping[str, int]
    rows: list[Row] = field(default_factory=list)


def sample(sources: Sequence[RowFolder], max_rows: int) -> list[Table]:
    """Returns at most `max_rows` rows of each source, some of each reason, in the order given; a source
    that cannot be read is left out."""
    wanted: set[str] = set()
    tables: list[Table] = []
    for source in reversed(sources):
        table = _sample_one(source, max_rows, wanted)
        if table is None:
            continue
        for row in table.rows:
            wanted.add(row.id)
            wanted.update(row.parents)
        tables.append(table)
    return tables[::-1]


def embed(tables: Sequence[Table]) -> dict[str, object]:
    """Returns the tables as JSON: {"texts": [...], "steps": [{name, total, reasons, rows}]}.

    A row names each of its texts by the place in `texts`; control characters are made visible. Rows
    are left out where all texts together would exceed TEXT_BUDGET.
    """
    size = 0
    pool: dict[str, int] = {}
    steps: list[dict[str, object]] = []

    def place(text: str) -> int:
        nonlocal size
        shown = visible(text, FIELD_CHARS)
        if shown not in pool:
            size += len(shown)
        return pool.setdefault(shown, len(pool))

    share = 1.0
    while True:
        steps = [_step(table, share, place) for table in tables]
        if size <= TEXT_BUDGET or share < 0.01:
            return {"texts": list(pool), "steps": steps}
        share *= 0.8 * TEXT_BUDGET / size
        size = 0
        pool.clear()


def script_json(value: object) -> str:
    """Returns JSON that may stand inside a script element: it has no "<", ">" or "&"."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    table = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
    return text.translate(table)


def _sample_one(source: RowFolder, max_rows: int, wanted: set[str]) -> Table | None:
    """Two passes in bounded memory: which rows, then those rows. None where they cannot be read."""
    try:
        known = [(row.id, row.set_aside) for row in read_rows(source.path)]
        chosen = choose(known, max_rows, wanted)
        table = Table(source.name, len(known), Counter(why for _, why in known if why))
        table.rows = list(_at(chosen, read_rows(source.path)))
    except (OSError, ValueError, KeyError, WoolgatherError):
        return None
    return table


def choose(
    known: Sequence[tuple[str, str | None]], max_rows: int, wanted: set[str] | None = None
) -> list[int]:
    """Returns the indices of the rows to show, ascending.

    `known` has the id and the reason of each row. At most a third of the rows shown are set aside,
    spread evenly over reasons and places; then come the rows whose ids are `wanted`, then others,
    spread evenly. Where too few rows are in use, more of those set aside are shown.
    """
    if len(known) <= max_rows:
        return list(range(len(known)))
    by_reason: defaultdict[str, list[int]] = defaultdict(list)
    used: list[int] = []
    for i, (_, why) in enumerate(known):
        (by_reason[why] if why else used).append(i)
    aside_room = max(max_rows // 3, max_rows - len(used))
    aside: set[int] = set()
    open_reasons = sorted(by_reason.values(), key=len)
    for n, places in enumerate(open_reasons):
        each = (aside_room - len(aside)) // (len(open_reasons) - n)
        aside.update(_evenly(places, each))
    room = max_rows - len(aside)
    related = _evenly([i for i in used if known[i][0] in (wanted or ())], room)
    taken = set(related)
    rest = _evenly([i for i in used if i not in taken], room - len(related))
    return sorted({*aside, *related, *rest})


def _evenly(items: Sequence[int], count: int) -> list[int]:
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(max(count, 0))]


def _at(chosen: Sequence[int], rows: Iterator[Row]) -> Iterator[Row]:
    places = set(chosen)
    for i, row in enumerate(rows):
        if i in places:
            yield row


def _step(table: Table, share: float, place: Callable[[str], int]) -> dict[str, object]:
    rows = table.rows
    if share < 1:
        states = [(row.id, row.set_aside) for row in rows]
        rows = [rows[i] for i in choose(states, max(20, int(len(rows) * share)))]
    return {
        "name": table.name,
        "total": table.total,
        "reasons": dict(table.reasons),
        "rows": [_row(row, place) for row in rows],
    }


def _row(row: Row, place: Callable[[str], int]) -> dict[str, object]:
    if isinstance(row, Example):
        later = enumerate(turns_of(row)[2:], start=3)
        texts = [("input", row.input), ("response", row.response)]
        texts += [(f"turn {n}, {role}", text) for n, (role, text) in later]
        finish = row.finish_reason
        verdicts = [
            [name, v.score if is_number(v.score) else None, place(v.text)]
            for name, v in sorted(row.verdicts.items())
        ]
    else:
        texts = [("chosen", row.chosen), ("rejected", row.rejected)]
        finish, verdicts = None, []
    texts = [("system", row.system), ("instruction", row.instruction), *texts]
    meta = [
        [visible(str(key), 60), place(cell(value, 600))]
        for key, value in row.meta.items()
        if key != CONVERSATION
    ]
    every = {
        "id": row.id,
        "texts": [[name, place(text)] for name, text in texts if text],
        "verdicts": verdicts,
        "parents": list(row.parents),
        "aside": row.set_aside,
        "finish": finish,
        "meta": meta,
    }
    return {key: value for key, value in every.items() if value not in (None, [], "")}
