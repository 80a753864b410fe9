"""What a sweep brought, as Python objects that a notebook shows as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.api.results import Result, html_table, table_cells
from woolgather.core.errors import InputError

if TYPE_CHECKING:
    import pandas

    from woolgather.core.views import View
    from woolgather.report.sweep.table import PointReport, SweepReport


@dataclass(frozen=True)
class PointResult:
    """One point of a sweep, as it was when it was read."""

    settings: Mapping[str, str]
    """The values that tell it from the others, by key, as they are written on the command line."""
    dir: Path
    """Its run directory."""
    status: str
    """finished, failed, stopped, running or not started."""
    measures: Mapping[str, object]
    """By `step: measure`, such as `iter0/measure: probes`: a number, or an estimate with its `value` and
    the ends of its 95 % interval, `low` and `high`. `iter0/keep: rows` are those in use after a step."""
    error: str
    """Why it failed; empty where it did not."""
    log: Path | None
    """What its process printed, where it failed in one of its own."""

    @property
    def result(self) -> Result:
        """The run, as `woolgather.run` returns it."""
        return Result(self.dir)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep brought, read from its directory: `SweepResult(Path("runs/..."))` opens one that is
    there. Iterating yields its points in order, the length is their number.

    It is read again whenever it is asked, so that it may be of a sweep that still works. Everything here
    raises RunDirError when the directory is no sweep's, or holds a broken record."""

    dir: Path
    """The directory of the sweep."""

    @property
    def points(self) -> list[PointResult]:
        """The points, in the order of the values, those of the last setting changing first."""
        return [_read_point(found, self.dir) for found in self._read().points]

    @property
    def page(self) -> Path:
        """The page with figures and tables, one HTML file that opens offline."""
        return self.dir / "sweep.html"

    @property
    def figures(self) -> dict[str, Path]:
        """The figures' SVG files by name; a CSV file with the numbers lies beside each."""
        from woolgather.report.sweep.figure import figures
        from woolgather.report.sweep.page import FIGURES

        names = [figure.name for figure in figures(self._read())]
        return {name: self.dir / FIGURES / f"{name}.svg" for name in names}

    def __iter__(self) -> Iterator[PointResult]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self._read().points)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Returns the table of all numbers, a row per point, an estimate with its ends beside it; writes
        it to `path`, too, if one is given. The same table is in `sweep.csv`."""
        from woolgather.report.sweep.table import write_csv

        text = write_csv(self._read())
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the table of `to_csv` as a DataFrame. Raises ImportError without pandas."""
        import pandas

        return pandas.read_csv(StringIO(self.to_csv()))

    def show(self, measure: str) -> Path:
        """Draws the figures and the page anew with another measure, and returns the page's path. Raises
        InputError for a measure that no point has."""
        from woolgather.report.sweep import read_sweep, write_sweep
        from woolgather.report.sweep.page import write_sweep_report

        before = read_sweep(self.dir)
        write_sweep(before.model_copy(update={"measure": measure}), self.dir)
        try:
            return write_sweep_report(self.dir)
        except InputError:
            write_sweep(before, self.dir)
            raise

    def _read(self) -> SweepReport:
        from woolgather.report.sweep.table import read_sweep_dir

        return read_sweep_dir(self.dir)

    def _tables(self) -> list[View]:
        from woolgather.report.sweep.table import tables

        return tables(self._read())

    def __repr__(self) -> str:
        states = [point.status for point in self._read().points]
        return (
            f"SweepResult({str(self.dir)!r}): {states.count('finished')} of {len(states)} finished"
        )

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_lines(view)) for view in self._tables())

    def _repr_html_(self) -> str:
        """For a notebook: the tables of the page."""
        return "".join(html_table(*table_cells(view)) for view in self._tables())


def _read_point(found: PointReport, folder: Path) -> PointResult:
    return PointResult(
        settings=dict(found.swept.values),
        dir=folder / found.swept.folder,
        status=found.status,
        measures=dict(found.numbers()),
        error=found.swept.error,
        log=folder / found.swept.log if found.swept.log else None,
    )


def _lines(view: View) -> Iterator[str]:
    """A table as text, its columns below one another."""
    head, body = table_cells(view)
    widths = [max(map(len, cells)) for cells in zip(head, *body, strict=True)]
    for row in (head, *body):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
