"""The JSON beside every result: what a step was, what came of it, and what each launch did.

    RUN/run.json                     recipe, format, created, pinned date, replicate, title
    RUN/launches/0001.json           a RunRecord per launch
    RUN/inputs/seeds-<12 hex>/       rows from outside
    RUN/inputs/hub.json              which commits of the hub they are of (see inputs/store.py)
    RUN/inputs/texts-<12 hex>/       texts from outside, which stay where they are
        input.json                   {"name": as the user gave it, "files": ..., ...}
    RUN/iter0/keep-<12 hex>/         a step's directory; the record comes last and marks it done
        record.json                  a StepRecord
        part-00000.parquet ...       a dataset's rows        (woolgather.storage.read_rows)
        model/                       a model's files
        metrics.json                 {"values": ..., "items": ...}

The one idea: everything that report, status, compare and a later launch know of a run, they read
from these files. Standard library only, and nothing here runs or decides anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, get_args

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import RunDirError
from woolgather.core.op import ResultKind, RowKind
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.core.views import View, ViewKind

FORMAT = 1
"""Format of every file named above. A reader refuses a higher number."""

RECORD = "record.json"
METRICS = "metrics.json"
RUN = "run.json"
LAUNCHES = "launches"
INPUTS = "inputs"
INPUT = "input.json"

Status = Literal["running", "finished", "stopped", "failed"]
StepState = Literal["ran", "remembered", "given"]

T = TypeVar("T", "StepRecord", "RunRecord")


class StepResult(TypedDict, total=False):
    """What a record says of a result; which fields there are follows from its kind."""

    files: Mapping[str, int]
    """Bytes of each file in the step's directory."""
    count: int
    """dataset: rows in use."""
    rows: int
    """dataset: all rows."""
    kind: RowKind
    path: str
    """model: relative to the step's directory, absolute, or `repo@commit`."""
    prompt_format: PromptFormat
    digest: str
    """model: of one that was handed in."""
    values: Mapping[str, JSON]
    headline: str
    concludes: bool
    items_file: str
    """metrics: the file with the outcomes behind the numbers."""
    value: JSON
    """choice: what was decided."""
    why: str


class ViewRecord(TypedDict, total=False):
    """A view as it is stored."""

    kind: ViewKind
    title: str
    data: Mapping[str, JSON]
    note: str


class Means(TypedDict, total=False):
    """What a step was carried out with, which is no part of its identity."""

    engine: Mapping[str, JSON]
    """Options of the engine. Of one that asks servers `served`, too, a list: `model` (its role, step or
    path), and of each server that answered for it `url`, `name` there and `card`, what it says of it."""
    given: str
    """The file or directory that was handed in."""


class StepEntry(TypedDict):
    """A step as a launch lists it."""

    step: str
    fingerprint: str
    path: str
    """The step's directory, relative to the run."""
    state: StepState
    why: str
    """Why it ran."""


