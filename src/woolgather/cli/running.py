"""`run` and `plan`: the same settings, the same recipe; one does it, one says what it would do."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from woolgather.cli import output
from woolgather.cli.show_progress import Shown
from woolgather.errors import ConfigError, DiskError, EngineError, Stopped, disk_error
from woolgather.report.text import duration, number, size

if TYPE_CHECKING:
    from woolgather.machine_speed import Precision
    from woolgather.rates import Rates
    from woolgather.training.job import Trainer

Recipe = Annotated[str, typer.Argument(help="A recipe's name, or the path of a .py file.")]
Settings = Annotated[
    list[str] | None, typer.Argument(help="Settings as key=value, dotted: sft.learning_rate=1e-4.")
]
Preset = Annotated[str, typer.Option("--preset", help="demo, paper, default, ...")]
Files = Annotated[
    list[Path] | None, typer.Option("--config", "-c", help="YAML file of settings; repeatable.")
]
Dir = Annotated[
    Path | None, typer.Option("--dir", help="Run directory; runs/<recipe>-<model> if not given.")
]
Given = Annotated[
    list[str] | None,
    typer.Option("--given", help="STEP=PATH: a file of rows, or a model, as a step's result."),
]
Redo = Annotated[list[str] | None, typer.Option("--redo", help="Do this step again; repeatable.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="How the model is asked: transformers, openai, fake.")
]
Urls = Annotated[list[str] | None, typer.Option("--url", help="Server address, for openai.")]
KeyEnv = Annotated[str, typer.Option(help="Environment variable with the server's key.")]
Dtype = Annotated[str, typer.Option(help="Generation precision: auto, bfloat16, float32, ...")]
Replicate = Annotated[int, typer.Option(help="Another number draws everything anew.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run(
    recipe: Recipe,
    settings: Settings = None,
    preset: Preset = "default",
    config: Files = None,
    run_dir: Dir = None,
    given: Given = None,
    redo: Redo = None,
    engine: EngineName = "transformers",
    url: Urls = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    processes: Annotated[int, typer.Option(help="Training processes (GPUs).")] = 1,
    max_hours: Annotated[
        float | None, typer.Option(help="Stop cleanly after this time; exit code 75.")
    ] = None,
    replicate: Replicate = 0,
    report: Annotated[bool, typer.Option(help="Write report.html at the end.")] = True,
) -> None:
    """Start a run, or continue it: the same command.

    Example: woolgather run isheep base=Qwen/Qwen3-0.6B-Base seeds=mine.jsonl iterations=3
    """
    ask = _Asked(recipe, settings, preset, config, run_dir, given, redo, engine, url, api_key_env,
                 dtype, processes, replicate)  # fmt: skip
    console = output.console(markup=True)
    with _room(ask.dir), _stopping(max_hours):
        ask.measure_machine()
        _, total = ask.plan()
        _check_disk(ask, total)
        ask.dir.mkdir(parents=True, exist_ok=True)
        shown = Shown(
            console,
            ask.dir / "events.jsonl",
            lambda size: ask.rates(total["precision"]).seconds(size),
        )
        console.print(f"[bold]{ask.module_name}[/] in {escape(str(ask.dir))}", soft_wrap=True)
        if total["new"] and ask.options.name != "fake":
            console.print(f"[dim]{escape(_outlook(total))}[/]", soft_wrap=True)
        try:
            with ask.open(progress=shown) as live:
                ask.module.recipe(live, ask.config)
        except Stopped as stop:
            shown.close()
            console.print(f"[yellow]stopped:[/] {escape(str(stop))}; what is finished is kept.")
            console.print("Give the same command to continue.")
            raise typer.Exit(Stopped.exit_code) from None
        except DiskError:
            report = False
            raise
        finally:
            shown.close()
            if report and (ask.dir / "run.json").is_file():
                from woolgather.report.page import write_report

                path = write_report(ask.dir)
    _print_end(console, ask.dir)
    if report:
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
    replicate: Replicate = 0,
    as_json: Json = False,
) -> None:
    """What would run, what is remembered and why, and how much work it is.

    Example: woolgather plan isheep base=embedded --preset demo iterations=3
    """
    ask = _Asked(recipe, settings, preset, config, run_dir, given, redo, engine, None, "", "auto",
                 1, replicate)  # fmt: skip
    lines, total = ask.plan()
    if as_json:
        print(json.dumps({"dir": str(ask.dir), "steps": lines, "total": total}, indent=1))
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
        style = "dim" if line["state"] == "remembered" else ""
        table.add_row(
            escape(line["step"]), line["state"], *numbers, time, escape(line["why"]), style=style
        )
    console = output.console(markup=True)
    console.print(table)
    console.print(
        f"{total['new']} steps to run, {total['remembered']} remembered; at most "
        f"{number(total['calls'])} calls, {number(total['new_tokens'])} new tokens, "
        f"{number(total['updates'])} updates, {size(total['disk_bytes'])}. {_outlook(total)}"
    )


def _outlook(total: dict[str, Any]) -> str:
    """How long the rest takes at most, and in which precision it trains."""
    trains = (
        f"training in {total['precision']}"
        if total["precision"]
        else ("the precision of training is not measured yet (`woolgather doctor` measures it)")
    )
    about = f"At most about {duration(total['seconds'])}, {total['rate_source']}"
    return f"{about}; {trains}." if total["updates"] else f"{about}."


class _Asked:
    """What a command asked for, resolved: recipe, settings, directory, engine and trainer."""

    def __init__(
        self,
        recipe: str,
        settings: list[str] | None,
        preset: str,
        files: list[Path] | None,
        run_dir: Path | None,
        given: list[str] | None,
        redo: list[str] | None,
        engine: str,
        urls: list[str] | None,
        api_key_env: str,
        dtype: str,
        processes: int,
        replicate: int,
    ) -> None:
        from woolgather import config
        from woolgather.engines.base import EngineOptions

        if engine not in ("transformers", "openai", "fake"):
            raise ConfigError(f"--engine {engine}: choose transformers, openai or fake.")
        self.module: ModuleType = config.find_recipe(recipe)
        self.module_name = Path(recipe).stem
        settings = list(settings or [])
        if preset == "demo" and not any(s.startswith("base=") for s in settings):
            settings.append("base=embedded")
        if engine == "fake":
            settings = [s for s in settings if not s.startswith("base=")] + ["base=fake"]
        self.config: Any = config.build(
            self.module.Config,
            self.module_name,
            preset=preset,
            files=files or (),
            overrides=settings,
        )
        self.preset: Any = config.build(self.module.Config, self.module_name, preset=preset)
        self.dir = run_dir or Path("runs") / _default_name(self.module_name, self.config, preset)
        self.given = dict(_pair(text) for text in given or ())
        self.redo = tuple(redo or ())
        self.options = EngineOptions(
            name=engine, urls=tuple(urls or ()), api_key_env=api_key_env, dtype=dtype
        )
        self.processes = processes
        self.replicate = replicate

    def open(self, *, progress: Any = None, plan: bool = False) -> Any:
        from woolgather.engines import open_engine
        from woolgather.fingerprint import source_hash
        from woolgather.run import Run

        report = progress.training if progress else None
        return Run(
            self.dir,
            self.module_name,
            open_engine=open_engine,
            trainer=self._trainer(report),
            engine_options=self.options,
            config=self.config.model_dump(mode="json"),
            preset=self.preset.model_dump(mode="json"),
            recipe_source=source_hash(self.module.recipe),
            replicate=self.replicate,
            given=self.given,
            redo=self.redo,
            progress=progress,
            plan=plan,
        )

    def measure_machine(self) -> None:
        """Before a new run: what this machine computes fast decides its precision and the times of
        its plan. Once per machine; where torch is missing it is said later, by what needs it."""
        if self.options.name != "fake" and not (self.dir / "run.json").is_file():
            with suppress(ConfigError, EngineError):
                self._trainer().precision()

    def rates(self, precision: Precision | None) -> Rates:
        """The speeds of this run on this machine as they are known now."""
        from woolgather.rates import Rates

        base = str(getattr(self.config, "base", ""))
        if base == "embedded":
            from woolgather.embedded import DIRECTORY
            from woolgather.paths import cache_dir

            base = str(cache_dir() / DIRECTORY)
        return Rates.of_run(self.dir, base, self.options.name, precision)

    def _trainer(self, report: Any = None) -> Trainer:
        from woolgather.training import open_trainer

        return open_trainer(self.options.name == "fake", self.processes, report)

    def plan(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A mapping per step, and the sums over the new ones."""
        with self.open(plan=True) as walked:
            self.module.recipe(walked, self.config)
            precision = walked.training_precision()
        rates = self.rates(precision)
        lines = []
        for p in walked.planned:
            size = p.expected
            seconds = rates.seconds(size) if p.state == "new" else p.seconds or 0.0
            sizes = {k: v for k, v in asdict(size).items() if k != "value"}
            line = {"step": p.step, "state": p.state, "why": p.why, "seconds": round(seconds, 1)}
            lines.append({**line, **sizes})
        new = [line for line in lines if line["state"] == "new"]
        keys = ("calls", "prompt_tokens", "new_tokens", "updates", "train_tokens", "disk_bytes")
        total: dict[str, Any] = {k: sum(line[k] for line in new) for k in keys}
        total |= {
            "new": len(new),
            "remembered": len(lines) - len(new),
            "seconds": round(sum(line["seconds"] for line in new), 1),
            "rate_source": rates.source,
            "precision": precision,
        }
        return lines, total


