"""Commands that ask a model directly: `eval` measures, `chat` talks. Neither needs a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from woolgather.api.show_progress import PLAIN_EVERY
from woolgather.cli.asking import KeyEnv, Serve, Urls
from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.core.errors import ConfigError, InputError, WoolgatherError
from woolgather.core.rows import JSON, Example
from woolgather.core.views import table_cell
from woolgather.report.text import harmless, number

if TYPE_CHECKING:
    from woolgather.core.artifacts import Metrics, Model
    from woolgather.engines.base import Engine, EngineOptions

MODEL_HELP = "A model's folder, a hub name, a run's directory (its result), or `embedded`."
EngineName = Annotated[
    str, typer.Option("--engine", help="How models are asked: transformers, openai, fake.")
]
Dtype = Annotated[str, typer.Option(help="Precision: auto, bfloat16, float16, float32.")]
Form = Annotated[
    str,
    typer.Option(
        "--prompt-format",
        help="chat, raw (text to complete), or auto: the one that makes references likelier.",
    ),
]
Seed = Annotated[int, typer.Option(help="Another number draws other probes.")]
FORMAT_ROWS = 16
"""References by which `auto` decides."""


def eval_(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP)],
    tasks: Annotated[
        Path | None, typer.Option(help="File of held-out tasks; ours (80) if not given.")
    ] = None,
    probes: Annotated[int, typer.Option(min=0, help="Generated probes, 0 for none.")] = 300,
    seed: Seed = 2,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 128,
    engine: EngineName = "transformers",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    prompt_format: Form = "auto",
    as_json: Json = False,
) -> None:
    """Measure models on held-out tasks and probes, with intervals and the best null answer.

    Several models are compared with the first, item by item.

    Example: woolgather eval embedded runs/isheep-smollm2-135m-demo --probes 100
    """
    from woolgather import data as formats
    from woolgather.ops.measure.evaluate import evaluate

    each = _options(models, engine, url, serve, api_key_env, dtype)
    tasked = formats.read_examples(tasks or formats.builtin_heldout(), needs_response=False)
    rows = [row for row in tasked if row.set_aside is None]
    asked = [
        _model(name, options, prompt_format, rows)
        for name, options in zip(models, each, strict=True)
    ]
    measured: list[Metrics] = []
    for name, (model, options) in zip(models, asked, strict=True):
        with _watch(model, options, name) as watched:
            measured.append(
                evaluate(rows, watched, probes=probes, probe_seeds=(seed,), max_tokens=max_tokens)
            )
    found = [
        _result(name, metrics, measured[0] if i else None)
        for i, (name, metrics) in enumerate(zip(models, measured, strict=True))
    ]
    if as_json:
        print_json(found)
        return
    _print_measures(found)


def chat(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    against: Annotated[
        str | None, typer.Option("--against", help="Another model that answers the same.")
    ] = None,
    system: Annotated[str, typer.Option(help="System turn; none if not given.")] = "",
    temperature: Annotated[float, typer.Option(min=0, help="0 always takes the likeliest.")] = 0.7,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of probability that is drawn from.")
    ] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 512,
    seed: Annotated[int, typer.Option(help="Another number draws other answers.")] = 0,
    engine: EngineName = "transformers",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    prompt_format: Form = "auto",
) -> None:
    """Talk with a model, or with two side by side. /reset begins anew, /exit ends.

    Example: woolgather chat runs/isheep-smollm2-135m-demo --against embedded
    """
    from woolgather import data as formats
    from woolgather.engines import open_engine
    from woolgather.engines.base import Sampling

    out = console()
    names = [model] + ([against] if against is not None else [])
    each = _options(names, engine, url, serve, api_key_env, dtype)
    rows = list(formats.read_examples(formats.builtin_seeds()))
    with ExitStack() as stack:
        engines = []
        for name, options in zip(names, each, strict=True):
            resolved, options = _model(name, options, prompt_format, rows)
            engines.append(open_engine(resolved, options))
            stack.callback(engines[-1].close)
        pasts: list[list[Example]] = [[] for _ in names]
        turn = 0
        for line in _lines():
            if line in ("/exit", "/quit"):
                break
            if line == "/reset":
                pasts = [[] for _ in names]
                out.print(Text("(a new conversation)", style="dim"))
                continue
            sampling = Sampling(
                temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed + turn
            )
            turn += 1
            answers = [
                _reply(asked, past, line, system, sampling)
                for asked, past in zip(engines, pasts, strict=True)
            ]
            if len(answers) == 1:
                out.print(answers[0], soft_wrap=True)
            else:
                beside = Table(box=box.SIMPLE, expand=False)
                for name in names:
                    beside.add_column(Text(harmless(name)), ratio=1, overflow="fold")
                beside.add_row(*answers)
                out.print(beside)


def _options(
    names: Sequence[str],
    engine: str,
    urls: list[str] | None,
    serve: list[str] | None,
    api_key_env: str,
    dtype: str,
) -> list[EngineOptions]:
    """How each model is asked; on servers each by its own name. Raises ConfigError."""
    from woolgather.engines.base import EngineOptions
    from woolgather.engines.openai.serving import Asked, assign, read_options

    if engine not in ("transformers", "openai", "fake"):
        raise ConfigError(f"--engine {engine}: choose transformers, openai or fake.")
    options = EngineOptions(name=engine, api_key_env=api_key_env, dtype=dtype)
    serving = read_options(engine, urls or (), serve or ())
    if engine != "openai":
        return [options] * len(names)
    places = [str(p.resolve()) if (p := Path(name).expanduser()).is_dir() else "" for name in names]
    asked: dict[str, Asked] = {}
    for name, path in zip(names, places, strict=True):
        known = asked.get(path or name, Asked(path=path))
        asked[path or name] = replace(known, sources=(*known.sources, name))
    found = dict(zip(asked, assign(serving, list(asked.values())), strict=True))
    return [
        replace(options, urls=tuple(endpoint.text for endpoint in found[path or name]))
        for name, path in zip(names, places, strict=True)
    ]


def _model(
    name: str, options: EngineOptions, prompt_format: str, rows: Sequence[Example]
) -> tuple[Model, EngineOptions]:
    """The model that a user's name stands for, with how it is prompted."""
    from woolgather.core.artifacts import Model
    from woolgather.models.open import open_model
    from woolgather.runs.record import RUN

    if prompt_format not in ("auto", "chat", "raw"):
        raise ConfigError(f"--prompt-format {prompt_format}: choose auto, chat or raw.")
    form: Literal["chat", "raw"] = "raw" if prompt_format == "raw" else "chat"
    if options.name == "fake":
        return open_model(f"fake:{name}", form), options
    folder = Path(name).expanduser()
    if options.name == "openai" and not folder.is_dir():
        return Model(name, f"served:{name}", form), options
    if (folder / RUN).is_file():
        path, recorded = _result_of(folder)
        if recorded and prompt_format == "auto":
            return open_model(path, "raw" if recorded == "raw" else "chat"), options
        name = path
    try:
        model = open_model(name, form)
    except InputError as error:
        raise InputError(str(error).replace(f"base={name}", name)) from error
    if prompt_format == "auto" and options.name == "transformers":
        model = _with_format(model, options, rows)
    return model, options


