"""`report` writes a run as one HTML file, `compare` shows several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from woolgather.cli.output import Column, Json, cell, console, print_json, print_rows
from woolgather.core.errors import MistakeError

RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]


def report(
    run: RunDir,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: RUN/report.html.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Also write each drawing as SVG, and its numbers as CSV.",
        ),
    ] = None,
) -> None:
    """Write the report of a run: one HTML file that opens offline.

    Example: woolgather report runs/isheep-smollm2-135m-demo --out report.html
    """
    from woolgather.report.page import write_report

    for option, path in (("--out", out and out.parent), ("--figures", figures)):
        if path:
            _refuse_no_folder(option, path)
    if out and out.is_dir():
        raise MistakeError(f"--out {out}: is a folder. Name a file, e.g. {out / 'report.html'}.")
    console().print(Text(f"Report: {write_report(run, out)}"))
    if figures:
        from woolgather.report.figures.files import write_figures

        console().print(Text(f"Figures: {len(write_figures(run, figures))} files in {figures}"))


def _refuse_no_folder(option: str, path: Path) -> None:
    """Raises MistakeError where a file stands at a path that has to be a folder, or above it."""
    if taken := next((each for each in (path, *path.parents) if each.is_file()), None):
        raise MistakeError(f"{option}: {taken} is a file, where a folder belongs. Name another.")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="The directories of the runs.")
    ],
    as_json: Json = False,
) -> None:
    """Show several runs side by side: settings that differ, rows after each step, measures.

    Example: woolgather compare runs/isheep-demo runs/isheep-demo-random
    """
    from woolgather.report.compare import compare_runs

    if len(runs) < 2:
        raise MistakeError(
            "compare needs at least two runs; `woolgather status RUN` shows a single run."
        )
    tables = compare_runs(runs)
    if as_json:
        print_json(tables)
        return
    for table in tables:
        columns = [Column(str(i), str(name) or " ") for i, name in enumerate(table["columns"])]
        rows = [{str(i): cell(value) for i, value in enumerate(row)} for row in table["rows"]]
        print_rows(rows, columns, table["title"])