def _check_disk(ask: _Asked, total: dict[str, Any]) -> None:
    """Before the work: is there room for what the plan expects?"""
    place = ask.dir
    while not place.exists():
        place = place.parent
    free, wanted = shutil.disk_usage(place).free, total["disk_bytes"]
    if wanted > free:
        raise DiskError(
            f"{ask.dir}: the run may write {size(wanted)} and {place.resolve()} has "
            f"{size(free)} free. Free some space, or give another place with --dir."
        )


@contextmanager
def _room(place: Path) -> Iterator[None]:
    """A full disk is said in one sentence, also where no step was under way."""
    try:
        yield
    except OSError as error:
        if full := disk_error(error, place):
            raise full from error
        raise


@contextmanager
def _stopping(max_hours: float | None) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the deadline raise Stopped in the main thread; a second Ctrl-C is final."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Stopped(
            {
                signal.SIGINT: "Ctrl-C",
                signal.SIGTERM: "SIGTERM",
                signal.SIGALRM: f"--max-hours {max_hours:g} is over" if max_hours else "deadline",
            }[signal.Signals(number)]
        )

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {kind: signal.signal(kind, stop) for kind in kinds}
    if max_hours is not None:
        if max_hours <= 0:
            raise ConfigError(f"--max-hours {max_hours:g}: give a number above 0.")
        signal.setitimer(signal.ITIMER_REAL, max_hours * 3600)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _default_name(recipe: str, config: Any, preset: str) -> str:
    base = str(getattr(config, "base", ""))
    name = {"embedded": "smollm2-135m"}.get(base, base.rstrip("/").rsplit("/", 1)[-1])
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return f"{recipe}-{name}" + ("" if preset == "default" else f"-{preset}")


def _pair(text: str) -> tuple[str, str]:
    step, sign, path = text.partition("=")
    if not sign or not path:
        raise ConfigError(f"--given {text}: write STEP=PATH, e.g. iter0/respond=answers.jsonl.")
    return step, path


def _print_end(console: Console, folder: Path) -> None:
    """The verdict, and where the model is."""
    from woolgather import step_record

    launch = step_record.read_launches(folder)[-1]
    for _, record in step_record.current_steps(folder):
        if record.concludes:
            scope = step_record.split_name(record.step)[0]
            said = f"{scope}: {record.headline}" if scope else record.headline
            console.print(f"\n[bold]{escape(said)}[/]")
            for view in record.shown():
                if view.kind == "table":
                    output.print_view(view)
    if launch.result:
        console.print(f"\nModel:  {escape(str(folder / 'result'))}", soft_wrap=True)
