"""Commands that read a run directory: `status`, `show`, `lineage`, `export`; and `clean`, which
deletes what no current result needs."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.text import Text
from rich.tree import Tree

from woolgather.cli import output
from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.core.errors import InputError, MistakeError
from woolgather.core.rows import JSON, PreferencePair, Row
from woolgather.report import lineage as tracing
from woolgather.report import status as run_status
from woolgather.report.text import aside, duration, harmless, number, one_line, size
from woolgather.runs.lock import RunLock
from woolgather.runs.record import (
    INPUTS,
    LAUNCHES,
    RECORD,
    StepRecord,
    current_steps,
    read_launches,
    read_run,
)

RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]
Step = Annotated[str, typer.Argument(help="A step's name, e.g. iter0/keep.")]
OUTCOME = 60
"""Characters of it in a table."""


def status(run: RunDir, as_json: Json = False) -> None:
    """The funnel so far: a line per step, what runs now, and how it ended.

    Example: woolgather status runs/isheep-smollm2-135m-demo
    """
    found = run_status.status_of(run)
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
        out.print(Text(f"given: {harmless('; '.join(map(_input, given)))}"))
    for warning in found["warnings"]:
        out.print(Text(f"! {harmless(warning)}"))
    if found["headline"]:
        out.print(Text(harmless(found["headline"]), style="bold"))


def show(
    run: RunDir,
    step: Step,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Rows that were set aside, instead of those in use.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only rows set aside for this reason.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Rows at most.")] = 5,
    as_json: Json = False,
) -> None:
    """Rows of a step with their verdicts, or what a step measured, chose or trained.

    Example: woolgather show runs/isheep-smollm2-135m-demo iter0/keep --set-aside -n 10
    """
    folder, record = tracing.find_step(run, step)
    if record.kind != "dataset":
        _show_content(folder, record, as_json)
        return
    if reason is not None and reason not in record.set_aside:
        known = ", ".join(record.set_aside) or "none"
        raise InputError(f"{record.step} set no row aside for {reason!r}. Its reasons: {known}.")
    from woolgather.core.storage import read_rows

    aside = set_aside or reason is not None
    chosen = (
        row
        for row in read_rows(folder)
        if (row.set_aside is not None) == aside and reason in (None, row.set_aside)
    )
    rows = list(itertools.islice(chosen, n))
    if as_json:
        print_json([_row_json(row) for row in rows])
        return
    out = console()
    for row in rows:
        for line in _row_lines(row):
            out.print(line, soft_wrap=True)
    total = sum(record.set_aside.values()) if aside else int(record.result.get("count") or 0)
    total = record.set_aside[reason] if reason is not None else total
    what = f"set aside: {reason}" if reason else "set aside" if aside else "in use"
    out.print(
        Text(f"{number(len(rows))} of {number(total)} rows {what} in {record.step}", style="dim")
    )
    if not aside and record.set_aside:
        out.print(Text(f"set aside: {output.cell(record.set_aside)} (--set-aside)", style="dim"))


def lineage(
    run: RunDir,
    name: Annotated[
        str, typer.Argument(metavar="ROW|STEP", help="A row's id or its beginning, or a step.")
    ],
    depth: Annotated[
        int | None, typer.Option(min=1, help="Levels of parents; all if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a row or a step was made from, up to the seeds.

    Example: woolgather lineage runs/isheep-smollm2-135m-demo iter0/keep
    """
    found = tracing.trace(run, name, depth)
    if as_json:
        print_json(found.to_json())
        return
    trees: dict[int, Tree] = {}
    for level, node in tracing.walk(found):
        line = Text(harmless(node.name), style="bold")
        line.append(f"  {harmless(node.where)}", style="not bold dim")
        if node.also:
            line.append(harmless(f" → {' → '.join(node.also)}"), style="not bold dim")
        if node.text:
            line.append(f"  {one_line(node.text, 70)}", style="not bold")
        if node.repeated:
            line.append("  (its parents are given above)", style="not bold dim")
        trees[level] = trees[level - 1].add(line) if level else Tree(line)
    console().print(trees[0])


def export(
    run: RunDir,
    step: Step,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="messages, alpaca, sharegpt, spin, preference, prompt-completion, alpaca-eval, "
            "parquet or jsonl.",
        ),
    ] = "messages",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; <run>-<step>.<ext> here if not given."),
    ] = None,
) -> None:
    """Write a step's rows for another program.

    Example: woolgather export runs/isheep-smollm2-135m-demo iter1/keep --format sharegpt
    """
    from woolgather.core.artifacts import Dataset
    from woolgather.data import Format, write_rows_as

    folder, record = tracing.find_step(run, step)
    if record.kind != "dataset":
        raise InputError(f"{record.step} made a {record.kind}; only steps that make rows export.")
    if out is None:
        ending = {"parquet": "parquet", "alpaca-eval": "json"}.get(format_, "jsonl")
        name = record.step.replace("/", "-")
        out = Path(f"{run.resolve().name}-{name}-{format_}.{ending}")
        if out.exists():
            raise MistakeError(f"{out} is there already; name the file to write with --out.")
    rows, name = Dataset(folder, record.fingerprint), run.resolve().name
    count = write_rows_as(rows, out, cast(Format, format_), name)
    console().print(Text(f"{number(count)} rows of {record.step} as {format_}: {out}"))


