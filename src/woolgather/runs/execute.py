"""How a step's result comes about: its op is called and what it makes is written; or it is given.

The one idea: an attempt works in a directory of its own, rows are written as they come, and the
record is written last. Whether a step has to run at all is decided elsewhere (lookup.py).
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from woolgather.core.artifacts import Artifact, Choice, Dataset, Metrics, Model
from woolgather.core.rows import JSON, Row, as_mapping
from woolgather.core.storage import read_rows, write_rows
from woolgather.core.views import View
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.runs.call import OUT, Call, EngineHandle, Pinned, artifacts_in
from woolgather.runs.lookup import Index
from woolgather.runs.models import RunModels
from woolgather.runs.progress import Progress
from woolgather.runs.record import RECORD, StepRecord, StepResult, ViewRecord, write
from woolgather.runs.results import next_attempt, publish
from woolgather.training.job import Trainer


@dataclasses.dataclass(frozen=True)
class Backends:
    """What asks models and what trains them."""

    open_engine: Callable[[Model, EngineOptions, Path], Engine]
    """Opens an engine for a model; the path is that of its log."""
    trainer: Trainer
    engine: EngineOptions = dataclasses.field(default_factory=EngineOptions)


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a step works with, and what is no part of its identity."""

    journal: Journal
    open_engine: Callable[[Model], Engine]
    progress: Progress
    launch: int
    options: Mapping[str, JSON]
    """Settings of engines, for the record."""
    models: RunModels
    """Names of models, and which of their remembered answers are sound."""
    errors: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """Grave alarms of the steps before, by step: what concludes a run begins with them."""


def execute(call: Call, index: Index, tools: Tools) -> StepRecord:
    """Call the op and put down what it makes; what was there before, or half there, goes. Returns the
    record, which is written last."""
    name, folder = call.name, call.folder
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).is_file():
        _discard(folder)
    attempt = folder / f"attempt-{next_attempt(folder)}"
    attempt.mkdir()
    asked: list[JournaledEngine] = []

    def live(value: object) -> object:
        if isinstance(value, EngineHandle):
            model = value.model
            engine = JournaledEngine(
                model,
                tools.journal,
                lambda: tools.open_engine(model),
                lambda calls: tools.progress.calls(name, calls),
                tools.models.salt(model),
            )
            engine.options = value.options
            asked.append(engine)
            return engine
        if value is OUT:
            return attempt
        if isinstance(value, Pinned):
            return value.date
        if isinstance(value, tuple | list):
            return [live(v) for v in value]
        return value

    started, clock = datetime.now(UTC), time.monotonic()
    made = call.op(**{key: live(value) for key, value in call.bound.items()})
    artifact, aside, total = _store(call, made, attempt, tools.progress)
    if isinstance(artifact, Metrics) and artifact.concludes:
        artifact = _begin_with_errors(name, artifact, tools.errors)
    result, sha = publish(artifact, attempt, folder)
    if isinstance(artifact, Dataset):
        result["rows"] = total
    record = StepRecord(
        step=name,
        op=call.op.name,
        op_version=call.op.version,
        fingerprint=call.identity,
        kind=call.kind,
        payload=call.payload,
        result=result,
        set_aside=dict(aside),
        inputs={
            a.fingerprint: dict(zip(("step", "digest"), index[a.fingerprint], strict=True))
            for a in artifacts_in(call.bound)
            if a.fingerprint in index
        },
        digest=sha,
        calls=_total(asked),
        seconds=round(time.monotonic() - clock, 3),
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        launch=tools.launch,
        source=call.op.source,
        execution={"engine": _engine(asked, tools)} if asked else {},
        views=[
            ViewRecord(kind=v.kind, title=v.title, data=v.data, note=v.note) for v in artifact.views
        ],
        warnings=[str(v.data["text"]) for v in artifact.views if v.kind == "alarm"],
    )
    write(record, folder)
    for old in folder.glob("attempt-*"):
        shutil.rmtree(old, ignore_errors=True)
    return record


