"""`eval --suite`: its options, and how what came out is printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from woolgather.cli.output import print_json, print_view
from woolgather.core.errors import ConfigError
from woolgather.report.text import harmless

if TYPE_CHECKING:
    from woolgather.api.judged import JudgedResult
    from woolgather.api.suites import SuiteResult
    from woolgather.engines.base import EngineOptions

SuiteName = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="NAME|FILE",
        help="Evaluate with lm-evaluation-harness instead: isheep, humback, dromedary or spin (the tasks "
        "of that paper), or a YAML file of your own. Or write answers that a judge reads: alpaca_eval, "
        "mt_bench or vicuna. A run's directory stands for its base and every iteration.",
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
WinJudge = Annotated[
    str,
    typer.Option(
        "--win-judge",
        metavar="MODEL",
        help="With --suite alpaca_eval, mt_bench or vicuna: the model that judges the answers, once it "
        "has passed an audition; or name its server: --serve win_judge=URL#NAME. Default: nobody, "
        "answers are written alone.",
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
    max_tokens: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Carry out a suite and print its tables; progress goes to stderr."""
    from woolgather.api.suites import evaluate_suite
    from woolgather.suites.run import SuiteOptions

    folder = data_dir and data_dir.expanduser()
    asked = SuiteOptions(out, limit, folder, prompt_format, allow_code, max_tokens)
    _show(evaluate_suite(names, suite, options, asked, python=python, tell=_tell), as_json)


def judge(
    names: Sequence[str],
    suite: str,
    options: EngineOptions,
    prompt_format: str,
    *,
    limit: int | None,
    data_dir: Path | None,
    win_judge: str,
    max_tokens: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Have a benchmark answered and judged, and print its tables; progress goes to stderr."""
    from woolgather.api.judged import JudgedOptions, evaluate_judged
    from woolgather.judged.answers import TOKENS

    asked = JudgedOptions(
        out,
        data_dir and data_dir.expanduser(),
        limit,
        win_judge,
        prompt_format,
        max_tokens or TOKENS,
    )
    _show(evaluate_judged(names, suite, options, asked, tell=_tell), as_json)


def is_judged(suite: str) -> bool:
    """Returns whether the suite is one whose answers a judge reads."""
    from woolgather.judged.questions import BENCHMARKS

    return suite in BENCHMARKS


def _show(result: SuiteResult | JudgedResult, as_json: bool) -> None:
    if as_json:
        print_json(result.json())
        return
    for view in result.views():
        print_view(view)


def _tell(line: str) -> None:
    print(harmless(line), file=sys.stderr, flush=True)


def check_options(
    suite: str | None,
    *,
    limit: int | None,
    data_dir: Path | None,
    python: str,
    allow_code: bool,
    win_judge: str,
) -> None:
    """Raises ConfigError for an option that means nothing without a suite, or with this one."""
    judges = suite is not None and is_judged(suite)
    if suite is None:
        _refuse({"--limit": limit is not None, "--data-dir": data_dir is not None}, "--suite")
    if suite is None or judges:
        where = "suites of lm-evaluation-harness" if judges else "--suite"
        _refuse({"--eval-python": bool(python), "--allow-code": allow_code}, where)
    if not judges:
        _refuse({"--win-judge": bool(win_judge)}, "--suite alpaca_eval, mt_bench or vicuna")


def _refuse(given: Mapping[str, bool], where: str) -> None:
    for option in (name for name, is_given in given.items() if is_given):
        raise ConfigError(f"{option} is for {where}. Name one, or leave {option} out.")
