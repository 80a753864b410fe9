"""A suite for models as a user names them, runs included.

The one idea: a run stands for its base and every model that the run itself measured, so that a table
shows the way from the one to the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from woolgather.api.named_models import split_options
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON
from woolgather.core.views import View
from woolgather.engines import check_engine
from woolgather.engines.base import EngineOptions
from woolgather.judged.questions import BENCHMARKS
from woolgather.models.open import open_model
from woolgather.prompting.forms import read_template
from woolgather.prompting.template_choice import read_origin
from woolgather.suites.backends import Server, find_backend, find_templated
from woolgather.suites.bench import TEMPLATED
from woolgather.suites.interpreter import Harness, find_harness
from woolgather.suites.run import Contender, Measured, SuiteOptions, choose_tasks, run_suite
from woolgather.suites.suite import Suite, read_suite
from woolgather.suites.table import make_views, to_json


@dataclass(frozen=True)
class SuiteResult:
    """What models came to in a suite."""

    suite: Suite
    measured: Sequence[Measured]
    harness: Harness
    asked: SuiteOptions

    def views(self) -> list[View]:
        """Returns the tables, and notes on how to read them."""
        return make_views(self.suite, self.measured, self.harness, self.asked)

    def json(self) -> dict[str, JSON]:
        """Returns the same as plain data."""
        return to_json(self.suite, self.measured, self.harness, self.asked)


def evaluate_suite(
    names: Sequence[str],
    suite: str,
    options: EngineOptions,
    asked: SuiteOptions,
    *,
    python: str = "",
    tell: Callable[[str], None],
) -> SuiteResult:
    """Returns what the models that `names` stand for came to in the suite of that name or file.

    `python` is the interpreter that has the harness; our own where it is empty. Raises ConfigError for a
    mistake in the options or a harness that is not there, InputError for a suite, task, model or data
    that are not there, WorkError when the harness fails.
    """
    found = read_suite(suite, tuple(BENCHMARKS))
    if asked.form not in ("auto", "raw", "chat"):
        raise ConfigError(f"--prompt-format {asked.form}: with --suite choose auto, raw or chat.")
    if options.replicas:
        raise ConfigError(
            "--engine-replicas: the harness asks one engine. Leave it out with --suite."
        )
    check_engine(options)
    choose_tasks(found, asked)
    harness = find_harness(python)
    asked = replace(asked, out=asked.out / found.name)
    in_turns = asked.form == "auto" and any(task.chat for task in choose_tasks(found, asked))
    places = asked.out / TEMPLATED if in_turns else None
    contenders = list(_contenders(names, options, places))
    return SuiteResult(found, run_suite(found, contenders, harness, asked, tell), harness, asked)


def _contenders(
    names: Sequence[str], options: EngineOptions, templated: Path | None
) -> Iterator[Contender]:
    """The models, and the bases of runs once more as the tuned models are asked, where `templated` is the
    folder for these."""
    for name, own in zip(names, split_options(names, options), strict=True):
        named = name_models(name, options, several=len(names) > 1)
        models = [_contender(called, place, own) for called, place in named]
        base, last = models[0], models[-1]
        yield base
        if len(models) > 1 and templated and own.name != "fake":
            yield from _as_tuned(base, last, own, templated)
        yield from models[1:]


def _as_tuned(
    base: Contender, tuned: Contender, options: EngineOptions, templated: Path
) -> Iterator[Contender]:
    """Yields the base asked by the template of `tuned`, unless that is its own."""
    template, own = (read_template(Path(each.path)) for each in (tuned, base))
    if not template or read_origin(template)[1] == read_origin(own)[1]:
        return
    model = open_model(base.path).with_variables(options.chat_template_kwargs)
    folder = templated / f"{model.fingerprint[:12]}-{fingerprint(template)[:12]}"
    backend = find_templated(model, template, options, folder)
    yield replace(base, name=f"{base.name}, asked as {tuned.name}", backend=backend)


def name_models(name: str, options: EngineOptions, *, several: bool) -> Iterator[tuple[str, str]]:
    """Yields what a model is called and where it is; a run stands for its base and its iterations, which
    are called after it too where there are `several` names. Raises ConfigError for a run at a server."""
    from woolgather.runs.record import RUN

    folder = Path(name).expanduser()
    if not (folder / RUN).is_file():
        yield name, name
        return
    if options.name == "openai":
        raise ConfigError(
            f"{name}: a server holds one model of a run. Name the folder of that model instead."
        )
    prefix = f"{folder.resolve().name}/" if several else ""
    for step, place in models_of_run(folder):
        yield f"{prefix}{step}", place


def _contender(called: str, place: str, options: EngineOptions) -> Contender:
    if options.name == "fake":
        model = open_model(f"fake:{place}")
    else:
        try:
            model = open_model(place).with_variables(options.chat_template_kwargs)
        except InputError as error:
            raise InputError(str(error).replace(f"base={place}", called)) from error
    return Contender(called, model.path, find_backend(model, options, _server(model, options)))


def _server(model: Model, options: EngineOptions) -> Server | None:
    """The one server of a model. Raises ConfigError for several, and for one without a name there."""
    from woolgather.engines.openai.serving import read_endpoint

    if options.name != "openai":
        return None
    if len(options.urls) != 1:
        raise ConfigError(f"{model.path}: the harness asks one server. Name one.")
    endpoint = read_endpoint(options.urls[0])
    if not endpoint.name:
        raise ConfigError(
            f"--serve {endpoint}: the harness has to be told what the server calls the model. Write "
            "URL#NAME."
        )
    if str(endpoint) != endpoint.text:
        raise ConfigError(
            f"--serve {endpoint}: the harness writes the address into its results, and this one has a "
            "secret in it. Put the key into an environment variable and name it with --api-key-env."
        )
    return Server(endpoint.url, endpoint.name, os.environ.get(options.api_key_env, ""))


def models_of_run(run_dir: Path) -> Iterator[tuple[str, str]]:
    """Yields the base and what the run made of it, as it measured them: a name and a place each.

    Raises InputError for a run that has measured none yet."""
    from woolgather.runs.record import current_steps, read_launches, split_name

    steps = {record.step: (entry, record) for entry, record in current_steps(run_dir)}
    models = {step: pair for step, pair in steps.items() if pair[1].kind == "model"}
    config = read_launches(run_dir)[-1].config if steps else {}
    found = False
    for step, (_, record) in steps.items():
        scope, _, word = split_name(step)
        if word != "measure" or scope.partition("/")[0] == "control":
            continue
        for asked in (each["step"] for each in record.inputs.values()):
            if asked in models:
                entry, made = models[asked]
                found = True
                yield scope, str(run_dir / entry["path"] / str(made.result.get("path")))
            elif asked == "base":
                found = True
                yield "base", str(config.get("base", ""))
    if not found:
        raise InputError(
            f"{run_dir} has measured no model yet. Give the same `woolgather run` command again to go "
            "on, or name a model's folder."
        )
