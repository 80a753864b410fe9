"""Training for dry runs and tests: a directory that says what would have been trained.

Its bytes follow from the job and nothing else, its path holds the word fake, and its stamp marks it,
so that nothing made from it passes for a real model. It leaves the files that a real trainer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.expected import DeviceMemory
from woolgather.core.fingerprint import fingerprint
from woolgather.core.machine_speed import Precision
from woolgather.core.rows import JSON
from woolgather.core.storage import digest, write_json
from woolgather.training.checkpoints import write_curves
from woolgather.training.job import (
    CURVES,
    MODEL,
    PAIR_NUMBERS,
    RESULT,
    STAMP,
    DpoOptions,
    MergeOptions,
    SftOptions,
    TrainJob,
    epoch_dir,
)


class FakeTrainer:
    """A Trainer that takes no time. Its losses are made up: they fall, and follow from the job."""

    def __canonical__(self) -> str:
        return "fake"

    def precision(self, *, measure: bool = True) -> Precision:
        """Returns bfloat16 on every machine, so that a dry run is the same everywhere."""
        return "bfloat16"

    def memory(self, start: Model, options: SftOptions | DpoOptions) -> DeviceMemory | None:
        """Returns None: a name takes no memory."""
        return None

    def check(self) -> None:
        """Nothing is asked of this machine."""

    def __call__(self, job: TrainJob, out: Path) -> Model:
        """Write what a trainer would leave to `out`; returns a model that only has a name."""
        stamp: dict[str, JSON] = {
            "kind": job.kind,
            "start": job.start.fingerprint,
            "data": digest(job.data) if job.data else None,
            "config": job.options.model_dump(mode="json"),
            "seed": job.seed,
            **({"reference": job.reference.fingerprint} if job.reference else {}),
        }
        folder = out / MODEL / "fake"
        _leave(folder, stamp)
        if isinstance(job.options, DpoOptions):
            for epoch in job.options.earlier_epochs:
                _leave(epoch_dir(out, epoch), {**stamp, "epoch": epoch})
        result: dict[str, JSON] = {"seconds": None, "execution": {"device": "fake"}}
        if isinstance(job.options, MergeOptions):
            if job.options.card:
                (folder / "README.md").write_text(job.options.card, encoding="utf-8")
        elif job.data is not None:
            result |= _pretend(job.options, job.data, stamp, out)
        write_json(out / RESULT, result)
        form = job.start.prompt_format if job.kind == "merge" else "chat"
        return Model(str(folder), prompt_format=form)


def _leave(folder: Path, stamp: JSON) -> None:
    """Makes a directory that stands for a model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STAMP, stamp)


def _pretend(
    config: SftOptions | DpoOptions, data: Path, stamp: JSON, out: Path
) -> dict[str, JSON]:
    """Writes a falling curve to `out`; returns the numbers of the training."""
    import pyarrow.parquet as pq

    rows = pq.read_table(data / "train.parquet").to_pylist()
    held = (data / "validation.parquet").is_file()
    updates = config.max_updates or config.updates_of(len(rows))
    start = 2 + int(fingerprint(stamp)[:4], 16) / 65536
    curve: list[dict[str, float]] = [
        {
            "update": u,
            "epoch": config.epochs * u / updates,
            "loss": round(start / (1 + u / 10), 6),
            "learning_rate": config.learning_rate * (1 - u / updates),
        }
        for u in range(1, updates + 1)
    ]
    if held:
        curve[-1]["validation_loss"] = curve[-1]["loss"]
    result: dict[str, JSON] = {
        "updates": updates,
        "epochs": config.epochs,
        "rows": len(rows),
        "tokens": round(sum(map(_tokens, rows)) * config.epochs),
        "loss": curve[-1]["loss"],
        "validation_loss": curve[-1]["loss"] if held else None,
    }
    if isinstance(config, DpoOptions):
        for row in curve:
            row.update(_preferring(config.beta, int(row["update"]) - 1, updates))
        result |= {"margin_at_start": 0.0, "margin": curve[-1]["margin"]}
        result |= {"accuracy": curve[-1]["accuracy"]}
    write_curves(curve, out / CURVES, PAIR_NUMBERS if isinstance(config, DpoOptions) else ())
    return result


def _tokens(row: Mapping[str, list[int]]) -> int:
    return sum(len(ids) for name, ids in row.items() if name != "labels")


def _preferring(beta: float, done: int, updates: int) -> dict[str, float]:
    """Real answers gain a little and generated ones lose more, as in a training that goes well."""
    real, generated = round(2 * done / updates, 6), round(-8 * done / updates, 6)
    return {
        "real_logp": -60 + real,
        "generated_logp": -50 + generated,
        "real_gain": real,
        "generated_gain": generated,
        "margin": round(beta * (real - generated), 6),
        "accuracy": round(0.5 + done / (2 * updates), 6),
    }
