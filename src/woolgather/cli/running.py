"""`run` does the work of a recipe; `plan`, with the same settings, says what `run` would do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from woolgather.api.launch import AskedSettings, AskedTraining, Launch
from woolgather.api.plan_lines import spell_memory
from woolgather.api.progress.show import Shown
from woolgather.api.results import PlanTotal
from woolgather.api.stopping import stopping
from woolgather.cli import output
from woolgather.cli.asking import (
    EngineArgs,
    EngineName,
    EnginePython,
    KeyEnv,
    Ray,
    Replicas,
    Serve,
    TemplateKwargs,
    Urls,
    engine_options,
    read_template_kwargs,
)
from woolgather.cli.output import Json
from woolgather.core.errors import ConfigError, Stopped
from woolgather.engines.base import EngineOptions
from woolgather.report.text import duration, gigabytes, number, size

if TYPE_CHECKING:
    from woolgather.runs.call import StepChoices

Recipe = Annotated[str, typer.Argument(help="A recipe's name, or the path of a .py file.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings, e.g. sft.learning_rate=1e-4."),
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset", metavar="NAME", help="Named settings: demo, paper, code, default, ..."
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="YAML file of settings. May be repeated; later files win."),
]
Dir = Annotated[
    Path | None, typer.Option("--dir", help="Run directory. Default: runs/<recipe>-<model>.")
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        metavar="STEP=PATH",
        help="Take a step's result from rows (files, or a data set of the hub), or from a model. "
        "May be repeated.",
    ),
]
Redo = Annotated[
    list[str] | None,
    typer.Option("--redo", metavar="STEP", help="Run this step again. May be repeated."),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Precision of generation: auto, bfloat16, float16 or float32."
    ),
]
Replicate = Annotated[
    int,
    typer.Option(help="Number of the replicate: each number gives a run with other random draws."),
]

Accelerate = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help="Who holds what when several processes train: ddp, fsdp2, zero2, zero3, or a "
        "configuration of accelerate.",
    ),
]
Processes = Annotated[
    int, typer.Option(help="Training processes, one per GPU, on all machines together.")
]
Nodes = Annotated[
    str,
    typer.Option(
        metavar="N|slurm",
        help="Machines that train together. Each gets the same command, and they share the run "
        "directory; slurm reads what srun has set.",
    ),
]
NodeRank = Annotated[
    int | None,
    typer.Option(metavar="R", help="Which of --nodes this is, from 0 on. 0 has the run."),
]
MainAddress = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where the others of --nodes reach number 0.")
]
ReportTo = Annotated[
    str,
    typer.Option(
        "--report-to",
        metavar="NAME",
        help="Tracker that gets training curves and measures as well: tensorboard, trackio, wandb, ...",
    ),
]
Headroom = Annotated[
    Path | None,
    typer.Option(
        "--headroom",
        metavar="DIR",
        help="Directory of a headroom of the same base, whose lines come first in the report. "
        "Default: headroom in the run directory, where there is one.",
    ),
]
MaxHours = Annotated[
    float | None, typer.Option(help="Stop cleanly after this many hours, with exit code 75.")
]


def run(
    recipe: Recipe,
    settings: Settings = None,
    preset: Preset = "default",
    config: Files = None,
    run_dir: Dir = None,
    given: Given = None,
    redo: Redo = None,
    engine: EngineName = "transformers",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    engine_replicas: Replicas = 0,
    ray: Ray = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    chat_template_kwargs: TemplateKwargs = "",
    accelerate: Accelerate = "ddp",
    processes: Processes = 1,
    nodes: Nodes = "1",
    node_rank: NodeRank = None,
    main_address: MainAddress = "",
    report_to: ReportTo = "",
    max_hours: MaxHours = None,
    replicate: Replicate = 0,
    headroom: Headroom = None,
    report: Annotated[bool, typer.Option(help="Write report.html when the run ends.")] = True,
) -> None:
    """Start a run, or resume it: the same command does both.

    Example: woolgather run isheep base=Qwen/Qwen3-0.6B-Base seeds=mine.jsonl iterations=3
    """
    ask = Launch(
        recipe,
        AskedSettings(preset, files=config or (), texts=settings or ()),
        folder=run_dir,
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
            ray=ray,
        ),
        training=AskedTraining(accelerate, processes, nodes, node_rank, main_address, report_to),
        choices=read_choices(given, redo, replicate),
    )
    console = output.console(markup=True)

    def shown(total: PlanTotal) -> Shown:
        console.print(f"[bold]{ask.module_name}[/] in {escape(str(ask.dir))}", soft_wrap=True)
        if total["new"] and engine != "fake":
            console.print(f"[dim]{escape(_outlook(total))}[/]", soft_wrap=True)
        return ask.show(console, total)

    helps = bool(ask.training.read_node().rank)
    with stopping(max_hours):
        try:
            if helps:
                console.print(
                    f"[bold]{ask.module_name}[/] in {escape(str(ask.dir))}: helps with it"
                )
                ask.help_out(lambda text: console.print(escape(text), soft_wrap=True))
                return
            path = ask.carry_out(shown, report=report, headroom=headroom)
        except Stopped as stop:
            console.print(f"[yellow]stopped:[/] {escape(str(stop))}; what is finished is kept.")
            console.print("Run the same command again to resume.")
            raise typer.Exit(Stopped.exit_code) from None
    _print_end(console, ask.dir)
    if path:
        console.print(f"Report: {escape(str(path))}", soft_wrap=True)


def plan(
    recipe: Recipe,
    settings: Settings = None,
    preset: Preset = "default",
    config: Files = None,
    run_dir: Dir = None,
    given: Given = None,
    redo: Redo = None,
    engine: EngineName = "transformers",
    chat_template_kwargs: TemplateKwargs = "",
    accelerate: Accelerate = "ddp",
    processes: Processes = 1,
    replicate: Replicate = 0,
    as_json: Json = False,
) -> None:
    """Show what a run would do: which steps are new or remembered, why, and how much work it is.

    Example: woolgather plan isheep base=embedded --preset demo iterations=3
    """
    ask = Launch(
        recipe,
        AskedSettings(preset, files=config or (), texts=settings or ()),
        folder=run_dir,
        engine=EngineOptions(
            name=engine, chat_template_kwargs=read_template_kwargs(chat_template_kwargs)
        ),
        training=AskedTraining(accelerate, processes),
        choices=read_choices(given, redo, replicate),
    )
    lines, total = ask.plan()
    if as_json:
        steps = [{**line, "memory": asdict(m) if (m := line["memory"]) else None} for line in lines]
        print(json.dumps({"dir": str(ask.dir), "steps": steps, "total": total}, indent=1))
        return
    table = Table(title=f"plan of {ask.module_name} in {ask.dir}", title_justify="left", box=None)
    for name in (
        "step",
        "state",
        "rows ≤",
        "calls ≤",
        "new tokens ≤",
        "updates ≤",
        "time ~",
        "why",
    ):
        table.add_column(name, overflow="fold")
    for line in lines:
        numbers = [
            number(line[k]) if line[k] else "" for k in ("rows", "calls", "new_tokens", "updates")
        ]
        if line["state"] != "new":
            numbers = ["", "", "", ""]
        time = duration(line["seconds"]) if line["state"] == "new" and line["seconds"] else ""
        style = "dim" if line["state"] in ("remembered", "not needed") else ""
        table.add_row(
            escape(line["step"]), line["state"], *numbers, time, escape(line["why"]), style=style
        )
    console = output.console(markup=True)
    console.print(table)
    console.print(
        f"{total['new']} steps to run, {total['remembered']} remembered; at most "
        f"{number(total['calls'])} calls, {number(total['new_tokens'])} new tokens, "
        f"{number(total['updates'])} updates, {size(total['disk_bytes'])} on disk. {_outlook(total)}"
    )
    for memory in dict.fromkeys(line["memory"] for line in lines if line["state"] == "new"):
        if memory:
            console.print(
                f"{gigabytes(memory.total)} on each training device: {spell_memory(memory)}."
            )
    if total["visible"]:
        console.print(total["visible"])
    if total["chat_template"]:
        console.print(f"Chat template: {escape(total['chat_template'])}.")
    ask.check_training(lines)


def _outlook(total: PlanTotal) -> str:
    """How long the rest takes at most, and in which precision it trains."""
    trains = (
        f"training in {total['precision']}"
        if total["precision"]
        else "the precision of training is not known yet (`woolgather doctor` measures it)"
    )
    about = f"At most about {duration(total['seconds'])}, {total['rate_source']}"
    return f"{about}; {trains}." if total["updates"] else f"{about}."


def read_choices(given: list[str] | None, redo: list[str] | None, replicate: int) -> StepChoices:
    """Returns what is asked for of single steps. Raises ConfigError for a `--given` that is not
    STEP=PATH, or that gives a step twice."""
    from woolgather.runs.call import StepChoices

    results: dict[str, str] = {}
    for step, path in map(_pair, given or ()):
        if step in results:
            raise ConfigError(
                f"--given {step}: given twice. Name several places with commas between them: "
                f"--given {step}={results[step]},{path}"
            )
        results[step] = path
    return StepChoices(results, frozenset(redo or ()), replicate=replicate)


def _pair(text: str) -> tuple[str, str]:
    step, sign, path = text.partition("=")
    if not sign or not path:
        raise ConfigError(f"--given {text}: write STEP=PATH, e.g. iter0/respond=answers.jsonl.")
    return step, path


def _print_end(console: Console, folder: Path) -> None:
    """The verdict, and where the model is."""
    from woolgather.runs.record import current_steps, read_launches, split_name

    launch = read_launches(folder)[-1]
    for _, record in current_steps(folder):
        if record.concludes:
            scope = split_name(record.step)[0]
            said = f"{scope}: {record.headline}" if scope else record.headline
            console.print(f"\n[bold]{escape(said)}[/]")
            for view in record.shown():
                if view.kind == "table":
                    output.print_view(view)
    if launch.result:
        console.print(f"\nModel:  {escape(str(folder / 'result'))}", soft_wrap=True)
