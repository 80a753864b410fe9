"""What a run made, and what a plan says, as Python objects that a notebook shows as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from woolgather.core.rows import JSON, Row
from woolgather.runs.record import StepEntry, StepRecord, current_steps, read_launches

if TYPE_CHECKING:
    import datasets
    import pandas

    from woolgather.core.expected import DeviceMemory
    from woolgather.core.machine_speed import Precision
    from woolgather.core.views import View


@dataclass(frozen=True)
class StepRows:
    """The rows of one step. Iterating yields the rows in use, the length is their number, and `all()`
    yields those set aside, too."""

    folder: Path
    """Where its Parquet shards are."""
    count: int
    """Rows in use."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.all() if row.set_aside is None)

    def all(self) -> Iterator[Row]:
        """Yields every row, those set aside included, with their reasons."""
        from woolgather.core.storage import read_rows

        return read_rows(self.folder)

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the rows in use as a DataFrame, one column per field. Raises ImportError without
        pandas."""
        import pandas

        return pandas.DataFrame(list(self._records()))

    def to_dataset(self) -> datasets.Dataset:
        """Returns the rows in use as a Hugging Face data set in memory. Raises ImportError without
        datasets."""
        from datasets import Dataset

        made: datasets.Dataset = Dataset.from_list(list(self._records()))
        return made

    def _records(self) -> Iterator[dict[str, JSON]]:
        from woolgather.core.storage import to_record

        return map(to_record, self)


@dataclass(frozen=True)
class Result:
    """What a run made, read from its directory: `Result(Path("runs/..."))` opens one that is there.

    It is read again whenever it is asked, so that it may be of a run that still works. Everything here
    raises RunDirError when the directory is no run's, or was written by a newer version."""

    dir: Path
    """The run directory."""

    @property
    def model(self) -> Path | None:
        """The directory of the resulting model; None while the run has not come to it."""
        launches = read_launches(self.dir)
        made = launches[-1].result if launches else None
        return (self.dir / made).resolve() if made else None

    @property
    def headline(self) -> str:
        """The run's sentence: what came of it against the best control; empty until it is there."""
        return next((r.headline for _, r in self._steps() if r.concludes), "")

    @property
    def measures(self) -> dict[str, Mapping[str, JSON]]:
        """Values by the step that measured them, such as `iter0/measure`."""
        return {r.step: r.result["values"] for _, r in self._steps() if r.kind == "metrics"}

    def rows(self, step: str) -> StepRows:
        """Returns the rows that a step made, by its name (`iter0/keep`). Raises InputError when no
        finished step has it, or when the step made no rows."""
        from woolgather.core.errors import InputError
        from woolgather.report.lineage import find_step

        folder, record = find_step(self.dir, step)
        if record.kind != "dataset":
            raise InputError(f"{self.dir}: step {step} made a {record.kind}, no rows.")
        return StepRows(folder, record.result["count"])

    def report(self) -> Path:
        """Writes the report, one HTML file that opens offline, and returns its path."""
        from woolgather.report.page import write_report

        return write_report(self.dir)

    def _steps(self) -> list[tuple[StepEntry, StepRecord]]:
        return current_steps(self.dir)

    def __repr__(self) -> str:
        return f"Result({str(self.dir)!r}): {self.headline or 'not finished'}"

    def _repr_html_(self) -> str:
        """For a notebook: the sentence, and the summary's table of models."""
        parts = [f"<p>{escape(self.headline or 'not finished')}</p>"]
        for _, record in self._steps():
            tables = [v for v in record.shown() if record.concludes and v.kind == "table"]
            parts += (html_table(*table_cells(view)) for view in tables)
        return "".join(parts)


class PlanLine(TypedDict):
    """One step of a plan. What it takes is an upper bound."""

    step: str
    state: Literal["new", "remembered", "given", "not needed"]
    why: str
    """Why it is new or not needed; where it is given, by what."""
    fingerprint: str
    """64 hex digits: the same in each run that would share the step; empty where it is given."""
    seconds: float
    rows: int
    """Rows in use that come out."""
    calls: int
    """Requests to a model."""
    prompt_tokens: int
    new_tokens: int
    updates: int
    """Optimizer steps."""
    train_tokens: int
    disk_bytes: int
    memory: DeviceMemory | None
    """What a training takes on each device; None where that is not known."""


class PlanTotal(TypedDict):
    """The sums over the new steps of a plan."""

    new: int
    """Steps that are new."""
    remembered: int
    """Steps whose results are there, given ones included."""
    seconds: float
    calls: int
    prompt_tokens: int
    new_tokens: int
    updates: int
    train_tokens: int
    disk_bytes: int
    rate_source: str
    """Where the times come from, in words."""
    precision: Precision | None
    """What `precision: auto` is in this run; None where this machine was not measured."""
    visible: str
    """How small a difference the report can see, in a sentence; empty without probes."""
    chat_template: str
    """What tuned models are asked and trained with, in words; empty for a recipe without the setting."""


@dataclass(frozen=True)
class Plan:
    """What a run would do. Iterating yields a mapping per step, its length is the number of steps."""

    dir: Path
    """The run directory, which need not exist."""
    steps: tuple[PlanLine, ...]
    """In order."""
    total: PlanTotal
    """The sums over the new steps."""

    def __iter__(self) -> Iterator[PlanLine]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a DataFrame with one row per step. Raises ImportError without pandas."""
        import pandas

        return pandas.DataFrame(list(self.steps))

    def __str__(self) -> str:
        width = max((len(s["step"]) for s in self.steps), default=0)
        lines = [f"{s['step']:<{width}}  {s['state']:<10}  {s['why']}" for s in self.steps]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = ("step", "state", "rows", "calls", "new_tokens", "updates", "seconds", "why")
        return html_table(names, [[str(dict(s)[n] or "") for n in names] for s in self.steps])


def table_cells(view: View) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows of a table, as texts."""
    from woolgather.report.text import column

    rows = view.data["rows"]
    heads = enumerate(view.data["columns"])
    written = [column(str(title), [row[i] for row in rows]) for i, title in heads]
    body = [list(cells) for cells in zip(*(c.cells for c in written), strict=True)]
    return [c.head for c in written], body


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a table as a notebook shows it."""
    top = "".join(f"<th>{escape(str(name))}</th>" for name in head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in body
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"
