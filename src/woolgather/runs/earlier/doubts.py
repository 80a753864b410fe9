"""Whether the models that were asked in a run's earlier launches are those that answered.

Earlier versions with `--engine openai` asked the server of the base for every model of a run, those
that it trained and its judges, too. What came of it looks like any other answer, in records and in the
journal. A launch since then marks itself; one without the mark is looked at for that engine. Launches
stay in a run's directory, so that a doubt outlives the records that gave it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from woolgather.core.errors import RunDirError
from woolgather.core.rows import JSON
from woolgather.runs.record import RECORD, RunRecord, StepRecord, read_launches, read_record

SALT = "asked by its own name"
"""Goes into the keys of a doubtful model's answers, so that older ones are not found."""


@dataclass(frozen=True)
class Past:
    """What is known of a run's earlier launches."""

    doubted: bool = False
    """Whether the journal may hold answers that a server gave for a model that it did not have."""
    unsure: frozenset[int] = frozenset()
    """Launches of a version that asked so, whatever their engine."""


def past_of(run_dir: Path) -> Past:
    """Returns what the launches tell and, where one does not, the records of steps. Raises RunDirError
    for a launch that cannot be read."""
    launches = read_launches(run_dir)
    unsure = frozenset(launch.launch for launch in launches if not launch.journal)
    return Past(_is_doubted(run_dir, launches), unsure)


def engine_of(record: StepRecord) -> Mapping[str, JSON]:
    """Returns the engine that a step used, as its record has it; empty where no model was asked."""
    return record.execution.get("engine") or {}


def _is_doubted(run_dir: Path, launches: Sequence[RunRecord]) -> bool:
    since = 0
    for launch in launches:
        if launch.journal == "doubted":
            return True
        if launch.journal:  # whatever was before has been looked at then
            since = launch.launch
    later = [launch for launch in launches if launch.launch > since]
    if any(_used_server(launch.provenance.get("argv")) for launch in later):
        return True
    return bool(later) and any(
        engine_of(record).get("name") == "openai" and "served" not in engine_of(record)
        for record in _records(run_dir)
    )


def _used_server(argv: JSON) -> bool:
    told = list(map(str, argv)) if isinstance(argv, list) else []
    return "--engine=openai" in told or ("--engine", "openai") in pairwise(told)


def _records(run_dir: Path) -> Iterable[StepRecord]:
    for path in run_dir.glob("**/" + RECORD):
        with contextlib.suppress(RunDirError):
            yield read_record(path)
