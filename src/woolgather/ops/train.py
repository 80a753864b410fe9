"""Supervised fine-tuning: rows become token ids and labels here, and a launched process trains on them.

Loss is on the response and its one end token. The order of rows is fixed by the seed; which rows are
held back for validation too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from woolgather.artifacts import Model
from woolgather.errors import YieldError
from woolgather.expect import Expected, expects
from woolgather.ops.mix import messages_of
from woolgather.records import Example, question
from woolgather.training.job import SftOptions, Trainer, TrainJob

ROW_TOKENS = 160
"""Of a training row, for plans."""
ADAPTER_BYTES = 12_000_000
"""Of an adapter with its optimizer state, for plans."""


def _work(rows: Any, *, start: Model, config: SftOptions, **_: Any) -> Expected:
    count = len(rows)
    trained = count * config.epochs
    return Expected(
        updates=config.updates(count),
        train_tokens=int(trained * ROW_TOKENS),
        disk_bytes=ADAPTER_BYTES if config.lora else _size(start) * 4,
    )


@expects(_work)
def sft(
    rows: Iterable[Example],
    *,
    start: Model,
    config: SftOptions,
    trainer: Trainer,
    out: Path,
    min_rows: int = 8,
    seed: int = 0,
) -> Model:
    """`start` tuned on `rows`: an adapter directory, or full weights.

    Raises YieldError with advice when fewer than `min_rows` rows are there, TrainingError when the
    process fails."""
    examples = list(rows)
    if len(examples) < min_rows:
        raise YieldError(
            f"only {len(examples)} rows to train on (at least {min_rows} are needed). Keep more "
            "(a lower keep.above, keep.by=fraction), ask for more (per_iteration), or leave the "
            "seeds in (mix.seeds=true)."
        )
    rng = random.Random(seed)
    rng.shuffle(examples)
    held = round(len(examples) * config.validation)
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    encoded = (
        [encode(row, start) for row in examples] if _fake(start) else _encoded(examples, start)
    )
    write_tokens(encoded[held:], data / "train.parquet")
    if held:
        write_tokens(encoded[:held], data / "validation.parquet")
    job = TrainJob("sft", start, data, config.model_dump(mode="json"), seed)
    return trainer(job, out)


def _fake(start: Model) -> bool:
    return start.path.startswith("fake") or "/fake" in start.path


def encode(row: Example, start: Model) -> tuple[list[int], list[int]]:
    """Ids of words, for a fake model that has no tokenizer."""
    prompt, response = question(row).split(), row.response.split()
    ids = [sum(map(ord, word)) % 1000 for word in (*prompt, *response)]
    return ids, [-100] * len(prompt) + ids[len(prompt) :]


def _encoded(rows: list[Example], start: Model) -> list[tuple[list[int], list[int]]]:
    from woolgather.tokens import Renderer

    renderer = Renderer(start.path)
    return [renderer.training_ids(messages_of(row), row.response) for row in rows]


def write_tokens(rows: list[tuple[list[int], list[int]]], path: Path) -> None:
    """`input_ids` and `labels` as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"input_ids": [r[0] for r in rows], "labels": [r[1] for r in rows]})
    pq.write_table(table, path, compression="zstd")


def _size(model: Model) -> int:
    path = Path(model.path)
    return sum(f.stat().st_size for f in path.glob("*.safetensors")) if path.is_dir() else 0
