"""What a sweep's directory says of it: the points that were asked for, and where they are.

    SWEEP/sweep.json        a SweepRecord: the latest `woolgather sweep` in this directory
    SWEEP/<point>/          a run directory per point, with point.log where it had a process of its own
    SWEEP/journal.sqlite    the remembered answers of all points, but for those of other machines
    SWEEP/sweep.csv         a row per point, with every number
    SWEEP/sweep.html        tables and figures (also as SVG and CSV in SWEEP/figures/)

The one idea: how far a point has come stands in the point's own records, and nowhere else; only the
error of one that failed is noted here, since it may have failed before it had any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from woolgather.core.errors import RunDirError
from woolgather.core.storage import write_json

SWEEP = "sweep.json"
FORMAT = 1
REPLICATE = "replicate"
"""Swept like a setting, and none: each number draws everything anew."""


class SweptPoint(BaseModel):
    """One combination of values."""

    model_config = ConfigDict(frozen=True)

    folder: str
    """Name of its run directory."""
    values: Mapping[str, str]
    """By key, as they were written."""
    error: str = ""
    """Why it failed, the last time it was run; empty where it did not."""
    log: str = ""
    """What its own process printed then, relative to the sweep; empty where it had none."""


class SweepRecord(BaseModel):
    """What was asked for."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    recipe: str
    axes: Mapping[str, Sequence[str]]
    """By key, the values in order; a recipe's setting, or `replicate`."""
    settings: Sequence[str] = ()
    """What all points have: words `key=value`."""
    meanings: Mapping[str, str] = {}
    """By word `key=value`, the settings that such a point has instead."""
    measure: str = ""
    """The measure that tables and figures show; empty leaves the choice to the report."""
    points: Sequence[SweptPoint]


def read_sweep(folder: Path) -> SweepRecord:
    """Returns the record of a sweep. Raises RunDirError where there is none, or it cannot be read."""
    path = folder / SWEEP
    try:
        return SweepRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirError(
            f"{folder} is not a sweep: it has no {SWEEP}; name the directory that `woolgather sweep` "
            "wrote to."
        ) from None
    except (OSError, ValidationError) as error:
        why = str(error).splitlines()[0]
        raise RunDirError(
            f"{path} is broken ({why}); the same `woolgather sweep` writes it anew."
        ) from None


def write_sweep(record: SweepRecord, folder: Path) -> None:
    """Write sweep.json, whole or not at all."""
    write_json(folder / SWEEP, record.model_dump(mode="json"))
