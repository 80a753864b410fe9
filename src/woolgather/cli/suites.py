"""`eval --suite`: its options, and how what came out is printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from woolgather.cli.output import print_json, print_view
from woolgather.core.errors import ConfigError
from woolgather.report.text import harmless

if TYPE_CHECKING:
    from woolgather.engines.base import EngineOptions

SuiteName = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="NAME|FILE",
        help="Evaluate with lm-evaluation-harness instead: isheep, humback, dromedary or spin (the tasks "
        "of that paper), or a YAML file of your own. A run's directory stands for its base and every "
        "iteration.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="With --suite: the first so many items of each task. Default: all."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="With --suite: folder of data sets, each under its name on the hub. Nothing is downloaded."
    ),
]
EvalPython = Annotated[
    str,
    typer.Option(
        "--eval-python",
        metavar="PATH",
        help="With --suite: the interpreter that lm-evaluation-harness is installed in. Default: the one "
        "that runs this.",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="With --suite: run code that the models write, for tasks that check it so. Use a container.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        help="With --suite: directory of results. The same command there asks only what is not finished."
    ),
]


def evaluate(
    names: Sequence[str],
    suite: str,
    options: EngineOptions,
    prompt_format: str,
    *,
    limit: int | None,
    data_dir: Path | None,
    python: str,
    allow_code: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Carry out a suite and print its tables; progress goes to stderr."""
    from woolgather.api.suites import evaluate_suite
    from woolgather.suites.run import SuiteOptions

    asked = SuiteOptions(out, limit, data_dir and data_dir.expanduser(), prompt_format, allow_code)

    def tell(line: str) -> None:
        print(harmless(line), file=sys.stderr, flush=True)

    result = evaluate_suite(names, suite, options, asked, python=python, tell=tell)
    if as_json:
        print_json(result.json())
        return
    for view in result.views():
        print_view(view)


def refuse_without_suite(limit: int | None, data_dir: Path | None, python: str, code: bool) -> None:
    """Raises ConfigError for an option that means nothing without --suite."""
    given = {
        "--limit": limit is not None,
        "--data-dir": data_dir is not None,
        "--eval-python": bool(python),
        "--allow-code": code,
    }
    for option in (name for name, is_given in given.items() if is_given):
        raise ConfigError(f"{option} is for --suite. Name one, or leave {option} out.")