def errors_of(record: StepRecord) -> list[str]:
    """Returns what the grave alarms among the record's views say."""
    alarms = (view.data for view in record.shown() if view.kind == "alarm")
    return [str(alarm["text"]) for alarm in alarms if alarm.get("level") == "error"]


def _begin_with_errors(name: str, found: Metrics, errors: Mapping[str, Sequence[str]]) -> Metrics:
    """What concludes a run, or a scope of it, never passes over what went wrong there."""
    scope = name.rpartition("/")[0]
    within = f"{scope}/" if scope else ""
    told = [
        f"{step.removeprefix(within)}: {text}"
        for step, texts in errors.items()
        for text in texts
        if step.startswith(within)
    ]
    return dataclasses.replace(found, headline=" ".join([*told, found.headline]))


def _engine(asked: list[JournaledEngine], tools: Tools) -> dict[str, JSON]:
    """The engine's options and, of one that asks another program, who answered for which model."""
    served: list[JSON] = []
    for engine in asked:
        for note in engine.served:
            told: JSON = {"model": tools.models.name_of(engine.model), **as_mapping(note)}
            served += [] if told in served else [told]
    always = tools.options.get("name") in ("openai", "vllm")
    return {**tools.options, **({"served": served} if served or always else {})}


def put_given(call: Call, made: Dataset | Model, source: str, launch: int) -> StepRecord:
    """Put foreign rows, or a model, down in `call.folder` as the step's result; returns the record."""
    folder = call.folder
    folder.mkdir(parents=True, exist_ok=True)
    result: StepResult
    aside: Counter[str] = Counter()
    if isinstance(made, Dataset):
        for part in made.path.glob("part-*.parquet"):
            shutil.copy2(part, folder / part.name)
        files = {p.name: p.stat().st_size for p in folder.glob("part-*.parquet")}
        reasons = [row.set_aside for row in read_rows(folder)]
        aside.update(reason for reason in reasons if reason)
        result = {"count": made.count, "rows": len(reasons), "kind": made.kind, "files": files}
    else:
        form = made.prompt_format
        result = {"path": made.path, "prompt_format": form, "digest": made.digest}
    record = StepRecord(
        step=call.name,
        op=call.op.name,
        fingerprint=made.fingerprint,
        kind=call.kind,
        payload={"given": made.fingerprint},
        result=result,
        set_aside=dict(aside),
        digest=made.fingerprint,
        launch=launch,
        execution={"given": source},
    )
    write(record, folder)
    return record


def _store(
    call: Call, made: object, attempt: Path, progress: Progress
) -> tuple[Artifact, Counter[str], int]:
    """Consume what the op returned; rows are written as they come. Returns the artifact, the rows set
    aside by reason, and the number of all. Raises TypeError for what the op was not to return."""
    if isinstance(made, Model | Metrics | Choice):
        return made, Counter(), 0
    if not isinstance(made, Iterable):
        raise TypeError(f"{call.op.name} returned a {type(made).__name__}, not a {call.kind}")
    views: list[View] = []
    prefix = call.identity[:12]
    writing = 0.0

    def rows() -> Iterator[Row]:
        nonlocal writing
        generator = iter(made)
        for index in range(1 << 62):
            try:
                row = next(generator)
            except StopIteration as stop:
                views.extend(stop.value or ())
                return
            began = time.monotonic()
            yield row if row.id else dataclasses.replace(row, id=f"{prefix}-{index:06d}")
            writing += time.monotonic() - began

    shape = call.op.rows
    aside: Counter[str] = Counter()
    total = used = 0
    for row in write_rows(rows(), attempt, shape):
        total += 1
        if row.set_aside is None:
            used += 1
        else:
            aside[row.set_aside] += 1
        progress.wrote(call.name, writing)
        progress.rows(call.name, used, total)
    return Dataset(attempt, call.identity, used, shape, tuple(views)), aside, total


def _discard(folder: Path) -> None:
    """What a step made before and is now made again: nothing of it may pass for new. Record first."""
    (folder / RECORD).unlink()
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _total(asked: list[JournaledEngine]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for engine in asked:
        total.update(dataclasses.asdict(engine.calls))
    return dict(total)
