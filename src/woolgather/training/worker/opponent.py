"""The opponent's log-probabilities: computed once per pair, before the first update, and kept.

The one idea: a frozen model says the same of a pair each time, so it is asked once and then let go: one
model less in memory, and a forward pass less in every epoch but the first. It is asked in the very
batches of the first epoch, so that where it is the start the first margin is exactly 0. What it said
lies beside the checkpoints, and the next attempt goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from woolgather.training.checkpoints import complete, is_complete, opponent_dir
from woolgather.training.worker.devices.processes import rank, world

if TYPE_CHECKING:
    from datasets import Dataset

LOGPS = ("ref_chosen_logps", "ref_rejected_logps")
"""The columns in which TRL looks for them."""


def read_opponent(out: Path, digest: str, part: str, rows: Dataset) -> Dataset | None:
    """Returns `rows` with what the opponent said of them; None where it has not been asked. `part` is
    "train" or "validation"."""
    import pyarrow.parquet as pq

    folder = opponent_dir(out)
    if not is_complete(folder, digest):
        return None
    table = pq.read_table(folder / f"{part}.parquet")
    return add_logps(rows, [table[name].to_pylist() for name in LOGPS])


def write_opponent(out: Path, digest: str, parts: dict[str, Dataset]) -> None:
    """Keep what was said of the rows of each part, for this attempt and the next."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = opponent_dir(out)
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        table = pa.table({name: pa.array(rows[name], pa.float32()) for name in LOGPS})
        pq.write_table(table, folder / f"{part}.parquet")
    complete(folder, 0, digest)


def add_logps(rows: Dataset, columns: Sequence[Sequence[float]]) -> Dataset:
    """Returns the rows with one value per pair in each of `LOGPS`."""
    for name, values in zip(LOGPS, columns, strict=True):
        rows = rows.add_column(name, list(values))
    return rows


def own_batches(order: Sequence[int], size: int) -> Iterator[tuple[list[int], bool]]:
    """Yields the rows of each batch that this process takes, in turn with the others, and whether they
    count: all processes take equally many, since the parts of a sharded model are gathered by all."""
    batches = [list(order[i : i + size]) for i in range(0, len(order), size)]
    for first in range(0, len(batches), world()):
        number = first + rank()
        yield batches[min(number, len(batches) - 1)], number < len(batches)


def new_scores(rows: int, device: torch.device) -> torch.Tensor:
    """Returns zeros, one per pair and side, to be filled by all processes and added up."""
    return torch.zeros(rows, len(LOGPS), device=device)
