"""A step is a remembered call; a run is a directory of them.

`scope.step(name, op, *args)` binds the arguments, hashes their canonical form and looks for
`<name>-<12 hex>/record.json`. There: the artifact is loaded. Not there: the op is called, what comes
out is written, and the record is written last. That is all there is to resume, caching, lineage and
`plan`. What a step *is* (fingerprint.py), how a model is asked (engines) and trained (training) are
handed in; nothing here knows a recipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from woolgather import provenance, step_record
from woolgather.arguments import (
    OUT,
    EngineHandle,
    Kind,
    Pinned,
    artifacts_in,
    expected_of,
    placeholder,
    result_kind,
    row_kind,
)
from woolgather.artifacts import Artifact, Dataset, Model
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.journal import Calls, Journal, JournaledEngine
from woolgather.errors import DiskError, RunDirError, disk_error
from woolgather.expect import Expected
from woolgather.fingerprint import (
    canonical,
    explain_change,
    fingerprint,
    name_of,
    seed_of,
    source_hash,
    version_of,
)
from woolgather.lock import RunLock
from woolgather.progress import Progress
from woolgather.records import JSON
from woolgather.results import link, load, publish
from woolgather.step_record import RunRecord, StepRecord
from woolgather.storage import read_rows, write_rows
from woolgather.text_files import Texts
from woolgather.training.job import Trainer


@dataclasses.dataclass(frozen=True)
class Planned:
    """One line of a plan."""

    step: str
    state: Literal["remembered", "new", "given"]
    why: str
    expected: Expected
    seconds: float | None = None
    """Measured, for a remembered step."""


class Run:
    """The root scope. Use as a context manager; `plan=True` walks without writing.

    Raises RunDirError when the directory belongs to another recipe, is of a newer format, or is in
    use by another process.
    """

    def __init__(
        self,
        folder: Path,
        recipe: str,
        *,
        open_engine: Callable[[Model, EngineOptions, Path], Engine],
        trainer: Trainer,
        engine_options: EngineOptions | None = None,
        config: JSON = None,
        preset: JSON = None,
        recipe_source: str = "",
        replicate: int = 0,
        plan: bool = False,
        given: Mapping[str, str] | None = None,
        redo: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> None:
        self.dir = Path(folder).resolve()
        self.recipe = recipe
        self.replicate = replicate
        self.plan = plan
        self.planned: list[Planned] = []
        self.progress = progress or Progress()
        self._open_engine = open_engine
        self._trainer = trainer
        self._options = engine_options or EngineOptions()
        self._config, self._preset, self._source = config, preset, recipe_source
        self._given, self._redo = dict(given or {}), set(redo)
        self._index: dict[str, tuple[str, str]] = {}
        self._names: set[str] = set()
        self._engines: dict[tuple[str, str], Engine] = {}
        self._stack = contextlib.ExitStack()
        self._journal: Journal | None = None
        self._launch: RunRecord | None = None
        self._entries: list[dict[str, JSON]] = []
        self._doing = ""

    def __enter__(self) -> Run:
        try:
            return self._opened_directory()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def _opened_directory(self) -> Run:
        exists = (self.dir / step_record.RUN).is_file()
        if exists:
            found = step_record.read_run(self.dir)
            if found.get("recipe") != self.recipe:
                raise RunDirError(
                    f"{self.dir} is a run of {found.get('recipe')!r}, not of {self.recipe!r}. "
                    "Give another directory with --dir."
                )
            pinned = str(found.get("date"))
        else:
            pinned = date.today().isoformat()
        self._options = dataclasses.replace(self._options, date=pinned)
        if self.plan:
            self.inputs_dir = self.dir / step_record.INPUTS
            if not exists:
                temp = self._stack.enter_context(tempfile.TemporaryDirectory())
                self.inputs_dir = Path(temp)
            return self
        self.dir.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(RunLock(self.dir))
        if not exists:
            head = {"recipe": self.recipe, "date": pinned, "replicate": self.replicate}
            created = datetime.now(UTC).isoformat(timespec="seconds")
            step_record.write_run(self.dir, {**head, "created": created, "title": self.dir.name})
        self.inputs_dir = self.dir / step_record.INPUTS
        self._journal = Journal(self.dir / "journal.sqlite")
        self._stack.callback(self._journal.close)
        launches = step_record.read_launches(self.dir)
        before = launches[-1] if launches else None
        origin = before.config if before else self._preset
        self._launch = RunRecord(
            launch=(before.launch if before else 0) + 1,
            recipe=self.recipe,
            recipe_source=self._source,
            config=self._config,
            config_changes=explain_change(origin, self._config) if origin is not None else [],
            provenance=provenance.capture(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._save_launch("running", "")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        full = disk_error(error, self.dir, self._doing)
        try:
            self.close_engines()
            if self._launch is not None:
                stopped = kind is not None and kind.__name__ in ("Stopped", "KeyboardInterrupt")
                status = "finished" if kind is None else "stopped" if stopped else "failed"
                self._save_launch(status, str(full or error or ""))
                if status == "finished" and self._launch.result:
                    link(self.dir / self._launch.result, self.dir / "result")
        except OSError as later:
            if error is None:
                error, full = later, disk_error(later, self.dir)
            if full is None and not isinstance(error, DiskError):
                raise
        finally:
            self._stack.close()
        if full is not None:
            raise full from error

    # -- what a recipe uses ---------------------------------------------------------------------

    def step(self, name: str, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._step(name, op, args, kwargs)

    def scope(self, name: str) -> Scope:
        return Scope(self, f"{name}/")

    def model(self, name: str, source: str | Model) -> Model:
        """A model from outside, known by content (see inputs.py); `name` stands for it in messages."""
        from woolgather import inputs

        found = inputs.open_model(source)
        if not isinstance(source, Model):
            self._index.setdefault(found.fingerprint, (name, found.fingerprint))
        return found

    def rows(self, name: str, source: str | Path | Dataset, **how: Any) -> Dataset:
        """Rows from outside as a Dataset of this run (see inputs.py)."""
        from woolgather import inputs

        found = inputs.open_dataset(source, self.inputs_dir, name.replace("/", "-"), **how)
        if not isinstance(source, Dataset):
            self._index.setdefault(found.fingerprint, (name, found.fingerprint))
        return found

    def _note_texts(self, bound: Mapping[str, Any]) -> None:
        """Texts become known to the run with the first step that reads them (see inputs.py)."""
        from woolgather import inputs

        for found in artifacts_in(bound):
            if isinstance(found, Texts) and found.fingerprint not in self._index:
                self._index[found.fingerprint] = ("texts", found.fingerprint)
                if not self.plan:
                    inputs.note_texts(found, self.inputs_dir, "texts")

    def given(self, name: str) -> bool:
        """Whether this step's result was handed in (--given): what only it needs can be left out."""
        return name in self._given

    def engine(self, model: Model) -> Any:
        """A handle on `model` for a step's arguments; no model is loaded before a step asks it."""
        return EngineHandle(model, self._options)

    def trainer(self) -> Trainer:
        return self._trainer

    def close_engines(self, keep: Model | None = None) -> None:
        """Free what the open engines hold, but for the one of `keep`."""
        for key, engine in list(self._engines.items()):
            if keep is None or key != (keep.path, keep.prompt_format):
                del self._engines[key]
                engine.close()

    # -- one step -------------------------------------------------------------------------------

    def _step(
        self, name: str, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name in self._names:
            raise ValueError(f"step {name!r} is named twice in one recipe")
        self._names.add(name)
        self._doing = name
        bound = self._bind(name, op, args, kwargs)
        kind = result_kind(op)
        self._note_texts(bound)
        payload = {
            "op": name_of(op),
            "version": version_of(op),
            "args": {
                key: canonical(value, f"{name}: args.{key}")
                for key, value in bound.items()
                if not isinstance(value, Pinned)
            },
        }
        if name in self._given:
            return self._take_given(name, op, kind, payload)
        identity = fingerprint(payload)
        folder = self.dir / step_record.step_dir(name, identity)
        inputs = {a.fingerprint: self._index.get(a.fingerprint) for a in artifacts_in(bound)}
        record, why = self._recall(name, folder, identity, payload, inputs)
        expected = expected_of(op, bound)
        if record is not None:
            if record.source != source_hash(op):
                self.progress.note(
                    f"{name}: remembered from an older version of its code; "
                    f"to do it again: --redo {name}"
                )
            self._enter(name, identity, folder, "remembered", "", expected, record)
            return load(record, folder)
        if self.plan:
            self._index[identity] = (name, "")
            self.planned.append(Planned(name, "new", why, expected))
            return placeholder(kind, identity, expected, bound)
        return self._execute(name, op, bound, kind, payload, identity, folder, why, expected)

    def _bind(
        self, name: str, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        signature = inspect.signature(op)
        if "seed" in signature.parameters and "seed" not in kwargs:
            kwargs = {**kwargs, "seed": seed_of(name, self.replicate)}
        if "out" in signature.parameters:
            kwargs = {**kwargs, "out": OUT}
        if "date" in signature.parameters and "date" not in kwargs:
            kwargs = {**kwargs, "date": Pinned(self._options.date)}
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _recall(
        self,
        name: str,
        folder: Path,
        identity: str,
        payload: JSON,
        inputs: Mapping[str, tuple[str, str] | None],
    ) -> tuple[StepRecord | None, str]:
        """The record that stands for this call, or why there is none."""
        if name in self._redo:
            return None, "asked for with --redo"
        if not (folder / step_record.RECORD).is_file():
            return None, self._explain(name, payload)
        record = step_record.read(folder)
        if record.fingerprint != identity:
            return None, "another step has the same directory name"
        for print_, entry in inputs.items():
            used = record.inputs.get(print_, {}).get("digest")
            if entry and not entry[1] and self.plan:
                return None, f"{entry[0]} runs again"
            if entry and used and used != entry[1]:
                return None, f"{entry[0]} was made again with other content"
        for file, size in dict(record.result.get("files") or {}).items():
            path = folder / file
            if not path.is_file() or path.stat().st_size != size:
                return None, f"{path} is missing or has another size"
        return record, ""

    def _explain(self, name: str, payload: JSON) -> str:
        """Why there is no result yet, from the newest earlier one of the same name."""
        parent = (self.dir / name).parent
        stem = name.rsplit("/", 1)[-1]
        length = len(stem) + 13
        old = [
            p / step_record.RECORD
            for p in parent.glob(f"{stem}-*")
            if len(p.name) == length and (p / step_record.RECORD).is_file()
        ]
        if not old:
            return "not done yet"
        before = step_record.read(max(old, key=lambda p: p.stat().st_mtime)).payload
        names = {k: v[0] for k, v in self._index.items()}
        for path in self.dir.glob("**/" + step_record.RECORD):
            with contextlib.suppress(RunDirError):
                found = step_record.read(path)
                names.setdefault(found.fingerprint, found.step)
        lines = explain_change(_named(before, names), _named(payload, names))
        raw = explain_change(before, payload)
        if not lines and raw:
            changed = {k: v for k, v in names.items() if any(k[:12] in line for line in raw)}
            lines = [f"{step} changed" for step in sorted(set(changed.values()))]
        return "new because " + "; ".join(lines[:4] + (["..."] if len(lines) > 4 else []))

    def _execute(
        self,
        name: str,
        op: Callable[..., Any],
        bound: dict[str, Any],
        kind: Kind,
        payload: JSON,
        identity: str,
        folder: Path,
        why: str,
        expected: Expected,
    ) -> Any:
        assert self._journal is not None
        assert self._launch is not None
        self.progress.step_started(name, why, expected)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / step_record.RECORD).is_file():
            _discard(folder)
        number = 1 + max((int(p.name.split("-")[1]) for p in folder.glob("attempt-*")), default=0)
        attempt = folder / f"attempt-{number}"
        attempt.mkdir()
        asked: list[JournaledEngine] = []

        def live(value: Any) -> Any:
            if isinstance(value, EngineHandle):
                model = value.model
                engine = JournaledEngine(
                    model,
                    self._journal,  # type: ignore[arg-type]
                    lambda: self._opened(model),
                    lambda calls: self.progress.calls(name, calls),
                )
                asked.append(engine)
                return engine
            if value is OUT:
                return attempt
            if isinstance(value, Pinned):
                return value.date
            if isinstance(value, tuple | list):
                return [live(v) for v in value]
            return value

        if "trainer" in bound:
            self.close_engines()
        started, clock = datetime.now(UTC), time.monotonic()
        made = op(**{key: live(value) for key, value in bound.items()})
        artifact, aside, total = self._store(name, made, kind, op, attempt, identity)
        result, sha = publish(artifact, attempt, folder)
        if isinstance(artifact, Dataset):
            result["rows"] = total
        record = StepRecord(
            step=name,
            op=payload["op"],
            op_version=payload["version"],
            fingerprint=identity,
            kind=kind,
            payload=payload,
            result=result,
            set_aside=dict(aside),
            inputs={
                a.fingerprint: dict(
                    zip(("step", "digest"), self._index[a.fingerprint], strict=True)
                )
                for a in artifacts_in(bound)
                if a.fingerprint in self._index
            },
            digest=sha,
            calls=_total(asked),
            seconds=round(time.monotonic() - clock, 3),
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            launch=self._launch.launch,
            source=source_hash(op),
            execution=self._execution(asked),
            views=[dataclasses.asdict(view) for view in artifact.views],
            warnings=[v.data["text"] for v in artifact.views if v.kind == "alarm"],
        )
        step_record.write(record, folder)
        for old in folder.glob("attempt-*"):
            shutil.rmtree(old, ignore_errors=True)
        self._enter(name, identity, folder, "ran", why, expected, record)
        self.progress.step_finished(name, record)
        return load(record, folder)

    def _store(
        self,
        name: str,
        made: Any,
        kind: Kind,
        op: Callable[..., Any],
        attempt: Path,
        identity: str,
    ) -> tuple[Artifact, Counter[str], int]:
        """Consume what the op returned; rows are written as they come."""
        if kind != "dataset":
            return made, Counter(), 0
        views: list[Any] = []

        def rows() -> Iterator[Any]:
            generator = iter(made)
            for index in range(1 << 62):
                try:
                    row = next(generator)
                except StopIteration as stop:
                    views.extend(stop.value or ())
                    return
                yield row if row.id else dataclasses.replace(row, id=f"{identity[:12]}-{index:06d}")

        shape = row_kind(op)
        aside: Counter[str] = Counter()
        total = used = 0
        for row in write_rows(rows(), attempt, shape):
            total += 1
            if row.set_aside is None:
                used += 1
            else:
                aside[row.set_aside] += 1
            self.progress.rows(name, used, total)
        return Dataset(attempt, identity, used, shape, tuple(views)), aside, total

    def _take_given(self, name: str, op: Callable[..., Any], kind: Kind, payload: JSON) -> Any:
        """`--given STEP=PATH`: foreign rows or a model stand for the step's result."""
        from woolgather import inputs

        if kind not in ("dataset", "model"):
            raise RunDirError(f"--given {name}: only steps that make rows or a model can be given")
        source = self._given[name]
        if kind == "model":
            made: Artifact = inputs.open_model(source)
        else:
            stem = name.replace("/", "-")
            made = inputs.open_dataset(
                source, self.inputs_dir, stem, needs_response=False, kind=row_kind(op)
            )
        self.progress.note(f"{name}: given, {source}")
        self._index[made.fingerprint] = (name, made.fingerprint)
        if self.plan:
            self.planned.append(Planned(name, "given", source, Expected()))
            return made
        folder = self.dir / step_record.step_dir(name, made.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        result: dict[str, JSON]
        if isinstance(made, Dataset):
            for part in made.path.glob("part-*.parquet"):
                shutil.copy2(part, folder / part.name)
            files = {p.name: p.stat().st_size for p in folder.glob("part-*.parquet")}
            total = sum(1 for _ in read_rows(folder))
            result = {"count": made.count, "rows": total, "kind": made.kind, "files": files}
        else:
            assert isinstance(made, Model)
            form = made.prompt_format
            result = {"path": made.path, "prompt_format": form, "digest": made.digest}
        record = StepRecord(
            step=name,
            op=payload["op"],
            fingerprint=made.fingerprint,
            kind=kind,
            payload={"given": made.fingerprint},
            result=result,
            digest=made.fingerprint,
            launch=self._launch.launch if self._launch else 0,
            execution={"given": source},
        )
        step_record.write(record, folder)
        self._enter(name, made.fingerprint, folder, "given", source, Expected(), record)
        return load(record, folder)

    # -- bookkeeping ----------------------------------------------------------------------------

    def _opened(self, model: Model) -> Engine:
        key = (model.path, model.prompt_format)
        if key not in self._engines:
            self.close_engines()
            self.progress.note(f"loading {model.path}")
            self._engines[key] = self._open_engine(model, self._options, self.dir / "engine.log")
        return self._engines[key]

    def _enter(
        self,
        name: str,
        identity: str,
        folder: Path,
        state: Literal["ran", "remembered", "given"],
        why: str,
        expected: Expected,
        record: StepRecord,
    ) -> None:
        self._index[identity] = (name, record.digest)
        if self.plan:
            self.planned.append(Planned(name, "remembered", why, expected, record.seconds))
            return
        if state == "remembered":
            self.progress.step_remembered(name, record)
        path = folder.relative_to(self.dir).as_posix()
        self._entries.append(
            {"step": name, "fingerprint": identity, "path": path, "state": state, "why": why}
        )
        self._save_launch("running", "")

    def _save_launch(self, status: Any, message: str) -> None:
        assert self._launch is not None
        done = datetime.now(UTC).isoformat(timespec="seconds") if status != "running" else None
        models = [str(e["path"]) for e in self._entries if e["step"] == "result"]
        made = step_record.read(self.dir / models[-1]).result["path"] if models else None
        self._launch = dataclasses.replace(
            self._launch,
            status=status,
            message=message,
            finished=done,
            steps=list(self._entries),
            result=f"{models[-1]}/{made}" if models else None,
        )
        step_record.write_launch(self._launch, self.dir)

    def _execution(self, asked: list[JournaledEngine]) -> dict[str, JSON]:
        if not asked:
            return {}
        options = {k: v for k, v in dataclasses.asdict(self._options).items() if v}
        return {"engine": canonical(options)}


@dataclasses.dataclass(frozen=True)
class Scope:
    """A prefix of step names within a run, and of what comes from outside; recipes compose through
    it. The run's result is the root's step `result`; one in a scope is a model like any other."""

    run: Run
    prefix: str

    def step(self, name: str, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.run._step(self.prefix + name, op, args, kwargs)

    def scope(self, name: str) -> Scope:
        return Scope(self.run, f"{self.prefix}{name}/")

    def model(self, name: str, source: str | Model) -> Model:
        return self.run.model(self.prefix + name, source)

    def rows(self, name: str, source: str | Path | Dataset, **how: Any) -> Dataset:
        return self.run.rows(self.prefix + name, source, **how)

    def given(self, name: str) -> bool:
        return self.run.given(self.prefix + name)

    def engine(self, model: Model) -> Any:
        return self.run.engine(model)

    def trainer(self) -> Trainer:
        return self.run.trainer()


def _discard(folder: Path) -> None:
    """What a step made before and is now made again: nothing of it may pass for new. Record first."""
    (folder / step_record.RECORD).unlink()
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


def _named(payload: JSON, names: Mapping[str, str]) -> JSON:
    """The payload with artifacts shown by the step that made them."""
    if isinstance(payload, dict):
        return {k: _named(v, names) for k, v in payload.items()}
    if isinstance(payload, list):
        return [_named(v, names) for v in payload]
    if isinstance(payload, str) and len(payload) == 64:
        return names.get(payload, payload[:12])
    return payload


__all__ = ["OUT", "Calls", "EngineHandle", "Planned", "Run", "Scope", "result_kind"]
