"""Options that say how a model is asked, for every command that asks one."""

from __future__ import annotations

from typing import Annotated

import typer

Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        metavar="URL[#NAME]",
        help="For openai: the server of the one model that is asked, and the model's name there if "
        "it has several; repeat it for several servers of that model.",
    ),
]
Serve = Annotated[
    list[str] | None,
    typer.Option(
        "--serve",
        metavar="ROLE_OR_PATH=URL[#NAME]",
        help="For openai: the server of one model of several, which is called by its role in a run "
        "(base, judge_model, win_judge) or as it is written in the command; repeatable.",
    ),
]
KeyEnv = Annotated[str, typer.Option(help="Environment variable with the server's key.")]
