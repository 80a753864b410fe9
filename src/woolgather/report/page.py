"""A run directory as one HTML file: opened from disk, fetching nothing, trusting no text in it.

The page forbids itself everything but its own style and script (by hash), so that a text which got
past the escaping still could not act. The browser of rows gets its data as JSON and writes it with
`textContent` only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from woolgather.core.views import View
from woolgather.report import charts, collect, over_iterations, rows, text
from woolgather.report.collect import RunReport, Step
from woolgather.report.figures.overlays import overlays
from woolgather.report.headroom import read_headroom
from woolgather.report.view_data import TableData
from woolgather.report.votes.tally import read_tallies
from woolgather.runs.record import INPUTS

HERE = Path(__file__).parent
MAX_ROWS = 300


def write_report(
    run_dir: Path, out: Path | None = None, *, title: str | None = None, max_rows: int = MAX_ROWS
) -> Path:
    """Write the report of a run, to RUN/report.html unless `out` is given. Returns the path.

    The browser of rows holds at most `max_rows` rows of each step. Raises RunDirError when `run_dir`
    is no run directory, is of a newer format, or holds a broken record.
    """
    run = collect.read_run_dir(run_dir)
    out = out or run_dir / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    temp = out.with_name(f".{out.name}.tmp")
    temp.write_text(render(run, title=title, max_rows=max_rows), encoding="utf-8", errors="replace")
    temp.replace(out)
    return out


def render(run: RunReport, *, title: str | None = None, max_rows: int = MAX_ROWS) -> str:
    """Returns the page as text."""
    style, script = (asset(name) for name in ("style.css", "browser.js"))
    tables = rows.sample(_sources(run), max_rows)
    trends = [
        (
            name,
            [
                (line[0], charts.trend(*line, within))
                for line in lines
                if not over_iterations.is_flat(line)
            ],
            [(line[0], line[1][-1][1]) for line in lines if over_iterations.is_flat(line)],
        )
        for name, within, lines in over_iterations.series(run)
    ]
    sections = _sections(run)
    shown = {v.title for v in run.verdict_step.views} if run.verdict_step else set()
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            title=title or run.head.get("title") or run.path.resolve().name,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style, script),
            data=Markup(rows.script_json(rows.embed(tables))) if tables else None,
            status=_status(run),
            headroom=read_headroom(run.path),
            facts=collect.facts(run),
            command=collect.command(run),
            settings=collect.settings(run),
            provenance=collect.provenance(run),
            grid=_glance(run),
            trends=trends,
            overlays=[v for v in overlays(run) if v.title not in shown],
            sections=sections,
            shown_steps=[step for _, _, steps in sections for step in steps],
            models=[step for step in run.steps if step.record.kind == "model"],
            warnings=_group(run.alarms),
            votes=read_tallies(run.path),
        )
    )


def _sources(run: RunReport) -> list[rows.RowFolder]:
    """Rows from outside that the current steps name, then each dataset step's."""
    payloads = " ".join(str(step.record.payload) for step in run.steps)
    known = {found[:12] for found in re.findall(r"\b[0-9a-f]{64}\b", payloads)}
    outside = [
        rows.RowFolder(f"inputs/{folder.name.rpartition('-')[0]}", folder)
        for folder in sorted((run.path / INPUTS).glob("*-*"))
        if folder.name.rpartition("-")[2] in known and list(folder.glob("part-*.parquet"))
    ]
    return outside + [
        rows.RowFolder(step.record.step, run.path / str(step.entry["path"]))
        for step in run.steps
        if step.record.kind == "dataset"
    ]


def _status(run: RunReport) -> tuple[str, str]:
    """A word for the state of the run, and what to say when there is no verdict."""
    if run.last is None:
        return "not started", "Nothing has run yet."
    steps = f"{len(run.steps)} step{' is' if len(run.steps) == 1 else 's are'} done"
    last = run.last
    said = {
        "finished": "The run ended without a step that sums up its result.",
        "running": "The run is still going on, or was killed; the same command resumes it.",
        "stopped": "The run was stopped; the same command resumes it.",
        "failed": "The run failed; what is finished is kept, and the same command resumes it.",
    }[last.status]
    message = f" {text.visible(last.message, 600)}" if last.message else ""
    return last.status, f"{said} {steps}.{message}"


