"""How a step's result reaches the disk and comes back: data first, the record (written by the run) last.

Files are made in the directory of an attempt and moved to their place when the op is done, so that a
late writer of a killed attempt cannot touch them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from woolgather.core.artifacts import Artifact, Choice, Dataset, Metrics, Model
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.storage import digest, write_json
from woolgather.runs.record import METRICS, StepRecord, StepResult


def publish(artifact: Artifact, attempt: Path, folder: Path) -> tuple[StepResult, str]:
    """Move the attempt's files to their place; returns what the record says of them, and their digest.

    Nothing marks them finished until the record is written."""
    model_path = ""
    if isinstance(artifact, Model):
        path, attempt = Path(artifact.path), attempt.resolve()
        path = path.resolve() if path.exists() else path
        inside = path.is_relative_to(attempt)
        model_path = path.relative_to(attempt).as_posix() if inside else artifact.path
    if isinstance(artifact, Metrics):
        content = {"values": artifact.values, "items": artifact.items}
        write_json(attempt / METRICS, content)
    for item in attempt.iterdir():
        if item.name.startswith("checkpoint"):
            continue
        target = folder / item.name
        if target.is_dir():
            shutil.rmtree(target)
        item.replace(target)
    if isinstance(artifact, Choice):
        value = canonical(artifact.value)
        return {"value": value, "why": artifact.why}, fingerprint(value)
    if isinstance(artifact, Metrics):
        file = folder / METRICS
        said: StepResult = {"headline": artifact.headline, "concludes": artifact.concludes}
        measured: StepResult = {"values": dict(artifact.values), "items_file": METRICS}
        return {**measured, **said, "files": {file.name: file.stat().st_size}}, digest(file)
    if isinstance(artifact, Dataset):
        files = {p.name: p.stat().st_size for p in sorted(folder.glob("part-*.parquet"))}
        sha = fingerprint([digest(folder / f) for f in files])
        return {"count": artifact.count, "kind": artifact.kind, "files": files}, sha
    assert isinstance(artifact, Model)
    where = folder / model_path
    result: StepResult = {"path": model_path, "prompt_format": artifact.prompt_format}
    if not where.is_dir():
        return result, artifact.fingerprint
    inner = {
        f"{p.relative_to(folder).as_posix()}": p.stat().st_size
        for p in sorted(where.rglob("*"))
        if p.is_file()
    }
    return {**result, "files": inner}, digest(where)


def load(record: StepRecord, folder: Path) -> Artifact:
    """Returns what a finished step made, with the step's fingerprint."""
    result, identity = record.result, record.fingerprint
    if record.kind == "dataset":
        return Dataset(folder, identity, result["count"], result["kind"])
    if record.kind == "model":
        local = folder / result["path"]
        path = str(local.resolve()) if local.exists() else result["path"]
        made = record.digest if "files" in result else result.get("digest", "")
        return Model(path, identity, result["prompt_format"], digest=made)
    if record.kind == "metrics":
        content = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        return Metrics(
            content["values"],
            content["items"],
            identity,
            headline=record.headline,
            concludes=record.concludes,
        )
    return Choice(result["value"], result["why"], identity)


def next_attempt(folder: Path) -> int:
    """Returns the number of the next attempt at a step, from 1."""
    return 1 + max((int(p.name.split("-")[1]) for p in folder.glob("attempt-*")), default=0)


def link(source: Path, target: Path) -> None:
    """Make `target` a copy of a directory's files, by hard links where the disk has them: whole or not
    at all, and what was there goes. Attempts are left out: who made the step may be deleting them."""
    temp = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temp, ignore_errors=True)
    parts = [part for part in source.iterdir() if not part.name.startswith("attempt-")]
    files = [file for part in parts for file in (part.rglob("*") if part.is_dir() else [part])]
    for file in sorted(file for file in files if file.is_file()):
        place = temp / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(file)
        except OSError:
            shutil.copy2(file, place)
    shutil.rmtree(target, ignore_errors=True)
    if temp.is_dir():
        temp.replace(target)
