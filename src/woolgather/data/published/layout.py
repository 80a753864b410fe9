"""What is said of a published layout: how it is told, read, and explained to whoever uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from woolgather.core.rows import Example, Verdict
from woolgather.data.fields import Fields, Record
from woolgather.data.values import kind_of

Part = Literal["seeds", "made", "identity", "replay"]
"""What rows are wanted for: as tasks that people wrote, as the result of a step, to say who the
assistant is, or to be trained on beside all others. A file may hold a side for each."""


@dataclass(frozen=True)
class Layout:
    """A layout of records, as a line of the table."""

    name: str
    source: str
    """The repository, and the file in it that writes such records."""
    becomes: Mapping[str, str]
    """What becomes of each field."""
    good: str
    """A good line."""
    fits: Callable[[Record], bool]
    read: Callable[[Fields, Part], Example]
    """Raises InputError for a record that lacks what the layout needs."""
    once: bool = False
    """Whether rows that are there again are left out: the repository's own steps add to files."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why rows are set aside, or changed, in words, by reason."""


def number(fields: Fields, name: str) -> float | None:
    """Returns a number, in a table also as text, and None for null or an empty cell.

    Raises InputError for anything else, or where it is missing.
    """
    value = fields.require(name)
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() else None
        except ValueError:
            raise fields.wrong(f"field {name!r} is {value!r}, no number.") from None
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fields.wrong(f"field {name!r} is {kind_of(value)}, no number.")
    return float(value)


def verdict(score: float | None, low: float, high: float, text: str = "") -> Verdict:
    """Returns a verdict; a score outside of the scale was misread, so it is unknown."""
    if score is not None and not low <= score <= high:
        return Verdict(None, text or f"{score:g} is not on the scale of {low:g} to {high:g}")
    return Verdict(score, text)
