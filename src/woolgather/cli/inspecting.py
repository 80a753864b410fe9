"""Commands that read a run directory: `status`, `show`, `lineage`, `export`; and `clean`, which
deletes what no current result needs."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.text import Text
from rich.tree import Tree

from woolgather.cli import output
from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.core.errors import InputError, MistakeError
from woolgather.core.rows import PreferencePair, Row
from woolgather.report.leftovers import Leftover, find_leftovers
from woolgather.report.lineage import find_step, place_of, trace, walk
from woolgather.report.status import StepStatus, status_of
from woolgather.report.text import (
    aside,
    duration,
    harmless,
    is_number,
    number,
    one_line,
    row_count,
    size,
)
from woolgather.runs.lock import RunLock
from woolgather.runs.record import StepRecord, read_run

RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]
Step = Annotated[str, typer.Argument(help="A step's name, e.g. iter0/keep.")]
OUTCOME = 60
"""Characters of an outcome or a reason in a table."""


def status(run: RunDir, as_json: Json = False) -> None:
    """Show how far a run has come: one line per step, the step that runs now, and how the run ended.

    Example: woolgather status runs/isheep-smollm2-135m-demo
    """
    found = status_of(run)
    if as_json:
        print_json(found)
        return
    print_rows(
        [
            {**row, "aside": aside(row["reasons"]), "time": _time(row["seconds"]), **_short(row)}
            for row in found["steps"]
        ],
        [
            Column("step"),
            Column("state"),
            Column("rows", right=True),
            Column("aside", "set aside"),
            Column("outcome"),
            Column("calls", right=True),
            Column("remembered", right=True),
            Column("tokens_per_second", "tok/s", right=True),
            Column("time", right=True),
            Column("why"),
        ],
        f"{found['recipe']} in {run}",
    )
    out = console()
    if now := found["running"]:
        out.print(Text(f"running: {now['step']} · {now['line']}"))
    out.print(Text(harmless(found["state"])))
    if given := found["inputs"]:
        out.print(Text(f"inputs: {harmless('; '.join(map(_input, given)))}"))
    for warning in found["warnings"]:
        out.print(Text(f"! {harmless(warning)}"))
    if found["headline"]:
        out.print(Text(harmless(found["headline"]), style="bold"))


def show(
    run: RunDir,
    step: Step,
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside", help="Show rows that were set aside, instead of rows in use."),
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="Show only rows that were set aside for this reason."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of rows to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show the rows of a step with their verdicts, or what the step measured, chose or trained.

    Example: woolgather show runs/isheep-smollm2-135m-demo iter0/keep --set-aside -n 10
    """
    folder, record = find_step(run, step)
    if record.kind != "dataset":
        _show_content(folder, record, as_json)
        return
    if reason is not None and reason not in record.set_aside:
        known = ", ".join(record.set_aside) or "none"
        raise InputError(f"{record.step} set no row aside for {reason!r}. Its reasons: {known}.")
    from woolgather.core.storage import read_rows

    wanted = set_aside or reason is not None
    chosen = (
        row
        for row in read_rows(folder)
        if (row.set_aside is not None) == wanted and reason in (None, row.set_aside)
    )
    rows = list(itertools.islice(chosen, n))
    if as_json:
        print_json([_row_json(row) for row in rows])
        return
    out = console()
    for row in rows:
        for line in _row_lines(row):
            out.print(line, soft_wrap=True)
    if reason is not None:
        total = record.set_aside[reason]
    else:
        total = sum(record.set_aside.values()) if wanted else row_count(record)
    what = f"set aside: {reason}" if reason else "set aside" if wanted else "in use"
    out.print(
        Text(f"{number(len(rows))} of {number(total)} rows {what} in {record.step}", style="dim")
    )
    if not wanted and record.set_aside:
        said = f"set aside: {output.cell(record.set_aside)}; --set-aside shows these rows"
        out.print(Text(said, style="dim"))


