"""Options that say how a model is asked, for every command that asks a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from woolgather.core.artifacts import TemplateVariables
    from woolgather.core.rows import JSON
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
        help="The server of one model of several; --engine asks the models that no server is named for. "
        "Call the model by its role in the run (base, judge_model, win_judge) or as the command names "
        "it. Repeat the option for each model, and for more servers of a model.",
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
        help="What runs the model: transformers or vllm (this machine), openai (a server with the OpenAI "
        "API) or fake (no model: random words, to try a command).",
    ),
]
EnginePython = Annotated[
    str,
    typer.Option(
        "--engine-python",
        metavar="PATH",
        help="With --engine vllm: the interpreter that vLLM is installed in. Default: "
        ".venv-vllm/bin/python, or the one that runs this.",
    ),
]
EngineArgs = Annotated[
    str,
    typer.Option(
        "--engine-args",
        metavar="JSON",
        help="With --engine vllm: arguments for vLLM, e.g. '{\"max_model_len\": 4096}'.",
    ),
]
Replicas = Annotated[
    int,
    typer.Option(
        "--engine-replicas",
        metavar="N",
        min=0,
        help="Ask N replicas of the model at once, each with a GPU or its share of the cores. Ray holds "
        "them: on this machine, or where --ray says. Default: one engine, without Ray.",
    ),
]
Ray = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="HOST:PORT",
        help="With --engine-replicas: the Ray cluster that holds the replicas, as `ray start` prints it. "
        "Models must be on a disk that its nodes share.",
    ),
]
TemplateKwargs = Annotated[
    str,
    typer.Option(
        "--chat-template-kwargs",
        metavar="JSON",
        help="Variables for the chat templates of the models that are named, e.g. "
        "'{\"enable_thinking\": false}' to switch reasoning off. They change what is asked: a step "
        "made without them is made anew.",
    ),
]


def engine_options(
    engine: str,
    url: list[str] | None,
    serve: list[str] | None,
    api_key_env: str,
    dtype: str,
    chat_template_kwargs: str = "",
    *,
    python: str = "",
    args: str = "",
    replicas: int = 0,
    ray: str = "",
) -> EngineOptions:
    """Returns the options of a command as the library takes them. Raises ConfigError for template
    variables that are not an object of plain values, and for `args` that are no JSON object."""
    from woolgather.engines.base import EngineOptions

    return EngineOptions(
        engine,
        dtype=dtype,
        urls=tuple(url or ()),
        serve=tuple(serve or ()),
        api_key_env=api_key_env,
        python=python,
        args=_read_args(args),
        replicas=replicas,
        ray=ray,
        chat_template_kwargs=read_template_kwargs(chat_template_kwargs),
    )


def _read_args(text: str) -> dict[str, JSON]:
    from woolgather.core.errors import ConfigError

    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(name.isidentifier() for name in found):
        raise ConfigError(
            f"--engine-args {text}: give a JSON object of arguments of vllm.LLM, e.g. "
            "'{\"max_model_len\": 4096}'."
        )
    return found


def read_template_kwargs(text: str) -> TemplateVariables:
    """Returns the variables that --chat-template-kwargs gives; none for an empty text. Raises ConfigError
    unless it is a JSON object of names with texts, numbers, true or false."""
    from woolgather.core.errors import ConfigError

    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and all(
        name.isidentifier() and isinstance(value, bool | int | float | str)
        for name, value in found.items()
    ):
        return found
    raise ConfigError(
        f"--chat-template-kwargs {text}: give a JSON object of names with texts, numbers, true or "
        "false, e.g. '{\"enable_thinking\": false}'."
    )
