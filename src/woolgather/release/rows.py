"""The rows of a run as a data set of the hub: a configuration per step, Parquet as its viewer reads it.

    iter0/keep/train.parquet         rows in use
    iter0/keep/set_aside.parquet     the others, with their reasons

The one idea: what is used and what is set aside are two splits of one configuration, so that
`load_dataset(name, "iter0-keep")` gives what the next step saw, and nothing that was set aside is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.core.rows import Row
from woolgather.core.storage import read_rows, schema, to_record
from woolgather.report.collect import RunReport, Step

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 1000
"""Rows of a row group: the hub's viewer reads a page of rows by one."""
SPLITS = ("train", "set_aside")


@dataclass(frozen=True)
class Configuration:
    """The rows of one step as the data set has them."""

    step: str
    counts: dict[str, int]
    """Rows by split; a split without rows is left out."""

    @property
    def name(self) -> str:
        """Returns the name by which it is loaded: a step's, with hyphens for slashes."""
        return self.step.replace("/", "-")

    @property
    def files(self) -> dict[str, str]:
        """Returns the file of each split, relative to the data set."""
        return {split: f"{self.step}/{split}.parquet" for split in self.counts}


def write_configurations(run: RunReport, steps: Sequence[Step], out: Path) -> list[Configuration]:
    """Writes the rows of `steps` below `out`; returns what was written, without steps that have none."""
    found = []
    for step in steps:
        source = run.path / str(step.entry["path"])
        counts = {split: _write_split(source, out / step.record.step, split) for split in SPLITS}
        there = {split: count for split, count in counts.items() if count}
        if there:
            found.append(Configuration(step.record.step, there))
    return found


def _write_split(source: Path, folder: Path, split: str) -> int:
    """Writes one split; returns its number of rows, and leaves no file where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = (row for row in read_rows(source) if (row.set_aside is None) == (split == "train"))
    shape, count = _schema_of(source), 0
    writer: pq.ParquetWriter | None = None
    for group in _groups(rows):
        if writer is None:
            folder.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(folder / f"{split}.parquet", shape, compression="zstd")
        writer.write_table(pa.Table.from_pylist(list(map(to_record, group)), schema=shape))
        count += len(group)
    if writer is not None:
        writer.close()
    return count


def _schema_of(source: Path) -> pa.Schema:
    """The schema of a step's rows, without what only our own reader needs."""
    import pyarrow.parquet as pq

    names = pq.read_schema(min(source.glob("part-*.parquet"))).names
    return schema("pair" if "chosen" in names else "example").remove_metadata()


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := list(islice(rows, GROUP)):
        yield group