def lineage(
    run: RunDir,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ROW|STEP", help="A row's id, the beginning of an id, or a step's name."
        ),
    ],
    depth: Annotated[
        int | None, typer.Option(min=1, help="Levels of parents to show. Default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a row or a step was made from, up to the seeds.

    Example: woolgather lineage runs/isheep-smollm2-135m-demo iter0/keep
    """
    found = trace(run, name, depth)
    if as_json:
        print_json(found.to_json())
        return
    trees: dict[int, Tree] = {}
    for level, node in walk(found):
        line = Text(harmless(node.name), style="bold")
        line.append(f"  {harmless(node.where)}", style="not bold dim")
        if node.also:
            line.append(harmless(f" → {' → '.join(node.also)}"), style="not bold dim")
        if node.text:
            line.append(f"  {one_line(node.text, 70)}", style="not bold")
        if node.repeated:
            line.append("  (its parents are shown above)", style="not bold dim")
        trees[level] = trees[level - 1].add(line) if level else Tree(line)
    console().print(trees[0])


def export(
    run: RunDir,
    step: Step,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="messages, alpaca, sharegpt, spin, preference, prompt-completion, alpaca-eval, "
            "parquet or jsonl.",
        ),
    ] = "messages",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File to write. Default: <run>-<step>-<format>.jsonl in this folder."
        ),
    ] = None,
) -> None:
    """Write the rows of a step to a file for another program.

    Example: woolgather export runs/isheep-smollm2-135m-demo iter1/keep --format sharegpt
    """
    from woolgather.core.artifacts import Dataset
    from woolgather.data import Format, write_rows_as

    folder, record = find_step(run, step)
    if record.kind != "dataset":
        raise InputError(f"{record.step} made a {record.kind}; only rows can be exported.")
    if out is None:
        ending = {"parquet": "parquet", "alpaca-eval": "json"}.get(format_, "jsonl")
        name = record.step.replace("/", "-")
        out = Path(f"{run.resolve().name}-{name}-{format_}.{ending}")
        if out.exists():
            raise MistakeError(f"{out} is there already; name another file with --out.")
    rows, name = Dataset(folder, record.fingerprint), run.resolve().name
    count = write_rows_as(rows, out, cast(Format, format_), name)
    console().print(Text(f"{number(count)} rows of {record.step} as {format_}: {out}"))


def clean(
    run: RunDir,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what the latest launch does not use, after showing it and asking.

    Example: woolgather clean runs/isheep-smollm2-135m-demo --dry-run
    """
    if as_json and not (yes or dry_run):
        raise MistakeError("--json cannot ask a question: add --dry-run, or --yes to delete.")
    read_run(run)
    if dry_run:
        _show_leftovers(run, find_leftovers(run), as_json)
        return
    with RunLock(run):
        found = find_leftovers(run)
        if not as_json:
            _show_leftovers(run, found, as_json)
        if not found or not (yes or typer.confirm(f"Delete these {len(found)} in {run}?")):
            if as_json:
                print_json([])
            return
        sizes = [each.size for each in found]
        for each in found:
            shutil.rmtree(each.path) if each.path.is_dir() else each.path.unlink()
    if as_json:
        pairs = zip(found, sizes, strict=True)
        print_json([_leftover_json(run, *pair, deleted=True) for pair in pairs])
    else:
        console().print(Text(f"deleted {size(sum(sizes))}"))


def _leftover_json(run: Path, leftover: Leftover, size: int, *, deleted: bool) -> dict[str, object]:
    path = leftover.path.relative_to(run).as_posix()
    return {"path": path, "why": leftover.why, "bytes": size, "deleted": deleted}


def _show_leftovers(run: Path, found: Sequence[Leftover], as_json: bool) -> None:
    sizes = [each.size for each in found]
    rows = [_leftover_json(run, *pair, deleted=False) for pair in zip(found, sizes, strict=True)]
    if as_json:
        print_json(rows)
    elif not rows:
        console().print(Text(f"nothing to delete in {run}"))
    else:
        shown = [{**row, "size": size(bytes_)} for row, bytes_ in zip(rows, sizes, strict=True)]
        columns = [Column("path"), Column("size", right=True), Column("why")]
        print_rows(shown, columns, f"to delete: {size(sum(sizes))}")


def _input(given: Mapping[str, object]) -> str:
    """An input in a word; for texts also where they are and how many."""
    bytes_, count = given.get("bytes"), given.get("files")
    if not is_number(bytes_) or not is_number(count):
        return str(given["name"])
    files = f", {number(count)} file{'s' if count > 1 else ''}, {size(bytes_)}"
    return f"{given['name']} ({given['given_as']}{files if count else ''})"


def _short(step: StepStatus) -> dict[str, str]:
    """Why a step ran, where that is worth a word, and what came of it; the JSON has both in full."""
    why = "" if step["why"] == "not done yet" else one_line(step["why"], OUTCOME)
    return {"why": why, "outcome": one_line(step["outcome"] or "", OUTCOME)}


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else ""


def _row_json(row: Row) -> dict[str, object]:
    from woolgather.core.storage import to_record

    return {**to_record(row), "meta": dict(row.meta)}


def _row_lines(row: Row) -> Iterator[Text]:
    """A row for people: its id and verdicts, then its texts."""
    head = Text(harmless(row.id), style="bold")
    if row.set_aside:
        head.append(f"  set aside: {harmless(row.set_aside)}", style="not bold yellow")
    if not isinstance(row, PreferencePair):
        for name, verdict in row.verdicts.items():
            score = "unreadable" if verdict.score is None else f"{verdict.score:g}"
            head.append(f"  {harmless(name)} {score}", style="not bold green")
        if row.finish_reason not in (None, "stop"):
            head.append(f"  ended by: {harmless(str(row.finish_reason))}", style="not bold dim")
    yield head
    texts = {"system": row.system, "instruction": row.instruction}
    if isinstance(row, PreferencePair):
        texts |= {"chosen": row.chosen, "rejected": row.rejected}
    else:
        texts |= {"input": row.input, "response": row.response}
    for name, text in texts.items():
        if text:
            yield Text(f"  {name}", style="dim")
            yield Text("    " + harmless(text).replace("\n", "\n    "))
    if row.parents:
        some = ", ".join(row.parents[:4]) + (", ..." if len(row.parents) > 4 else "")
        yield Text(f"  made from {harmless(some)}", style="dim")
    elif place := place_of(row.meta):
        yield Text(f"  from {harmless(place)}", style="dim")
    yield Text("")


def _show_content(folder: Path, record: StepRecord, as_json: bool) -> None:
    """What a step that makes no rows came to."""
    content: dict[str, object] = {"step": record.step, "kind": record.kind}
    if record.kind == "model":
        path = Path(str(record.result.get("path")))
        place = folder / path if (folder / path).exists() else path
        content |= {"path": str(place), "prompt_format": record.result.get("prompt_format")}
        files = sorted(p for p in place.glob("*") if p.is_file()) if place.is_dir() else []
        content["files"] = {
            p.name: p.stat().st_size if as_json else size(p.stat().st_size) for p in files
        }
    elif record.kind == "metrics":
        content |= {"headline": record.headline, "values": record.result.get("values")}
    else:
        content |= {"value": record.result.get("value"), "why": record.result.get("why")}
    if as_json:
        print_json({**content, "views": [dict(view) for view in record.views]})
        return
    out = console()
    for key, value in content.items():
        if isinstance(value, dict):
            pairs = [{"name": name, "value": inner} for name, inner in value.items()]
            print_rows(pairs, [Column("name", key), Column("value", " ")])
        else:
            out.print(Text(f"{key}: {output.cell(value)}"))
    for view in record.shown():
        output.print_view(view)
