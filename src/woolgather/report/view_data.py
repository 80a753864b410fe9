"""The data of each kind of view, checked as it is read from a record.

The one idea: a record is a file that another version, or a broken op, may have written. Whoever draws
a view validates its data first; pydantic's ValidationError, a ValueError, says that they are broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

Coordinates = Sequence[float | None]
"""x and y of a point; None where one of them is not known."""


class FunnelData(BaseModel):
    """Rows after each stage, and why rows were set aside."""

    stages: Sequence[tuple[str, float]]
    reasons: Mapping[str, float] = {}


class HistogramData(BaseModel):
    """Counts of several series in the same bins."""

    edges: Sequence[float]
    series: Mapping[str, Sequence[float]]
    """Counts by name, one fewer than there are edges."""
    x: str = ""
    behind: str = ""
    """The series that the others are seen against; empty for none."""


class CurveData(BaseModel):
    """Lines through points."""

    series: Mapping[str, Sequence[Coordinates]]
    x: str = ""
    y: str = ""


class ScatterData(BaseModel):
    """Groups of points, with a text for each point where there are labels."""

    groups: Mapping[str, Sequence[Coordinates]]
    labels: Mapping[str, Sequence[str]] = {}
    x: str = ""
    y: str = ""
    behind: str = ""
    """The group that the others are seen against; empty for none."""


class TableData(BaseModel):
    """Named columns, and rows of cells as `core.views` describes them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def column(self, i: int) -> list[object]:
        """Returns the cells of a column, empty where a row is too short."""
        return [row[i] if i < len(row) else "" for row in self.rows]


class AlarmData(BaseModel):
    """What a reader should know."""

    text: str
    level: str = "warning"
    """note, warning or error."""
