"""`sweep` runs a recipe at several values of its settings, and shows what each brought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from woolgather.api.launch import AskedSettings, AskedTraining
from woolgather.api.stopping import stopping
from woolgather.api.sweeping.at_once import AtOnce
from woolgather.api.sweeping.sweep import Sweep
from woolgather.api.sweeping.telling import ShownSweep
from woolgather.cli import output
from woolgather.cli.asking import (
    EngineArgs,
    EngineName,
    EnginePython,
    KeyEnv,
    Replicas,
    Serve,
    TemplateKwargs,
    Urls,
    engine_options,
)
from woolgather.cli.output import Column, print_rows, print_view
from woolgather.cli.running import (
    Accelerate,
    Dtype,
    Files,
    Given,
    MaxHours,
    Preset,
    Processes,
    Recipe,
    read_choices,
)
from woolgather.core.errors import Stopped, WoolgatherError
from woolgather.report.text import duration, number, size

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=V1,V2",
        help="Settings with one value or several, e.g. keep.above=4,6,8; replicate=0,1,2 draws "
        "everything anew.",
    ),
]


def sweep(
    recipe: Recipe,
    settings: Words = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done, and do nothing.")
    ] = False,
    measure: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Measure that tables and figures show, e.g. heldout. Default: the first that each "
            "iteration has.",
        ),
    ] = "",
    preset: Preset = "default",
    config: Files = None,
    sweep_dir: Annotated[
        Path | None,
        typer.Option("--dir", help="Directory of the sweep. Default: runs/<recipe>-<model>-sweep."),
    ] = None,
    given: Given = None,
    engine: EngineName = "transformers",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    engine_replicas: Replicas = 0,
    at_once: Annotated[
        int,
        typer.Option(
            "--at-once",
            metavar="N",
            help="Work on N points at once, each in a process with its share of the threads or GPUs, on "
            "this machine or where --ray says. Default: one after another.",
        ),
    ] = 1,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="HOST:PORT",
            help="The Ray cluster, as `ray start` prints it, that works on the points of --at-once or "
            "holds the replicas of --engine-replicas. Its nodes share the disk of --dir.",
        ),
    ] = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    chat_template_kwargs: TemplateKwargs = "",
    accelerate: Accelerate = "ddp",
    processes: Processes = 1,
    max_hours: MaxHours = None,
    report: Annotated[
        bool, typer.Option(help="Write report.html of each point, beside sweep.html.")
    ] = True,
) -> None:
    """Run a recipe at every combination of several settings' values, in one directory; a step that
    several points need is made once. The same command resumes it.

    Example: woolgather sweep isheep --preset paper base=Qwen/Qwen3-0.6B-Base keep.above=-1,0,2,4,6,8,9
    """
    several = AtOnce(at_once, "" if engine_replicas else ray)
    asked = Sweep(
        recipe,
        AskedSettings(preset, files=config or (), texts=settings or ()),
        folder=sweep_dir,
        engine=engine_options(
            engine,
            url,
            serve,
            api_key_env,
            dtype,
            chat_template_kwargs,
            python=engine_python,
            args=engine_args,
            replicas=engine_replicas,
            ray=ray if engine_replicas else "",
        ),
        training=AskedTraining(accelerate, processes),
        choices=read_choices(given, None, 0),
    )
    console = output.console(markup=True)
    if plan:
        _print_plan(asked, console)
        return
    with stopping(max_hours):
        try:
            failed = asked.carry_out(
                ShownSweep(console, asked.points), measure=measure, report=report, at_once=several
            )
        except Stopped as stop:
            console.print(f"[yellow]stopped:[/] {escape(str(stop))}; what is finished is kept.")
            console.print("Run the same command again to resume.")
            raise typer.Exit(Stopped.exit_code) from None
    _print_end(asked, console)
    if failed:
        raise typer.Exit(WoolgatherError.exit_code)


def _print_plan(asked: Sweep, console: Console) -> None:
    plans = asked.plan()
    rows = [
        {
            "point": plan.point.name,
            "new": plan.new,
            "shared": plan.shared or None,
            "remembered": plan.remembered or None,
            "calls": number(plan.calls),
            "time": duration(plan.seconds) if plan.seconds else None,
        }
        for plan in plans
    ]
    columns = [
        Column("point"),
        Column("new", right=True),
        Column("shared", "made by a point before", right=True),
        Column("remembered", right=True),
        Column("calls", "calls ≤", right=True),
        Column("time", "time ~", right=True),
    ]
    print_rows(rows, columns, f"plan of {asked.launches[0].module_name} in {asked.dir}")
    console.print(
        f"{len(plans)} points: {number(sum(p.new for p in plans))} steps to run, where points "
        f"alone would run {number(sum(p.new + p.shared for p in plans))}; "
        f"{number(sum(p.remembered for p in plans))} remembered. At most about "
        f"{duration(sum(p.seconds for p in plans))}, {plans[0].rate_source}, and "
        f"{size(sum(p.disk_bytes for p in plans))} on disk.",
        highlight=False,
        soft_wrap=True,
    )


def _print_end(asked: Sweep, console: Console) -> None:
    """The tables, what was shared, and where the page is."""
    from woolgather.report.sweep.table import alike, read_sweep_dir, tables
    from woolgather.runs.record import read_launches

    found = read_sweep_dir(asked.dir)
    console.print()
    for view in tables(found):
        print_view(view)
    for word, meaning in found.record.meanings.items():
        console.print(f"{escape(word)} stands for {escape(meaning)}.", highlight=False)
    for names in alike(found):
        console.print(
            f"[yellow]{escape(' and '.join(names))}[/] are made of the very same steps: what tells them "
            "apart is not used.",
            highlight=False,
        )
    launches = [read_launches(point.run.path)[-1] for point in found.points if point.run]
    states = [entry["state"] for launch in launches for entry in launch.steps]
    console.print(
        f"{len(found.points)} points: {number(states.count('ran'))} steps made, "
        f"{number(states.count('remembered'))} there already, of another point or from before.",
        highlight=False,
    )
    console.print(f"Report: {escape(str(asked.dir / 'sweep.html'))}", soft_wrap=True)