def _result_of(run_dir: Path) -> tuple[str, str | None]:
    """Path of a run's resulting model, and how it is prompted where that is on record."""
    from woolgather.runs.record import current_steps

    for entry, record in current_steps(run_dir):
        if record.step == "result" and record.kind == "model":
            inside = run_dir / str(entry["path"]) / str(record.result.get("path"))
            path = inside if inside.exists() else Path(str(record.result.get("path")))
            form = record.result.get("prompt_format")
            return str(path), str(form) if form else None
    raise InputError(
        f"{run_dir} has no result yet. Give the same `woolgather run` command again to finish it, "
        "or name the model's folder in one of its steps."
    )


class _OnceOpened:
    """An engine for one question: loads, answers, and frees what it took."""

    def __init__(self, model: Model, options: EngineOptions) -> None:
        self.model = model
        self._options = options

    def sequence_logprobs(self, *args: Any) -> Any:
        from woolgather.engines import open_engine

        engine = open_engine(self.model, self._options)
        try:
            return engine.sequence_logprobs(*args)
        finally:
            engine.close()


def _with_format(model: Model, options: EngineOptions, rows: Sequence[Example]) -> Model:
    from woolgather.ops.measure.prompt_format import choose_format

    answered = [row for row in rows if row.response]
    if not answered:
        return model
    raw, plain = (_OnceOpened(replace(model, prompt_format=f), options) for f in ("raw", "chat"))
    choice = choose_format(answered, raw, plain, rows_used=FORMAT_ROWS)  # type: ignore[arg-type]
    return replace(model, prompt_format=choice.value)


