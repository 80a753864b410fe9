"""`vote`: people say which of two models answers better, on a page of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from woolgather.cli.asking import (
    EngineArgs,
    EngineName,
    EnginePython,
    KeyEnv,
    Serve,
    Urls,
    engine_options,
)
from woolgather.cli.output import console
from woolgather.report.text import harmless, number

if TYPE_CHECKING:
    from woolgather.engines.journal import Calls

RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]


def vote(
    run: RunDir,
    between: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Models of the run, such as iter1,iter0 or result,control/random-rows. Default: the "
            "result and the base.",
        ),
    ] = "",
    prompts: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of prompts: all held-out tasks, and as many probes as are missing to that.",
        ),
    ] = 200,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes any that is free.")
    ] = 0,
    engine: EngineName = "",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
) -> None:
    """Vote on pairs of answers, blind, on a page of this machine; `report` shows what the votes say.

    Answers are those of the run's measures. A model is asked only for those that are missing, with the
    run's own engine unless --engine names another one.

    Example: woolgather vote runs/isheep-smollm2-135m-demo --between iter1,iter0
    """
    from woolgather.report.votes.ballot import VoteFile, poll_dir
    from woolgather.runs.record import current_steps, read_run
    from woolgather.vote.answers import Answerer
    from woolgather.vote.pairing import choose_models, make_poll
    from woolgather.vote.server import Booth, VoteServer

    read_run(run)
    steps = current_steps(run)
    models = choose_models(run, steps, between)
    options = engine_options(
        engine, url, serve, api_key_env, "auto", python=engine_python, args=engine_args
    )
    shown = Console(stderr=True, highlight=False)
    with shown.status(Text("reading the answers")) as live:

        def tell(name: str, calls: Calls) -> None:
            asked = number(calls.requests - calls.remembered)
            live.update(
                Text(f"{name}: {asked} answers asked, {number(calls.remembered)} remembered")
            )

        with Answerer(run, steps, models, options, tell) as answerer:
            poll = make_poll(run, steps, models, answerer, prompts)
    booth = Booth(poll, VoteFile(poll_dir(run, models)))
    out = console()
    with VoteServer(booth, port) as server:
        voted = (
            f", {number(len(booth.tally.votes))} of them with a vote" if booth.tally.votes else ""
        )
        pairs = f"{number(len(poll.pairs))} pairs of answers{voted}"
        out.print(Text(harmless(f"{models[0]} or {models[1]}: {pairs}. Ctrl-C ends.")))
        out.print(Text(server.address, style="bold"), soft_wrap=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print()
    if booth.tally.votes:
        out.print(Text(harmless(booth.tally.sentence)))
        out.print(Text(f"`woolgather report {run}` shows this beside the run's own measures."))
