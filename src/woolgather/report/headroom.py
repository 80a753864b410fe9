"""The headroom that was asked of a base before a run, for the first lines of the run's report.

The one idea: the run keeps what the headroom said, so that its report needs no other directory.

    RUN/headroom.json     {"name": of its directory, "headline": "...", "views": [as in a step's record]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import RunDirError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.core.views import View
from woolgather.runs.record import StepRecord

FILE = "headroom.json"


@dataclass(frozen=True)
class KeptHeadroom:
    """What a headroom said."""

    name: str
    """Name of the directory that it was run in."""
    headline: str
    views: Sequence[View]


def keep_headroom(run_dir: Path, name: str, summary: StepRecord) -> None:
    """Write what a headroom's summary says into a run; nothing where it is there already."""
    kept: dict[str, JSON] = {"name": name, "headline": summary.headline}
    kept["views"] = [dict(view) for view in summary.views]
    path = run_dir / FILE
    if not path.is_file() or _read(path) != json.loads(json.dumps(kept)):
        write_json(path, kept)


def read_headroom(run_dir: Path) -> KeptHeadroom | None:
    """Returns the headroom that a run keeps; None where there is none. Raises RunDirError for a file that
    is broken."""
    path = run_dir / FILE
    if not path.is_file():
        return None
    try:
        kept = _read(path)
        views = [
            View(v["kind"], v.get("title", ""), v.get("data") or {}, v.get("note", ""))
            for v in kept["views"]
        ]
        return KeptHeadroom(str(kept["name"]), str(kept["headline"]), views)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunDirError(
            f"{path} is broken ({error}); delete it, and give --headroom with the next launch"
        ) from error


def _read(path: Path) -> JSON:
    return json.loads(path.read_text(encoding="utf-8"))
