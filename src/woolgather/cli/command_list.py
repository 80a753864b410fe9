"""The commands by name: where each is, and what `woolgather --help` says of it.

The one idea: help answers at once, and a command's module is loaded when the command is called. The
texts here repeat how the commands' own begin; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

COMMANDS = {
    "run": ("running", "Start a run, or resume it: the same command does both."),
    "plan": (
        "running",
        "Show what a run would do: which steps are new or remembered, why, and how much work it is.",
    ),
    "sweep": (
        "sweeping",
        "Run a recipe at every combination of several settings' values, in one directory; a step that "
        "several points need is made once. The same command resumes it.",
    ),
    "headroom": (
        "trying",
        "Say what choosing among a base's own samples could reach, and which run follows from it.",
    ),
    "status": (
        "inspecting",
        "Show how far a run has come: one line per step, the step that runs now, and how the run "
        "ended.",
    ),
    "show": (
        "inspecting",
        "Show the rows of a step with their verdicts, or what the step measured, chose or trained.",
    ),
    "lineage": ("inspecting", "Show what a row or a step was made from, up to the seeds."),
    "report": ("reporting", "Write the report of a run: one HTML file that opens offline."),
    "compare": (
        "reporting",
        "Show several runs side by side: settings that differ, rows after each step, measures.",
    ),
    "vote": (
        "voting",
        "Vote on pairs of answers, blind, on a page of this machine; `report` shows what the votes "
        "say.",
    ),
    "eval": (
        "models",
        "Measure models on held-out tasks and probes, with 95 % intervals and the best null answer.",
    ),
    "chat": (
        "models",
        "Talk with a model, or with two side by side. /reset starts a new conversation, /exit ends.",
    ),
    "export": ("inspecting", "Write the rows of a step to a file for another program."),
    "push": (
        "publishing",
        "Publish a run's models and rows on the hub, with cards that tell how they were made.",
    ),
    "clean": (
        "inspecting",
        "Delete what the latest launch does not use, after showing it and asking.",
    ),
    "prepare": (
        "preparing",
        "Make the rows that a paper trained on from a public data set, with counts beside the "
        "paper's.",
    ),
    "recipes": (
        "about",
        "List the recipes; with a NAME, list its options, each with its default and its meaning.",
    ),
    "doctor": (
        "about",
        "Say what this machine has. The text is ready to paste into an issue and holds no secrets.",
    ),
}
"""By name, in the order of the help: the module of this folder, and the first paragraph."""


def function_of(name: str) -> Callable[..., object]:
    """Returns the function behind a command; its module is loaded."""
    module = import_module(f"woolgather.cli.{COMMANDS[name][0]}")
    found: Callable[..., object] = getattr(module, f"{name}_" if name == "eval" else name)
    return found


class LateCommand(TyperCommand):
    """A name and a text until it is called; then it hands over to the command itself."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the context of the command itself."""
        alone = new_typer(add_completion=False)
        alone.command(name=self.name)(function_of(str(self.name)))
        return get_command(alone).make_context(*args, **kwargs)


def new_typer(*, add_completion: bool = True) -> typer.Typer:
    """Returns a command line without commands."""
    return typer.Typer(
        name="woolgather",
        help="Align a language model with data the model writes itself.",
        no_args_is_help=True,
        add_completion=add_completion,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )


def app() -> typer.Typer:
    """Returns the command line with its commands, none of them loaded."""
    cli = new_typer()
    for name, (_, text) in COMMANDS.items():
        cli.command(name=name, cls=LateCommand, help=text)(lambda: None)
    return cli
