"""What a training process leaves in its directory, and how it is read: names and formats, no torch.

The one idea: parent, worker and fake agree here and nowhere else. A checkpoint counts only with its
marker, which is written after all its bytes are on disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.training.job import EPOCHS, MARKER

JOB, LOG, PROGRESS, ERROR, STOP = "job.json", "train.log", "progress.jsonl", "error.json", "stop"
ERRORS = "error*.json"
"""Pattern of what `error_file` names, for all processes."""
CHECKPOINTS = "checkpoints"
STOPPED = 75
"""Exit code of a worker that was asked to stop and has saved a checkpoint."""
_NUMBERS = ("epoch", "loss", "learning_rate", "validation_loss")


@dataclass(frozen=True)
class Kept:
    """A model that was kept because none before had a lower validation loss."""

    loss: float
    update: int
    path: Path


def complete(folder: Path, update: int, digest: str, loss: float | None = None) -> None:
    """Mark a checkpoint, or a kept model, of the job with this digest, once all its bytes are on disk;
    `loss` is that of validation, where it was kept for it."""
    for file in [p for p in folder.rglob("*") if p.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    told: dict[str, JSON] = {"update": update, "job": digest}
    write_json(folder / MARKER, told if loss is None else {**told, "loss": loss})


def is_complete(folder: Path, digest: str) -> bool:
    """Returns whether a folder was marked as the job's with this digest."""
    marker = folder / MARKER
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")).get("job") == digest


def error_file(out: Path, rank: int) -> Path:
    """Returns where a process of this number says why it failed."""
    return out / (ERROR if rank == 0 else f"error-{rank}.json")


def best_dir(out: Path, update: int) -> Path:
    """Returns where the model after an update is kept while it is the best."""
    return out / CHECKPOINTS / f"best-{update}"


def opponent_dir(out: Path) -> Path:
    """Returns where the opponent's log-probabilities are kept, marked like a checkpoint."""
    return out / CHECKPOINTS / "opponent"


def best_of(attempts: Sequence[Path], digest: str) -> Kept | None:
    """Returns the kept model with the lowest validation loss, the earliest of equals; None without."""
    found = []
    for folder in (p for attempt in attempts for p in attempt.glob(f"{CHECKPOINTS}/best-*")):
        if is_complete(folder, digest):
            told = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            found.append(Kept(float(told["loss"]), int(told["update"]), folder))
    return min(found, key=lambda kept: (kept.loss, kept.update), default=None)


def kept_models(attempt: Path, digest: str) -> list[Path]:
    """Returns the directories of the models that an attempt at a job has kept, complete ones only."""
    folders = [*attempt.glob(f"{CHECKPOINTS}/best-*"), *attempt.glob(f"{EPOCHS}/epoch-*")]
    return [folder for folder in sorted(folders) if is_complete(folder, digest)]


def checkpoints(attempts: Sequence[Path], digest: str) -> Iterator[tuple[int, Path]]:
    """Yields (update, directory) of the complete checkpoints of a job in the directories of attempts."""
    for attempt in attempts:
        for marker in attempt.glob(f"{CHECKPOINTS}/checkpoint-*/{MARKER}"):
            told = json.loads(marker.read_text(encoding="utf-8"))
            if told.get("job") == digest:
                yield int(told["update"]), marker.parent


def write_curves(rows: Sequence[Mapping[str, float]], path: Path, more: Sequence[str] = ()) -> None:
    """Write rows by update: `update`, `epoch`, `loss`, `learning_rate`, `validation_loss`, and `more`;
    what a row lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = pa.schema([("update", pa.int64()), *((n, pa.float64()) for n in (*_NUMBERS, *more))])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=shape), path, compression="zstd")


def tidy_generation_config(model_dir: Path) -> None:
    """Take sampling defaults without `do_sample` out of a model's generation config, where they only
    make transformers warn."""
    path = model_dir / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in ("_from_model_config", "output_attentions", "output_hidden_states"):
        settings.pop(name, None)
    if not settings.get("do_sample"):
        for name in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
            settings.pop(name, None)
    write_json(path, settings)