def clean(
    run: RunDir,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what the latest launch does not refer to, after showing it and asking.

    Example: woolgather clean runs/isheep-smollm2-135m-demo --dry-run
    """
    if as_json and not (yes or dry_run):
        raise MistakeError("--json cannot ask; say --dry-run, or --yes to delete.")
    read_run(run)
    if dry_run:
        _show_leftovers(run, leftovers(run), as_json, deleted=False)
        return
    with RunLock(run):
        found = leftovers(run)
        if not as_json:
            _show_leftovers(run, found, as_json, deleted=False)
        if not found or not (yes or typer.confirm(f"Delete {len(found)} of {run}?")):
            if as_json:
                print_json([])
            return
        sized = [(path, why, _bytes(path)) for path, why in found]
        for path, _ in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if as_json:
        print_json([_leftover(run, *item, deleted=True) for item in sized])
    else:
        console().print(Text(f"deleted {size(sum(s for _, _, s in sized))}"))


def leftovers(run_dir: Path) -> list[tuple[Path, str]]:
    """What `clean` deletes, and why: directories of steps that the run no longer consists of,
    attempts left in those it does, and the engine's log of a finished run. What the same command
    would continue from is not among them."""
    launches = read_launches(run_dir)
    current = current_steps(run_dir)
    finished = bool(launches) and launches[-1].status == "finished"
    since = 0.0
    for launch in itertools.takewhile(lambda x: x.status != "finished", reversed(launches)):
        since = datetime.fromisoformat(launch.started).timestamp()
    kept = {run_dir / str(entry["path"]) for entry, _ in current}
    needed = [Path(str(r.result.get("path"))) for _, r in current if r.kind == "model"]
    needed += [p.resolve() for p in run_dir.iterdir() if p.is_symlink()]
    found: list[tuple[Path, str]] = []
    for folder in _step_dirs(run_dir):
        if folder in kept:
            attempts = sorted(folder.glob("attempt-*"))
            found += [(attempt, "an attempt of a finished step") for attempt in attempts]
        elif any(path.is_relative_to(folder.resolve()) for path in needed):
            continue
        elif (folder / RECORD).is_file():
            found.append((folder, "a result that the latest launch does not use"))
        elif finished or folder.stat().st_mtime < since:
            found.append((folder, "never finished"))
    if finished:
        found += [(log, "log of an engine") for log in sorted(run_dir.glob("engine*.log"))]
    return found


def _step_dirs(run_dir: Path) -> Iterator[Path]:
    """Every directory whose name is a step's, at any depth of scopes; links are not followed."""
    for path in sorted(p for p in run_dir.iterdir() if p.is_dir() and not p.is_symlink()):
        if re.fullmatch(r".+-[0-9a-f]{12}", path.name):
            yield path
        elif path.name not in (INPUTS, LAUNCHES):
            yield from _step_dirs(path)


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.lstat().st_size for p in files)


def _leftover(run: Path, path: Path, why: str, size: int, *, deleted: bool) -> dict[str, JSON]:
    return {
        "path": path.relative_to(run).as_posix(),
        "why": why,
        "bytes": size,
        "deleted": deleted,
    }


def _show_leftovers(
    run: Path, found: list[tuple[Path, str]], as_json: bool, *, deleted: bool
) -> None:
    rows = [_leftover(run, path, why, _bytes(path), deleted=deleted) for path, why in found]
    if as_json:
        print_json(rows)
    elif not rows:
        console().print(Text(f"nothing to delete in {run}"))
    else:
        shown = [{**row, "size": size(row["bytes"])} for row in rows]
        total = size(sum(row["bytes"] for row in rows))
        print_rows(shown, [Column("path"), Column("size", right=True), Column("why")], f"{total}")


def _input(given: Mapping[str, JSON]) -> str:
    """An input in a word; of texts, how many there are."""
    if "bytes" not in given:
        return str(given["name"])
    count = given["files"]
    files = f", {number(count)} file{'s' if count > 1 else ''}, {size(given['bytes'])}"
    return f"{given['name']} ({given['given_as']}{files if count else ''})"


def _short(row: Mapping[str, JSON]) -> dict[str, str]:
    """Why a step ran, where that is worth a word, and what came of it; in full in the JSON."""
    why = "" if row["why"] == "not done yet" else one_line(str(row["why"]), OUTCOME)
    return {"why": why, "outcome": one_line(str(row["outcome"] or ""), OUTCOME)}


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else ""


def _row_json(row: Row) -> dict[str, JSON]:
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
            head.append(f"  ended by {harmless(str(row.finish_reason))}", style="not bold dim")
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
    elif place := tracing.place_of(row.meta):
        yield Text(f"  from {harmless(place)}", style="dim")
    yield Text("")


def _show_content(folder: Path, record: StepRecord, as_json: bool) -> None:
    """What a step that makes no rows came to."""
    content: dict[str, JSON] = {"step": record.step, "kind": record.kind}
    if record.kind == "model":
        path = Path(str(record.result.get("path")))
        place = folder / path if (folder / path).exists() else path
        content |= {"path": str(place), "prompt_format": record.result.get("prompt_format")}
        files = sorted(p for p in place.glob("*") if p.is_file()) if place.is_dir() else []
        content["files"] = {p.name: p.stat().st_size for p in files}
    elif record.kind == "metrics":
        content |= {"headline": record.headline, "values": record.result.get("values")}
    else:
        content |= {"value": record.result.get("value"), "why": record.result.get("why")}
    if as_json:
        print_json({**content, "views": [dict(view) for view in record.views]})
        return
    out = console()
    for key, value in content.items():
        if key == "files":
            value = {name: size(count) for name, count in value.items()}
        if isinstance(value, dict):
            pairs = [{"name": name, "value": inner} for name, inner in value.items()]
            print_rows(pairs, [Column("name", key), Column("value", " ")])
        else:
            out.print(Text(f"{key}: {output.cell(value)}"))
    for view in record.shown():
        output.print_view(view)
