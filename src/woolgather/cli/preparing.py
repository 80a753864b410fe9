"""`prepare` makes the rows that the papers used from public data sets."""

from __future__ import annotations

import difflib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.text import Text

from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.core.errors import ConfigError
from woolgather.report.text import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from woolgather.prepare import BlankLines, PublishedSource, Rule


def prepare(
    data: Annotated[
        str, typer.Argument(help="oasst1, refinedweb, ultrachat or dromedary2-prompts.")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="A file or folder (Parquet, JSONL, JSON), or a hub data set. Default: the usual hub "
            "data set. Where there are several sources (sharegpt, dolly, openassistant, openorca), "
            "write NAME=PATH."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write, .jsonl or .parquet. Default: <data>.jsonl."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", min=1, help="Number of rows from each source. Default: the paper's."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 42,
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Model whose tokenizer measures the length of prompts. Default: words are counted.",
        ),
    ] = "",
    rule: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="oasst1: paper (first turns) or unofficial (all turns, as the unofficial code).",
        ),
    ] = "paper",
    blank_lines: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="refinedweb: drop pages with a blank line, as the unofficial code does, or keep them.",
        ),
    ] = "drop",
    as_json: Json = False,
) -> None:
    """Make the rows that a paper trained on from a public data set, with counts beside the paper's.

    Example: woolgather prepare oasst1 ./oasst1 --out seeds.jsonl
    """
    from woolgather.prepare import SETS, FilterCounts, Wanted, write

    if data not in SETS:
        near = difflib.get_close_matches(data, SETS, 1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(SETS)}."
        raise ConfigError(f"unknown data set {data!r}.{hint}")
    out = out or Path(f"{data}.jsonl")
    if out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"--out {out}: the file's name has to end in .jsonl or .parquet.")
    counter = _counter(tokenizer) if tokenizer else None
    wanted = Wanted(rows, seed, counter, cast("Rule", rule), cast("BlankLines", blank_lines))
    found = _sources(data, sources or [], SETS[data].sources)
    tally = FilterCounts()
    count = write(SETS[data].make(found, wanted, tally), out, data)
    lines = [asdict(line) for line in tally.lines]
    if as_json:
        told = {"data": data, "out": str(out), "rows": count, "filters": lines}
        print_json({**told, "lengths": [asdict(found) for found in tally.lengths]})
        return
    print_rows(
        lines,
        [
            Column("source"),
            Column("filter"),
            Column("before", right=True),
            Column("after", right=True),
            Column("paper", "in the paper", right=True),
            Column("why"),
        ],
        f"{data} from {', '.join(s.name for s in found.values())}",
    )
    for one in tally.lengths:
        paper = f"; published: {one.paper[0]:.0f} ± {one.paper[1]:.0f}" if one.paper else ""
        console().print(Text(f"{one.what}: {one.mean:.0f} ± {one.deviation:.0f} characters{paper}"))
    console().print(Text(f"{number(count)} rows: {out}"))


def _sources(
    data: str, given: list[str], usual: Mapping[str, PublishedSource]
) -> dict[str, PublishedSource]:
    """The sources that the user named, or all the usual ones."""
    named: dict[str, str] = {}
    for text in given:
        name, sign, path = text.partition("=")
        if len(usual) == 1 and (not sign or Path(text).exists()):
            name, path = next(iter(usual)), text
        if name not in usual or not path:
            raise ConfigError(
                f"{text!r}: write NAME=PATH, the name one of {', '.join(usual)}; "
                f"e.g. {next(iter(usual))}=./{next(iter(usual))}."
            )
        if name in named:
            raise ConfigError(f"{text!r}: {name} is named twice; put its files into one folder.")
        named[name] = path
    chosen = [name for name in usual if name in named] or list(usual)
    sign = "" if len(usual) == 1 else "{}="
    return {
        name: replace(
            usual[name],
            name=named.get(name, usual[name].name),
            files=() if name in named else usual[name].files,
            also=() if name in named else usual[name].also,
            command=f"woolgather prepare {data} {sign.format(name)}...",
            note=lambda text: typer.echo(text, err=True),
        )
        for name in chosen
    }


def _counter(name: str) -> Callable[[str], int]:
    from woolgather.models.open import EMBEDDED
    from woolgather.prompting.renderer import Renderer

    if name == EMBEDDED:
        from woolgather.models.embedded import embedded_model

        name = str(embedded_model())
    renderer = Renderer(name)
    return lambda text: len(renderer.continuation_ids(text))
