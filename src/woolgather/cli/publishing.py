"""`push`: a run as repositories of the hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from woolgather.cli.inspecting import RunDir
from woolgather.cli.output import Column, console, print_rows
from woolgather.report.text import number, size
from woolgather.runs.record import read_run

if TYPE_CHECKING:
    from woolgather.release.folder import Repository
    from woolgather.release.upload import Destination

RELEASE = "release"
"""Folder of the run in which what goes out is written."""
NOBODY = "your-name"
"""Owner of a dry run's repositories where none is named."""


def push(
    run: RunDir,
    models: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Models to publish, with commas: result, or a scope that trains one, such as iter0.",
        ),
    ] = "result",
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Publish the rows that the models were made from, too."),
    ] = False,
    to: Annotated[
        str,
        typer.Option(
            metavar="OWNER/NAME", help="Name on the hub. Default: yours, and the run directory's."
        ),
    ] = "",
    private: Annotated[
        bool, typer.Option("--private", help="Make the repositories private.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only write what would be sent, to RUN/release.")
    ] = False,
) -> None:
    """Publish a run's models and rows on the hub, with cards that tell how they were made.

    Everything that goes out is written to RUN/release first and searched for secrets and paths of this
    machine; any of them stops it. What is on the hub already is not sent again.

    Example: woolgather push runs/isheep-smollm2-135m-demo --models iter0,result --with-data --dry-run
    """
    from woolgather.release.folder import check_name, write_release

    read_run(run)
    if to:
        check_name(to)
    own = re.sub(r"[^\w.-]+", "-", run.resolve().name).strip("-.") or "run"
    names = [name.strip() for name in models.split(",") if name.strip()]
    out = run / RELEASE
    if dry_run:
        made = write_release(run, out, to or f"{NOBODY}/{own}", names, data=with_data)
        _show(made)
        console().print(Text(f"written to {out}; nothing was sent"))
        return
    from woolgather.release.upload import Publisher

    hub = Publisher()
    made = write_release(run, out, to or f"{hub.user}/{own}", names, data=with_data)
    places = hub.look_at(made, private)
    _show(made, places)
    if not (yes or typer.confirm("Send this to the hub?")):
        return
    for place in places:
        sent = hub.send(place)
        said = "sent" if sent.changed else "nothing new"
        console().print(Text(f"{said}: {place.url}"))


def _show(repositories: Sequence[Repository], places: Sequence[Destination] = ()) -> None:
    """A line per repository; whether it is new and who sees it is known once the hub was asked."""
    rows: list[dict[str, object]] = [
        {
            "repository": each.name,
            "kind": {"model": "model", "dataset": "data set"}[each.kind],
            "files": number(len(each.files)),
            "size": size(each.size),
        }
        for each in repositories
    ]
    for row, place in zip(rows, places, strict=False):
        row["hub"] = "new" if place.is_new else "is there; what changed is added"
        row["seen"] = "private" if place.private else "public"
    columns = [
        Column("repository"),
        Column("kind"),
        Column("files", right=True),
        Column("size", right=True),
        Column("hub", "on the hub"),
        Column("seen", "seen by"),
    ]
    print_rows(rows, columns)