@contextmanager
def _watch(model: Model, options: EngineOptions, name: str) -> Iterator[Engine]:
    """An engine whose calls are counted on stderr: live on a terminal, else a line now and then."""
    from woolgather.engines import open_engine
    from woolgather.engines.journal import Calls, Journal, JournaledEngine

    shown = Console(stderr=True, highlight=False)
    journal = Journal(":memory:")
    engine = open_engine(model, options)
    last = time.monotonic()
    with ExitStack() as stack:
        stack.callback(journal.close)
        stack.callback(engine.close)
        live = stack.enter_context(shown.status(Text(f"loading {name}")))

        def told(calls: Calls) -> None:
            nonlocal last
            line = Text(f"{name}: {number(calls.requests)} calls")
            if shown.is_terminal:
                live.update(line)
            elif time.monotonic() - last > PLAIN_EVERY:
                last = time.monotonic()
                shown.print(line)

        yield JournaledEngine(model, journal, lambda: engine, told)


def _result(name: str, metrics: Metrics, first: Metrics | None) -> dict[str, JSON]:
    """A model's measures; `against_first` holds paired differences to the first model."""
    from woolgather.core.intervals import paired_difference

    found: dict[str, JSON] = {"model": name, **metrics.values}
    if first is not None:
        shared = [key for key in metrics.items if key in first.items]
        differences = {k: paired_difference(metrics.items[k], first.items[k]) for k in shared}
        found["against_first"] = {k: d.json() if d else None for k, d in differences.items()}
    return found


def _print_measures(found: Sequence[Mapping[str, JSON]]) -> None:
    from woolgather.ops.measure.evaluate import measures

    columns: list[list[tuple[str, JSON]]] = [
        [("prompted", one["prompted"]), *measures(one)] for one in found
    ]
    for key in dict.fromkeys(key for one in found for key in one.get("against_first") or {}):
        title = f"{key.partition(':')[0]} against {found[0]['model']}"
        for one, column in zip(found, columns, strict=True):
            gain = dict(one.get("against_first") or {}).get(key)
            column.append((title, table_cell(gain, "points") if one is not found[0] else ""))
    lines = [
        {
            "measure": row[0][0],
            **{str(i): "not measured" if v is None else v for i, (_, v) in enumerate(row)},
        }
        for row in zip(*columns, strict=True)
    ]
    models = [Column(str(i), str(one["model"])) for i, one in enumerate(found)]
    print_rows(lines, [Column("measure"), *models])


def _lines() -> Iterator[str]:
    """What the user says, a line each, until the input ends. A terminal gets a prompt."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line:
            yield line


def _reply(engine: Engine, past: list[Example], line: str, system: str, sampling: Any) -> Text:
    """The model's answer, which joins its past; a note instead where there is none."""
    from woolgather.engines.base import Request, ask
    from woolgather.prompting.turns import answer_prompt, stops

    form = engine.model.prompt_format
    row = Example(instruction=line, system=system)
    request = Request(
        answer_prompt(row, form, past), sampling.model_copy(update={"stop": stops(form, past)})
    )
    try:
        completion = next(ask(engine, [request]))
    except StopIteration:
        raise WoolgatherError(f"{engine.model.path} gave no answer; try again.") from None
    if completion.finish_reason == "too_long":
        return Text("(longer than the model's context: /reset begins anew)", style="dim")
    if completion.finish_reason == "error":
        return Text("(the engine gave no answer; try again)", style="dim")
    past.append(replace(row, response=completion.text))
    answer = Text(harmless(completion.text.strip()))
    if completion.finish_reason == "length":
        answer.append(f" … (cut at --max-tokens {sampling.max_tokens})", style="dim")
    return answer
