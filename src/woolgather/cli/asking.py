"""Options that say how a model is asked, for every command that asks a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from woolgather.engines.base import EngineOptions

Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        metavar="URL[#NAME]",
        help="With --engine openai and a single model: its server, and the model's name there if the "
        "server has several. Repeat the option for more servers of the same model.",
    ),
]
Serve = Annotated[
    list[str] | None,
    typer.Option(
        "--serve",
        metavar="ROLE_OR_PATH=URL[#NAME]",
        help="With --engine openai and several models: the server of one of them. Call the model by "
        "its role in the run (base, judge_model, win_judge) or as the command names it. Repeat the "
        "option for each model, and for more servers of a model.",
    ),
]
KeyEnv = Annotated[
    str, typer.Option(metavar="NAME", help="Environment variable that holds the server's API key.")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="What runs the model: transformers (this machine), openai (a server with the OpenAI API) "
        "or fake (no model: random words, to try a command).",
    ),
]


def engine_options(
    engine: str, url: list[str] | None, serve: list[str] | None, api_key_env: str, dtype: str
) -> EngineOptions:
    """Returns the options of a command as the library takes them."""
    from woolgather.engines.base import EngineOptions

    urls, serving = tuple(url or ()), tuple(serve or ())
    return EngineOptions(engine, dtype=dtype, urls=urls, serve=serving, api_key_env=api_key_env)
