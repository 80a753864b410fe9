"""`headroom` asks a base, before a run is paid for, what there is to gain."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from woolgather.cli import output
from woolgather.cli.asking import (
    EngineArgs,
    EngineName,
    EnginePython,
    KeyEnv,
    Serve,
    Urls,
)
from woolgather.cli.running import Dir, Dtype, Redo, Settings, run
from woolgather.engines.base import EngineOptions
from woolgather.report.text import duration


def headroom(
    settings: Settings = None,
    run_dir: Dir = None,
    redo: Redo = None,
    engine: EngineName = "transformers",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    report: Annotated[bool, typer.Option(help="Write report.html when it ends.")] = True,
) -> None:
    """Say what choosing among a base's own samples could reach, and which run follows from it.

    Example: woolgather headroom base=Qwen/Qwen3-0.6B-Base seeds=mine.jsonl
    """
    from woolgather.api.advice import advise
    from woolgather.api.launch import AskedSettings, Launch
    from woolgather.runs.record import current_steps

    run(
        "headroom", settings, run_dir=run_dir, redo=redo, engine=engine, engine_python=engine_python,
        engine_args=engine_args, url=url, serve=serve, api_key_env=api_key_env, dtype=dtype,
        report=report,
    )  # fmt: skip
    options = EngineOptions(name=engine)
    ask = Launch("headroom", AskedSettings(texts=settings or ()), folder=run_dir, engine=options)
    values = next(
        record.result["values"] for _, record in current_steps(ask.dir) if record.step == "summary"
    )
    console = output.console(markup=True)
    found = advise(values, settings or (), options)
    if found is None:
        console.print("No run follows: docs/choosing.md says what there is besides selection.")
        return
    command, seconds = found
    console.print(
        f"What follows, at most about {duration(seconds)} here:\n  {escape(command)}",
        soft_wrap=True,
    )