def _glance(run: RunReport) -> dict[str, object]:
    """The grid: a line per step name, a column per iteration or stage; and what lies outside them. A
    run of neither has one column, with a line per step."""
    scopes = run.iterations or run.stages
    inside = [step for step in run.steps if step.scope in scopes] or list(run.steps)
    if scopes:
        cells = {(step.name, step.scope): step for step in inside}
        names = _in_order([[step.name for step in run.of(scope)] for scope in scopes])
        lines = [(name, [cells.get((name, scope)) for scope in scopes]) for name in names]
    else:
        lines = [(step.record.step, [step]) for step in inside]
    what = "loop" if run.iterations else "stages" if scopes else "steps"
    return {
        "what": what,
        "scopes": scopes,
        "lines": lines,
        "top": max((step.used + step.lost for step in inside), default=0),
        "outside": [step for step in run.steps if step not in inside],
    }


def _in_order(columns: Sequence[Sequence[str]]) -> list[str]:
    """Every name once, as far down as in the column where it stands lowest."""
    place: dict[str, int] = {}
    for names in columns:
        for i, name in enumerate(names):
            place[name] = max(i, place.get(name, 0))
    return sorted(place, key=place.__getitem__)


def _sections(run: RunReport) -> list[tuple[str, str, Sequence[Step]]]:
    """(heading, summary, steps with something to show): before, each scope, after."""
    inside = [i for i, step in enumerate(run.steps) if step.scope]
    first = inside[0] if inside else 0
    parts = [
        ("Before the loop", [s for s in run.steps[:first] if not s.scope]),
        *((collect.label_of(scope), run.of(scope)) for scope in run.scopes),
        ("After the loop" if inside else "Steps", [s for s in run.steps[first:] if not s.scope]),
    ]
    return [
        (name[0].upper() + name[1:], _summary(steps), [s for s in steps if _shows(s)])
        for name, steps in parts
        if any(_shows(s) for s in steps)
    ]


def _shows(step: Step) -> bool:
    return bool(step.views or step.why or step.record.kind == "metrics")


def _summary(steps: Sequence[Step]) -> str:
    rows = [step.used for step in steps if step.record.kind == "dataset"]
    parts = [f"{len(steps)} step{'' if len(steps) == 1 else 's'}"]
    parts += [f"{text.number(rows[-1])} rows at the end"] if rows else []
    return ", ".join([*parts, text.duration(sum(step.record.seconds for step in steps))])


def _group(alarms: Sequence[collect.Alarm]) -> list[tuple[collect.Alarm, list[Step]]]:
    """Alarms that say the same, said once."""
    found: dict[tuple[str, str, str], tuple[collect.Alarm, list[Step]]] = {}
    for alarm in alarms:
        key = (alarm.level, alarm.title, alarm.text)
        found.setdefault(key, (alarm, []))[1].append(alarm.step)
    return list(found.values())


def _wide(view: View) -> bool:
    """Whether a view wants the whole width of the page."""
    if view.kind != "table":
        return False
    try:
        data = TableData.model_validate(view.data)
    except ValueError:
        return False
    longest = max((len(text.cell(c)) for row in data.rows[:20] for c in row), default=0)
    estimates = sum(
        any(text.is_estimate(v) for v in data.column(i)) for i in range(len(data.columns))
    )
    # One or two intervals are drawn in columns of their own.
    beside = estimates if estimates <= 2 else 0
    return len(data.columns) + beside > 4 or longest > 60


def _leaves(step: Step) -> list[tuple[str, object]]:
    """All numbers and texts of a metrics step."""
    return list(text.flatten(text.values_of(step.record)))


def asset(name: str) -> str:
    """Returns the text of a file beside this module."""
    return (HERE / name).read_text(encoding="utf-8").strip()


def policy(style: str, script: str = "") -> str:
    """Returns a Content-Security-Policy that allows this style and this script, and nothing else."""

    def source(content: str) -> str:
        digest = hashlib.sha256(content.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)};"
        " base-uri 'none'; form-action 'none'"
    )


@cache
def environment() -> Environment:
    """Returns what pages are written with: templates beside this module, every text escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {
        "visible": text.visible,
        "cell": text.cell,
        "number": text.number,
        "duration": text.duration,
        "when": text.when,
        "words": text.words,
        "measure": text.measure_name,
        "label": collect.label_of,
        "draw": charts.draw,
        "legend": lambda names: charts.legend(charts.colours(names)),
        "grid": lambda lines, columns: charts.grid(columns, lines),
        "bar": charts.bar,
    }
    made.tests["wide"] = _wide
    made.globals["leaves"] = _leaves
    return made
