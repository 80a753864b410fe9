"""Layouts of the methods' own repositories, each read the right way round or refused.

The one idea: `LAYOUTS` is a table. A line of it names a layout, the repository and file that write
it, and what becomes of each field; how a record of it is told and read stands beside the line, in the
module of its method. A layout is told by the first records of a file, before the general shapes.
"""

from __future__ import annotations

from collections.abc import Iterable

from woolgather.data.fields import Record
from woolgather.data.published import dromedary, humback, isheep, spin
from woolgather.data.published.layout import Layout, Part

__all__ = ["LAYOUTS", "Layout", "Part", "recognize"]

LAYOUTS: tuple[Layout, ...] = (
    spin.PAIRS,
    humback.REPLIES,
    humback.CURATION_PROMPTS,
    humback.ROWS,
    isheep.EVALUATED,
    isheep.GENERATED,
    dromedary.MERGED,
    dromedary.SHARDS,
    dromedary.IDENTITY,
)
"""In the order in which they are tried."""


def recognize(records: Iterable[Record]) -> Layout | None:
    """Returns the layout of a file by its first records; None for one of the general shapes."""
    known = [r for r in records if "parents" not in r]  # rows of ours may have fields like theirs
    return next((layout for layout in LAYOUTS if any(map(layout.fits, known))), None)
