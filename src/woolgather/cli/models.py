"""Commands that ask a model directly: `eval` measures it, `chat` talks with it. Neither needs a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from woolgather.api.progress.show import PLAIN_EVERY
from woolgather.cli import suites
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
)
from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.cli.suites import AllowCode, DataDir, EvalPython, Limit, Out, SuiteName, WinJudge
from woolgather.core.errors import WoolgatherError
from woolgather.core.rows import Example
from woolgather.core.views import table_cell
from woolgather.report.text import harmless, number, words

if TYPE_CHECKING:
    from woolgather.api.named_models import NamedModel
    from woolgather.core.artifacts import Metrics
    from woolgather.core.intervals import Estimate
    from woolgather.core.views import Unit
    from woolgather.engines.base import Engine, Sampling

MODEL_HELP = "A model: a folder, a hub name, a run's directory (its result), or `embedded`."
Dtype = Annotated[
    str, typer.Option(metavar="NAME", help="Precision: auto, bfloat16, float16 or float32.")
]
Form = Annotated[
    str,
    typer.Option(
        "--prompt-format",
        metavar="NAME",
        help="How the model is asked: raw (the task as text), blocks (the task and its answer under "
        "headings), chat (in turns, by its template), chatml (in turns of ChatML), or auto: the form "
        "in which it passes most of a few probes.",
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed of the probes.")]
Margin = Annotated[
    int,
    typer.Option(
        min=0,
        help="Number of probes whose right answer is compared with a near miss by likelihood; 0 leaves "
        "that out.",
    ),
]


def eval_(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP)],
    tasks: Annotated[
        Path | None,
        typer.Option(
            help="File of held-out tasks. Default: the 80 tasks that come with woolgather."
        ),
    ] = None,
    probes: Annotated[
        int,
        typer.Option(min=0, help="Number of probes: generated test prompts with machine checks."),
    ] = 300,
    seed: Seed = 1,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens of an answer at most. Default: 128; with --suite alpaca_eval, mt_bench or "
            "vicuna 1024, with another suite what each task allows, which this can only lower.",
        ),
    ] = None,
    margin: Margin = 250,
    engine: EngineName = "transformers",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    engine_replicas: Replicas = 0,
    ray: Ray = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    prompt_format: Form = "auto",
    chat_template_kwargs: TemplateKwargs = "",
    suite: SuiteName = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    win_judge: WinJudge = "",
    eval_python: EvalPython = "",
    allow_code: AllowCode = False,
    out: Out = Path("evals"),
    as_json: Json = False,
) -> None:
    """Measure models on held-out tasks and probes, with 95 % intervals and the best null answer.

    Each further model is compared with the first, item by item.

    Example: woolgather eval embedded runs/isheep-smollm2-135m-demo --probes 100
    """
    from woolgather.api.named_models import paired_gains, resolve_models
    from woolgather.data import builtin_heldout, read_examples
    from woolgather.engines.replicas.cluster import connect_ray
    from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate

    options = engine_options(
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
    )
    suites.check_options(
        suite,
        limit=limit,
        data_dir=data_dir,
        python=eval_python,
        allow_code=allow_code,
        win_judge=win_judge,
    )
    if suite is not None and suites.is_judged(suite):
        suites.judge(
            models,
            suite,
            options,
            prompt_format,
            limit=limit,
            data_dir=data_dir,
            win_judge=win_judge,
            max_tokens=max_tokens,
            out=out,
            as_json=as_json,
        )
        return
    if suite is not None:
        suites.evaluate(
            models,
            suite,
            options,
            prompt_format,
            limit=limit,
            data_dir=data_dir,
            python=eval_python,
            allow_code=allow_code,
            max_tokens=max_tokens,
            out=out,
            as_json=as_json,
        )
        return
    tasked = read_examples(tasks or builtin_heldout(), needs_response=False)
    rows = [row for row in tasked if row.set_aside is None]
    how = EvaluationOptions(
        probes=probes, probe_seed=seed, max_tokens=max_tokens or 128, margin=margin
    )
    measured: list[Metrics] = []
    with connect_ray(options):
        for named in resolve_models(models, options, prompt_format, rows):
            with _watch(named) as watched:
                measured.append(evaluate(rows, watched, how=how, purposes=("report",)))
    gains = [paired_gains(metrics, measured[0]) if i else {} for i, metrics in enumerate(measured)]
    if not as_json:
        _print_measures(models, measured, gains)
        return
    print_json(
        [
            {"model": name, **metrics.values}
            | ({"against_first": {k: g and g.json() for k, g in gain.items()}} if i else {})
            for i, (name, metrics, gain) in enumerate(zip(models, measured, gains, strict=True))
        ]
    )


def chat(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="A second model that answers the same."),
    ] = None,
    system: Annotated[str, typer.Option(help="System message. Default: none.")] = "",
    temperature: Annotated[
        float, typer.Option(min=0, help="Sampling temperature; 0 is greedy.")
    ] = 0.7,
    top_p: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1,
            help="Nucleus sampling: draw from the likeliest tokens that together have this probability.",
        ),
    ] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 512,
    seed: Annotated[int, typer.Option(help="Random seed of the answers.")] = 0,
    engine: EngineName = "transformers",
    engine_python: EnginePython = "",
    engine_args: EngineArgs = "",
    url: Urls = None,
    serve: Serve = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    dtype: Dtype = "auto",
    prompt_format: Form = "auto",
    chat_template_kwargs: TemplateKwargs = "",
) -> None:
    """Talk with a model, or with two side by side. /reset starts a new conversation, /exit ends.

    Example: woolgather chat runs/isheep-smollm2-135m-demo --against embedded
    """
    from woolgather.api.named_models import resolve_models
    from woolgather.data import builtin_seeds, read_examples
    from woolgather.engines import open_engine
    from woolgather.engines.base import Sampling

    options = engine_options(
        engine,
        url,
        serve,
        api_key_env,
        dtype,
        chat_template_kwargs,
        python=engine_python,
        args=engine_args,
    )
    out = console()
    names = [model] + ([against] if against is not None else [])
    rows = list(read_examples(builtin_seeds()))
    with ExitStack() as stack:
        engines = []
        for named in resolve_models(names, options, prompt_format, rows):
            engines.append(open_engine(named.model, named.options))
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


@contextmanager
def _watch(named: NamedModel) -> Iterator[Engine]:
    """An engine whose calls are counted on stderr: live on a terminal, else a line now and then."""
    from woolgather.engines import open_engine
    from woolgather.engines.journal import Calls, Journal, JournaledEngine

    shown = Console(stderr=True, highlight=False)
    journal = Journal(":memory:")
    engine = open_engine(named.model, named.options)
    last = time.monotonic()
    with ExitStack() as stack:
        stack.callback(journal.close)
        stack.callback(engine.close)
        live = stack.enter_context(shown.status(Text(f"loading {named.name}")))

        def told(calls: Calls) -> None:
            nonlocal last
            line = Text(f"{named.name}: {number(calls.requests)} calls")
            if shown.is_terminal:
                live.update(line)
            elif time.monotonic() - last > PLAIN_EVERY:
                last = time.monotonic()
                shown.print(line)

        yield JournaledEngine(named.model, journal, lambda: engine, told)


def _print_measures(
    names: Sequence[str],
    measured: Sequence[Metrics],
    gains: Sequence[Mapping[str, Estimate | None]],
) -> None:
    """A column per model; of the second and later ones also what they gain over the first."""
    from woolgather.ops.measure.evaluate_views import measures

    columns = [
        [("prompted", metrics.values["prompted"]), *measures(metrics.values)]
        for metrics in measured
    ]
    for key in dict.fromkeys(key for gain in gains for key in gain):
        title = f"{words(key.partition(':')[0])} against {names[0]}"
        for i, (gain, column) in enumerate(zip(gains, columns, strict=True)):
            unit: Unit = "change" if key.startswith("margin") else "points"
            column.append((title, table_cell(gain.get(key), unit) if i else ""))
    lines = [
        {
            "measure": row[0][0],
            **{str(i): "not measured" if v is None else v for i, (_, v) in enumerate(row)},
        }
        for row in zip(*columns, strict=True)
    ]
    print_rows(lines, [Column("measure"), *(Column(str(i), n) for i, n in enumerate(names))])


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


def _reply(engine: Engine, past: list[Example], line: str, system: str, sampling: Sampling) -> Text:
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
        return Text(
            "(the conversation is longer than the model's context; /reset starts a new one)",
            style="dim",
        )
    if completion.finish_reason == "error":
        return Text("(the engine gave no answer; try again)", style="dim")
    past.append(replace(row, response=completion.text))
    answer = Text(harmless(completion.text.strip()))
    if completion.finish_reason == "length":
        answer.append(f" … (cut at --max-tokens {sampling.max_tokens})", style="dim")
    return answer
