"""What a suite asks of a model: tasks of the harness with their shots, measures and data.

The one idea: a suite is a YAML file. Those of the papers come with woolgather; one of your own lies
beside its tasks, which are files in the format of lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError

from woolgather.core.errors import InputError
from woolgather.core.options import Options
from woolgather.core.rows import JSON

DEFINITIONS = Path(__file__).parent / "definitions"
TASKS = Path(__file__).parent / "tasks"


class Data(Options):
    """Data that a task reads: a data set of the hub, or a file from elsewhere."""

    path: str
    """Name of the data set on the hub, which is also its folder in --data-dir; of other data, the path
    there."""
    file: str = ""
    """Name of the one file that is enough, which may lie in --data-dir itself."""
    fetch: str = ""
    """How to get it, with DIR for the --data-dir. Default: `hf download` of the data set."""

    @property
    def how(self) -> str:
        """Returns how to get it, with DIR for the --data-dir."""
        return (
            self.fetch or f"hf download --repo-type dataset {self.path} --local-dir DIR/{self.path}"
        )


class Measure(Options):
    """A number that the harness reports for a task."""

    metric: str
    filter: str = "none"
    """The harness's filter of answers, e.g. strict-match."""
    title: str = ""
    """What the measure is called in a table; the metric's name where it is empty."""
    unit: Literal["percent", "number"] = "percent"
    guessed: bool = True
    """Whether guessing among the choices is right in one of as many as there are, for a task that has
    choices."""

    @property
    def name(self) -> str:
        """Returns what it is called."""
        return self.title or self.metric


class SuiteTask(Options):
    """A task of the harness, or a group of tasks, as the suite asks it."""

    task: str
    """Its name in the harness, or in a file beside the suite."""
    title: str = ""
    """What it is called in a table; the task's name where it is empty."""
    shots: int | None = Field(default=None, ge=0)
    """Examples before each question; None leaves that to the task."""
    chat: bool = False
    """Whether a model that has a chat template is asked in turns by it."""
    measures: tuple[Measure, ...] = Field(min_length=1)
    data: tuple[Data, ...] = ()
    nltk: tuple[str, ...] = ()
    """Data of nltk that its checks need, e.g. tokenizers/punkt_tab."""
    code: bool = False
    """Whether it runs code that the model wrote."""
    items: int = Field(default=0, ge=0)
    """Documents that it has, for plans; 0 where that is not known."""
    choices: int = Field(default=1, ge=1)
    """Choices of a document, each of which is scored, at most on average; 1 where answers are written."""
    parts: int = Field(default=1, ge=1)
    """Tasks of a group; a limit is for each of them."""

    @property
    def question(self) -> dict[str, JSON]:
        """Returns what its outcomes depend on: neither what it is called nor how large it is."""
        told = {"title", "data", "nltk", "items", "choices", "parts"}
        return self.model_dump(mode="json", exclude=told)

    def calls(self, limit: int | None) -> int:
        """Returns how often a model is asked, where a `limit` is set on items; 0 where that is not
        known."""
        most = self.items if limit is None else min(limit * self.parts, self.items or limit)
        return most * self.choices

    @property
    def name(self) -> str:
        """Returns what it is called."""
        return self.title or self.task

    def key(self, measure: Measure) -> str:
        """Returns what one of its measures is called in tables, in JSON and among published figures."""
        return self.task if len(self.measures) == 1 else f"{self.task}/{measure.name}"


class PublishedModel(Options):
    """A model that somebody else measured."""

    name: str
    values: dict[str, float]
    """By the key of a measure, in its unit."""
    source: str = ""
    """Where the figures stand, if not where those of the others do."""


class Published(Options):
    """Figures from outside, to be read beside ours."""

    source: str
    differs: str
    """What is not the same here as there."""
    models: tuple[PublishedModel, ...]


class Suite(Options):
    """Tasks that are asked together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    execution: ClassVar[frozenset[str]] = frozenset({"folder"})

    title: str = ""
    source: str = ""
    """Where it stands which tasks, shots and measures belong to it."""
    tasks: tuple[SuiteTask, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()
    name: str = ""
    folder: Path | None = None
    """The folder of a suite of your own, which has its tasks and data; None for one of the papers."""


def suite_names() -> list[str]:
    """Returns the names of the suites that come with woolgather."""
    return sorted(path.stem for path in DEFINITIONS.glob("*.yaml"))


def read_suite(name: str, others: Sequence[str] = ()) -> Suite:
    """Returns the suite that `name` means: one of `suite_names`, or the path of a YAML file. `others` are
    names that `--suite` takes as well and that are no suites of the harness.

    Raises InputError, naming the field and the remedy, for one that is not found or cannot be read.
    """
    own = Path(name).expanduser()
    if name in suite_names():
        return _read(DEFINITIONS / f"{name}.yaml", name, None)
    if own.suffix not in (".yaml", ".yml"):
        known = [*suite_names(), *others]
        near = get_close_matches(name, known, 1, cutoff=0.4)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InputError(
            f"--suite {name}: unknown suite.{meant} There are {', '.join(known)}, and the path "
            "of a YAML file of your own."
        )
    if not own.is_file():
        raise InputError(f"--suite {name}: the file is not found.")
    return _read(own, own.stem, own.resolve().parent)


def _read(path: Path, name: str, folder: Path | None) -> Suite:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(found, dict) or {"name", "folder"} & found.keys():
        raise InputError(
            f"{path}: a suite is a mapping with `tasks`, and with `title`, `source` and `published` "
            "where it has them."
        )
    try:
        suite = Suite.model_validate({**found, "name": name, "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg'].lower()}.") from None
    _check_keys(suite, path)
    return suite


def _check_keys(suite: Suite, path: Path) -> None:
    """Raises InputError for a task that is there twice, and for a figure without a measure."""
    names = [task.task for task in suite.tasks]
    for twice in {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}: the task {twice} is there twice. Take one of them out.")
    keys = [task.key(measure) for task in suite.tasks for measure in task.measures]
    for published in suite.published:
        for model in published.models:
            for unknown in model.values.keys() - set(keys):
                raise InputError(
                    f"{path}: published figures of {model.name} name {unknown}, which the suite does not "
                    f"measure. It measures {', '.join(keys)}."
                )
