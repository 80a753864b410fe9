"""A model that a user names in a command, and how it is asked: for `eval` and `chat`.

The one idea: a name is a folder, a hub repository, a run (its result), `embedded`, or what a server
calls a model; from here on it is a Model with the options of an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from woolgather.core.artifacts import Metrics, Model, PromptFormat
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.intervals import Estimate
from woolgather.core.rows import Example
from woolgather.engines import check_engine
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request
from woolgather.prompting.forms import FORMS
from woolgather.prompting.messages import Prompt

FORMAT_ROWS, FORMAT_PROBES = 16, 24
"""Answered tasks, and probes, by which the form is chosen where it is "auto"; half of what a run takes,
since somebody waits."""


@dataclass(frozen=True)
class NamedModel:
    """A model as the user called it, resolved."""

    name: str
    model: Model
    options: EngineOptions


def resolve_models(
    names: Sequence[str],
    options: EngineOptions,
    prompt_format: str = "auto",
    answered: Sequence[Example] = (),
) -> list[NamedModel]:
    """Returns the models that `names` stand for.

    `options` has the --url and --serve of all of them. `prompt_format` is a form (prompting/forms.py)
    or auto: what a run recorded of its result, else what `choose_format` takes by a few probes and the
    responses of `answered`. Raises ConfigError for a mistake in the options, InputError for a model
    that is not found.
    """
    check_engine(options, ready=True)
    if prompt_format not in ("auto", *FORMS):
        raise ConfigError(f"--prompt-format {prompt_format}: choose auto, {', '.join(FORMS)}.")
    each = zip(names, split_options(names, options), strict=True)
    return [
        NamedModel(name, _resolve(name, own, prompt_format, answered), own) for name, own in each
    ]


def paired_gains(metrics: Metrics, first: Metrics) -> dict[str, Estimate | None]:
    """Returns the difference to the first model for each measure that both have, item by item; None
    where it cannot be known."""
    from woolgather.ops.measure.margin import compare_margins
    from woolgather.ops.measure.outcomes import compare

    def gain_of(key: str) -> Estimate | None:
        mine, its = metrics.items[key], first.items[key]
        return compare_margins(mine, its) if key.startswith("margin") else compare(mine, its, key)

    return {key: gain_of(key) for key in metrics.items if key in first.items}


def split_options(names: Sequence[str], options: EngineOptions) -> list[EngineOptions]:
    """How each model is asked: at the servers that are named for it, or by the engine."""
    from woolgather.engines.openai.serving import Asked, ask_at, assign, read_options

    serving = read_options(options.name, options.urls, options.serve)
    paths = [str(p.resolve()) if (p := Path(name).expanduser()).is_dir() else "" for name in names]
    asked: dict[str, Asked] = {}
    for name, path in zip(names, paths, strict=True):
        known = asked.get(path or name, Asked(path=path))
        asked[path or name] = replace(known, sources=(*known.sources, name))
    found = dict(zip(asked, assign(serving, list(asked.values())), strict=True))
    return [ask_at(found[path or name], options) for name, path in zip(names, paths, strict=True)]


def _resolve(
    name: str, options: EngineOptions, prompt_format: str, answered: Sequence[Example]
) -> Model:
    from woolgather.models.open import open_model
    from woolgather.runs.record import RUN

    form = _form(prompt_format)
    told = options.chat_template_kwargs
    if options.name == "fake":
        return open_model(f"fake:{name}", form)
    folder = Path(name).expanduser()
    if options.name == "openai" and not folder.is_dir():
        return Model(name, f"served:{name}", form).with_variables(told)
    if (folder / RUN).is_file():
        path, recorded = _result_of(folder)
        if recorded and prompt_format == "auto":
            return open_model(path, _form(recorded)).with_variables(told)
        name = path
    try:
        model = open_model(name, form).with_variables(told)
    except InputError as error:
        raise InputError(str(error).replace(f"base={name}", name)) from error
    if prompt_format == "auto" and options.name in ("transformers", "vllm"):
        return _choose_format(model, options, [row for row in answered if row.response])
    return model


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


def _choose_format(model: Model, options: EngineOptions, answered: Sequence[Example]) -> Model:
    from woolgather.ops.measure.prompt_format import choose_format

    if not answered:
        return model
    opened: dict[PromptFormat, Engine] = {}
    text, chat = (
        _TakingTurns(replace(model, prompt_format=form), options, opened)
        for form in ("raw", "chat")
    )
    with closing(text):
        choice = choose_format(answered, text, chat, rows_used=FORMAT_ROWS, probes=FORMAT_PROBES)
    return replace(model, prompt_format=_form(str(choice.value)))


def _form(name: str) -> PromptFormat:
    """Returns the form of that name; chat for any other."""
    return next((form for form in FORMS if form == name), "chat")


class _TakingTurns(Engine):
    """An engine that opens its model when it is asked and closes the one in `opened`, which it shares
    with another, so that a model is never in memory twice."""

    def __init__(
        self, model: Model, options: EngineOptions, opened: dict[PromptFormat, Engine]
    ) -> None:
        super().__init__(model)
        self._options, self._opened = options, opened

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        yield from self._open().complete(requests)

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        return self._open().sequence_logprobs(prompts, continuations, temperature)

    def close(self) -> None:
        """Closes whichever of the two is open."""
        while self._opened:
            self._opened.popitem()[1].close()

    def _open(self) -> Engine:
        from woolgather.engines import open_engine

        form = self.model.prompt_format
        if form not in self._opened:
            self.close()
            self._opened[form] = open_engine(self.model, self._options)
        return self._opened[form]