@dataclass(frozen=True)
class StepRecord:
    """What one step was asked and what came of it."""

    step: str
    """Name with its scopes, "iter0/keep"; a step of the root has no slash."""
    op: str
    """Its op's name; `module:function` for a plain function."""
    fingerprint: str
    """64 hex digits: the hash of `payload`."""
    kind: ResultKind
    format: int = FORMAT
    op_version: int = 1
    payload: JSON = None
    """The canonical op and arguments, so that a change can be explained field by field."""
    result: StepResult = field(default_factory=StepResult)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Rows this step's data holds that are set aside, by reason."""
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By fingerprint of each artifact among the arguments: `step` that made it, `digest`."""
    digest: str = ""
    """sha256 of the result's bytes; empty where there are none."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """`requests`, `remembered`, `prompt_tokens`, `completion_tokens`; empty without a model."""
    seconds: float = 0.0
    started: str = ""
    """ISO 8601, UTC, as is `finished`."""
    finished: str = ""
    launch: int = 0
    """Number of the launch that made it, from 1."""
    source: str = ""
    """Hash of the op's source text."""
    execution: Means = field(default_factory=Means)
    views: Sequence[ViewRecord] = ()
    warnings: Sequence[str] = ()

    def to_json(self) -> dict[str, JSON]:
        """Returns the record as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: JSON, where: str = "record") -> StepRecord:
        """Raises RunDirError for a newer format, a missing field or a value of the wrong type."""
        return _load(cls, value, where)

    @property
    def headline(self) -> str:
        """What a metrics step says in a line; empty where it says nothing.

        Earlier versions kept it among the values, as `sentence` or `short`.
        """
        values = self.result.get("values") or {}
        said = [self.result.get("headline"), values.get("sentence"), values.get("short")]
        return next((text for text in said if isinstance(text, str) and text), "")

    @property
    def concludes(self) -> bool:
        """Whether the headline says what came of the whole run (earlier, as `sentence`)."""
        values = self.result.get("values") or {}
        return bool(self.result.get("concludes") or values.get("sentence"))

    def shown(self) -> list[View]:
        """Returns `views` as View objects."""
        return [
            View(v["kind"], v.get("title", ""), v.get("data") or {}, v.get("note", ""))
            for v in self.views
        ]


@dataclass(frozen=True)
class RunRecord:
    """What one launch was asked, with what, and how it went."""

    launch: int
    """From 1."""
    recipe: str
    format: int = FORMAT
    recipe_source: str = ""
    """Hash of the recipe's source text."""
    config: JSON = None
    """The final settings."""
    config_changes: Sequence[str] = ()
    """Where they differ from the preset or from the launch before, a line per field."""
    provenance: Mapping[str, JSON] = field(default_factory=dict)
    """Commit, packages, hardware, command line."""
    started: str = ""
    finished: str | None = None
    """None while it runs, or when it was killed."""
    status: Status = "running"
    steps: Sequence[StepEntry] = ()
    """In order."""
    result: str | None = None
    """Directory of the resulting model, relative to the run."""
    message: str = ""
    """Why it stopped or failed, or how it ended."""
    journal: str = ""
    """Whose answers the journal holds: "sure" of the models that were asked; "doubted" where an
    earlier launch asked one server for all of them; empty in a launch of a version that did so."""

    def to_json(self) -> dict[str, JSON]:
        """Returns the record as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: JSON, where: str = "launch record") -> RunRecord:
        """Raises RunDirError for a newer format, a missing field or a value of the wrong type."""
        return _load(cls, value, where)


def read_record(path: Path) -> StepRecord:
    """Returns the record in `path` (the file, or the step's directory). Raises RunDirError."""
    file = path / RECORD if path.is_dir() else path
    return StepRecord.from_json(_read_json(file), str(file))


def write(record: StepRecord, path: Path) -> None:
    """Write to `path` (the file, or the step's directory), whole or not at all."""
    write_json(path / RECORD if path.is_dir() else path, record.to_json())


def launch_path(run_dir: Path, launch: int) -> Path:
    """Returns where the record of a launch is."""
    return run_dir / LAUNCHES / f"{launch:04d}.json"


def read_launch(path: Path) -> RunRecord:
    """Returns the launch's record in the file. Raises RunDirError."""
    return RunRecord.from_json(_read_json(path), str(path))


def write_launch(record: RunRecord, run_dir: Path) -> Path:
    """Write RUN/launches/<number>.json, whole or not at all; returns its path."""
    path = launch_path(run_dir, record.launch)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record.to_json())
    return path


def read_launches(run_dir: Path) -> list[RunRecord]:
    """Returns the records of all launches, the oldest first. Raises RunDirError."""
    return [read_launch(path) for path in sorted((run_dir / LAUNCHES).glob("[0-9]*.json"))]


def read_run(run_dir: Path) -> dict[str, JSON]:
    """Returns run.json. Raises RunDirError when `run_dir` is no run directory, or of a newer format."""
    path = run_dir / RUN
    if not path.is_file():
        inside = sorted(found.parent.name for found in run_dir.glob(f"*/{RUN}"))
        remedy = (
            f"name one of the {len(inside)} that are in it, such as {run_dir / inside[0]}"
            if inside
            else "name the directory that `woolgather run` wrote to"
        )
        raise RunDirError(f"{run_dir} is not a run directory: it has no {RUN}; {remedy}")
    value = _read_object(path)
    _check_format(value, str(path))
    return value


def runs_in(folder: Path) -> list[Path]:
    """Returns the run directories that lie in `folder`, by name."""
    return sorted(head.parent for head in folder.glob(f"*/{RUN}"))


