"""A sweep as one HTML file, with its table and its figures as files beside it."""

from __future__ import annotations

import shlex
from pathlib import Path

from markupsafe import Markup

from woolgather.report.charts import colours
from woolgather.report.figures.svg_file import write_svg
from woolgather.report.page import asset, environment, policy
from woolgather.report.sweep import figure as figures
from woolgather.report.sweep import table
from woolgather.report.sweep.figure import Figure
from woolgather.report.sweep.table import SweepReport, read_sweep_dir

FIGURES = "figures"


def write_sweep_report(folder: Path) -> Path:
    """Write sweep.html, sweep.csv and figures/ in a sweep's directory. Returns the page's path.

    Raises RunDirError where it is no sweep, or holds a broken record, and InputError for a measure that
    was named and that no point has."""
    sweep = read_sweep_dir(folder)
    drawn = figures.figures(sweep)
    files = {"sweep.csv": table.write_csv(sweep), "sweep.html": render(sweep, drawn)}
    for figure in drawn:
        legend = colours(figure.lines if len(figure.lines) > 1 else [])
        drawing = write_svg(figures.draw(figure), legend, figure.title)
        files[f"{FIGURES}/{figure.name}.svg"] = drawing
        files[f"{FIGURES}/{figure.name}.csv"] = figures.write_csv(figure)
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / name
        temp = path.with_name(f".{path.name}.tmp")
        temp.write_text(text, encoding="utf-8", errors="replace")
        temp.replace(path)
    return folder / "sweep.html"


def render(sweep: SweepReport, drawn: list[Figure]) -> str:
    """Returns the page as text."""
    style = asset("style.css")
    states = [point.status for point in sweep.points]
    done = states.count("finished")
    return (
        environment()
        .get_template("sweep.html.j2")
        .render(
            sweep=sweep,
            title=sweep.path.resolve().name,
            style=Markup(style),
            policy=policy(style),
            status="finished"
            if done == len(states)
            else "failed"
            if "failed" in states
            else "running",
            done=done,
            asked=_command(sweep),
            tables=table.tables(sweep, why=False),
            figures=[(f, figures.draw(f), list(f.lines)) for f in drawn],
            alike=table.alike(sweep),
        )
    )


def _command(sweep: SweepReport) -> str:
    """The sweep in the words that asked for it."""
    record = sweep.record
    swept = [f"{key}={','.join(values)}" for key, values in record.axes.items()]
    return shlex.join(["woolgather", "sweep", record.recipe, *record.settings, *swept])
