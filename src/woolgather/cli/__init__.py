"""Thin commands over the library, no logic of their own.

Exit codes: 2 a mistake in what was asked, 1 a failure of the work, 75 stopped at a deadline or by a
signal (the same command resumes the run).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from woolgather.core.errors import WoolgatherError, disk_error


def app() -> typer.Typer:
    """Returns the command line with its commands; importing them loads nothing heavy."""
    from woolgather.cli import (
        about,
        inspecting,
        models,
        preparing,
        publishing,
        reporting,
        running,
        sweeping,
        trying,
        voting,
    )

    cli = typer.Typer(
        name="woolgather",
        help="Align a language model with data the model writes itself.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    commands = (
        running.run, running.plan, sweeping.sweep, trying.headroom, inspecting.status,
        inspecting.show, inspecting.lineage, reporting.report, reporting.compare, voting.vote,
        models.eval_, models.chat, inspecting.export, publishing.push, inspecting.clean,
        preparing.prepare, about.recipes, about.doctor,
    )  # fmt: skip
    for command in commands:
        cli.command(name=command.__name__.rstrip("_"))(command)
    return cli


def main() -> None:
    """Run the command line. A user's mistake becomes one message, never a traceback."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()(prog_name="woolgather")
    except WoolgatherError as error:
        _say(error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        full = disk_error(error, Path(error.filename or "."))
        if full is None:
            raise
        _say(full)


def _say(error: WoolgatherError) -> None:
    """Print the message to stderr and exit with the error's code."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(str(error)))
    sys.exit(error.exit_code)
