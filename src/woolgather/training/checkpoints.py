"""What a training process leaves in its directory, and how it is read: names and formats, no torch.

The one idea: parent, worker and fake agree here and nowhere else. A checkpoint counts only with its
marker, which is written after all its bytes are on disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from woolgather.core.storage import write_json

JOB, LOG, PROGRESS, ERROR, STOP = "job.json", "train.log", "progress.jsonl", "error.json", "stop"
CHECKPOINTS = "checkpoints"
MARKER = "complete.json"
"""In a checkpoint, written last: its update and the digest of its job."""
STOPPED = 75
"""Exit code of a worker that was asked to stop and has saved a checkpoint."""
_NUMBERS = ("epoch", "loss", "learning_rate", "validation_loss")


def complete(checkpoint: Path, update: int, digest: str) -> None:
    """Mark a checkpoint of the job with this digest, once all its bytes are on disk."""
    for file in [p for p in checkpoint.rglob("*") if p.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    write_json(checkpoint / MARKER, {"update": update, "job": digest})


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
