"""Give rows their kind, and the system line that goes with it.

The one idea: what a row is, is a field that is written where it is known (`meta.origin`), and
nothing later guesses it from which other fields there are. Rows of different kinds are trained with
different lines, so that a model can tell them apart, and asked with all of them (arXiv 2308.06259).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace

from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.views import View, alarm


@op("tag", needs={"rows": ("response",)})
def tag(
    rows: Iterable[Example], *, origin: str, line: str = ""
) -> Generator[Example, None, list[View]]:
    """Yields every row with `origin` as its kind and `line` before its system turn, if it has one."""
    count = 0
    for row in rows:
        count += 1
        system = "\n".join(text for text in (line, row.system) if text)
        yield replace(row, system=system, meta={**row.meta, "origin": origin})
    if count:
        return []
    return [alarm("Nothing to train on", f"No {origin} row came through; what follows has none.")]