def write_run(run_dir: Path, value: Mapping[str, JSON]) -> None:
    """Write run.json (the format is added), whole or not at all."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(run_dir / RUN, {"format": FORMAT, **value})


def read_input(folder: Path) -> dict[str, JSON]:
    """Returns what is noted of texts from outside; empty where `folder` has rows instead."""
    path = folder / INPUT
    return _read_object(path) if path.is_file() else {}


def write_input(folder: Path, value: Mapping[str, JSON]) -> None:
    """Write input.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / INPUT, value)


def step_dir(name: str, fingerprint: str) -> str:
    """Returns the directory of a step relative to the run, e.g. `iter0/keep-0123456789ab`."""
    return f"{name}-{fingerprint[:12]}"


def current_steps(run_dir: Path) -> list[tuple[StepEntry, StepRecord]]:
    """Returns what the run now consists of: launch entry and record of each finished step, in order.

    Those of the latest launch. While it is unfinished (running, stopped, failed) the steps it has
    not come to are taken from the launch before, and so on, under the names it has not used itself.
    A step whose directory is gone is left out.
    """
    found: dict[str, tuple[StepEntry, StepRecord]] = {}
    for launch in reversed(read_launches(run_dir)):
        for entry in launch.steps:
            path = run_dir / entry["path"]
            if entry["step"] not in found and (path / RECORD).is_file():
                found[entry["step"]] = (entry, read_record(path))
        if launch.status == "finished":
            break
    return list(found.values())


def split_name(step: str) -> tuple[str, int | None, str]:
    """Returns scope, iteration and last word: "iter2/keep" -> ("iter2", 2, "keep"),
    "select" -> ("", None, "select"), "humback/iter0/score" -> ("humback/iter0", 0, "score")."""
    scope, _, name = step.rpartition("/")
    number = re.search(r"(?:^|/)iter(\d+)(?:/|$)", scope)
    return scope, int(number.group(1)) if number else None, name


def _read_json(path: Path) -> JSON:
    try:
        value: JSON = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunDirError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunDirError(
            f"{path} is broken ({error}); delete its directory to have the step done again"
        ) from error
    return value


def _read_object(path: Path) -> dict[str, JSON]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise RunDirError(f"{path} is not a JSON object; restore it from a copy of the run")
    return value


def _check_format(value: Mapping[str, JSON], where: str) -> None:
    number = value.get("format")
    if not isinstance(number, int):
        raise RunDirError(f"{where} has no format number: it was not written by woolgather")
    if number > FORMAT:
        raise RunDirError(
            f"{where} has format {number}, and this woolgather reads up to {FORMAT}: install the"
            " version that wrote it, or a later one"
        )


def _load(cls: type[T], value: JSON, where: str) -> T:
    if not isinstance(value, dict):
        raise RunDirError(f"{where} is not a JSON object; delete its directory to do it again")
    _check_format(value, where)
    known = {f.name for f in fields(cls)}
    given: dict[str, Any] = {
        k: tuple(v) if k in _TUPLES and isinstance(v, list) else v
        for k, v in value.items()
        if k in known
    }
    try:
        record = cls(**given)
    except TypeError as error:
        raise RunDirError(f"{where} is incomplete ({error}); delete it to do it again") from error
    for name, kind in _SHAPES.items():
        if name in known and not isinstance(getattr(record, name), kind):
            got = type(getattr(record, name)).__name__
            raise RunDirError(f"{where}: field {name} is a {got}; delete it to do it again")
    choices = {"kind": ResultKind, "status": Status}
    for name, allowed in choices.items():
        if name in known and getattr(record, name) not in get_args(allowed):
            raise RunDirError(
                f"{where}: field {name} is {getattr(record, name)!r}, not one of"
                f" {', '.join(get_args(allowed))}; delete it to do it again"
            )
    return record


_TUPLES = {"views", "warnings", "steps", "config_changes"}
_SHAPES: Mapping[str, tuple[type, ...]] = {
    "step": (str,),
    "op": (str,),
    "fingerprint": (str,),
    "recipe": (str,),
    "launch": (int,),
    "result": (dict, str, type(None)),
    "set_aside": (dict,),
    "inputs": (dict,),
    "calls": (dict,),
    "seconds": (int, float),
    "execution": (dict,),
    "provenance": (dict,),
    "views": (list, tuple),
    "warnings": (list, tuple),
    "steps": (list, tuple),
}
