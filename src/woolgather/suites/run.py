"""One model after another through a suite; what is finished is not asked again.

    OUT/data/                         links to the data, under the names that the harness looks for
    OUT/<model>-<12 hex>/             a model, as it was opened
        job.json, log.txt             what the harness was asked, and what it printed
        requests_rank0.db             the harness's own cache of answers
        <task>-<12 hex>/              a task, as it was asked
            <harness>/results_*.json  the harness's files, untouched
            <harness>/samples_*.jsonl
            record.json               ours, which comes last and marks the task as done

The one idea: a task is known by what was asked of which model by which harness over which data. The same
command reads what is finished and asks the rest; a task that was killed goes on from the answers that
the harness had cached.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from woolgather.core.errors import ConfigError, RunDirError
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.suites.backends import Backend
from woolgather.suites.data import check_data, describe_data, link_data
from woolgather.suites.interpreter import Harness
from woolgather.suites.outcomes import HarnessResult, Outcomes, read_result, spell
from woolgather.suites.process import Job, JobTask, work_off
from woolgather.suites.suite import TASKS, Suite, SuiteTask

RECORD = "record.json"
DATA = "data"
"""Folder of links to the data."""
FORMAT = 2
"""1 had no bits per byte; they are read from the harness's files, which lie beside."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """A model that goes through a suite."""

    name: str
    """As the table calls it."""
    path: str
    backend: Backend


@dataclass(frozen=True)
class SuiteOptions:
    """How a suite is asked."""

    out: Path
    limit: int | None = None
    """The first so many items of each task; None for all."""
    data_dir: Path | None = None
    form: str = "auto"
    """auto: in turns what the suite asks so, of a model with a chat template; chat or raw: everything."""
    allow_code: bool = False
    max_tokens: int | None = None
    """Tokens of a written answer at most, where a task allows more; None leaves it to the tasks."""


@dataclass(frozen=True)
class Measured:
    """A model with what came out."""

    name: str
    """As the table calls it."""
    outcomes: Mapping[str, Outcomes]
    """By the key of a measure."""
    in_turns: frozenset[str]
    """Tasks that it was asked in turns."""
    path: str = ""


def choose_tasks(suite: Suite, asked: SuiteOptions) -> tuple[SuiteTask, ...]:
    """Returns the tasks that are run: without leave (`allow_code`) those that run no code of a model.
    Raises ConfigError where none is left."""
    tasks = tuple(task for task in suite.tasks if asked.allow_code or not task.code)
    if not tasks:
        raise ConfigError(
            f"--suite {suite.name}: all its tasks run code that the model writes. Add --allow-code, "
            "inside a container."
        )
    return tasks


def run_suite(
    suite: Suite, contenders: Sequence[Contender], harness: Harness, asked: SuiteOptions, tell: Tell
) -> list[Measured]:
    """Returns what the contenders came to; `tell` is told a line now and then.

    Raises InputError for data that are missing, before anything is asked, and for a task that the harness
    does not have; WorkError when the harness fails.
    """
    tasks = choose_tasks(suite, asked)
    check_data(suite, tasks, asked.data_dir)
    if asked.form == "chat" and (mute := [c.name for c in contenders if not c.backend.chat]):
        raise ConfigError(
            f"--prompt-format chat: {', '.join(mute)} has no chat template. Take auto or raw."
        )
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(asked.out / "lock", timeout=0):
            link_data(suite, tasks, asked.data_dir, asked.out / DATA)
            return [_Sitting(suite, tasks, c, harness, asked).carry_out(tell) for c in contenders]
    except Timeout:
        raise RunDirError(
            f"{asked.out} is in use by another `woolgather eval`. Wait for it, or name another --out."
        ) from None


@dataclass(frozen=True)
class _Sitting:
    """One contender and the tasks of a suite."""

    suite: Suite
    tasks: Sequence[SuiteTask]
    contender: Contender
    harness: Harness
    asked: SuiteOptions

    def carry_out(self, tell: Tell) -> Measured:
        """Asks what is not on record, and returns all."""
        name = self.contender.name
        due = {task.task: task for task in self.tasks if not self._record_of(task).is_file()}
        kept = len(self.tasks) - len(due)
        if due:
            log = self.home / "log.txt"
            tell(f"{name}: {len(due)} tasks to ask, {kept} kept; the harness prints to {log}")
            for done, seconds in work_off(self._job(due.values()), self.home, name):
                found = read_result(self._folders[done], due[done])
                self._write_record(due[done], found, seconds)
                tell(f"{name}: {due[done].name} done in {seconds:.0f} s: {spell(found.outcomes)}")
        else:
            tell(f"{name}: all {kept} tasks kept")
        outcomes: dict[str, Outcomes] = {}
        for task in self.tasks:
            outcomes |= _read_record(self._record_of(task), task)
        in_turns = frozenset(task.task for task in self.tasks if self._in_turns(task))
        return Measured(name, outcomes, in_turns, self.contender.path)

    @cached_property
    def home(self) -> Path:
        """The folder of this model as it was opened."""
        opened = {"model": self.contender.backend.identity, "harness": dict(self.harness.versions)}
        short = fingerprint(opened)[:12]
        slug = re.sub(r"[^\w.-]+", "-", self.contender.name).strip("-.")[-60:] or "model"
        known = self.asked.out.glob(f"*-{short}")  # perhaps under another name
        return next(known, self.asked.out / f"{slug}-{short}").resolve()

    @cached_property
    def _folders(self) -> Mapping[str, Path]:
        """The folder of each task: found once, since a file among the data may change meanwhile."""
        return {task.task: self._find_folder(task) for task in self.tasks}

    def _find_folder(self, task: SuiteTask) -> Path:
        identity = {
            "task": canonical(task.question),
            "limit": self.asked.limit,
            "in_turns": self._in_turns(task) and (self.contender.backend.template or True),
            "data": describe_data(self.suite, task, self.asked.data_dir),
        }
        if self.asked.max_tokens is not None:
            identity["max_tokens"] = self.asked.max_tokens
        return self.home / f"{task.task}-{fingerprint(identity)[:12]}"

    def _record_of(self, task: SuiteTask) -> Path:
        return self._folders[task.task] / RECORD

    def _in_turns(self, task: SuiteTask) -> bool:
        wanted = task.chat if self.asked.form == "auto" else self.asked.form == "chat"
        return wanted and self.contender.backend.chat

    def _job(self, due: Iterable[SuiteTask]) -> Job:
        backend = self.contender.backend
        return Job(
            python=self.harness.python,
            backend=backend.name,
            args=backend.args,
            batch=backend.batch,
            environment=backend.environment,
            include=str(self.suite.folder or TASKS),
            data=str((self.asked.out / DATA).resolve()),
            data_dir=self.asked.data_dir,
            limit=self.asked.limit,
            max_tokens=self.asked.max_tokens,
            allow_code=self.asked.allow_code,
            tasks=[
                JobTask(
                    task=task.task,
                    shots=task.shots,
                    chat=self._in_turns(task),
                    nltk=task.nltk,
                    code=task.code,
                    folder=str(self._folders[task.task]),
                )
                for task in due
            ],
        )

    def _write_record(self, task: SuiteTask, found: HarnessResult, seconds: float) -> None:
        contender = self.contender
        record: dict[str, JSON] = {
            "format": FORMAT,
            "task": task.model_dump(mode="json"),
            "model": {"name": contender.name, "path": contender.path},
            "backend": {"name": contender.backend.name, "identity": contender.backend.identity},
            "in_turns": self._in_turns(task),
            "limit": self.asked.limit,
            "max_tokens": self.asked.max_tokens,
            "harness": {"versions": dict(self.harness.versions), "task_hashes": dict(found.hashes)},
            "files": list(found.files),
            "outcomes": {key: asdict(each) for key, each in found.outcomes.items()},
            "seconds": seconds,
        }
        write_json(self._record_of(task), record)


def _read_record(path: Path, task: SuiteTask) -> Mapping[str, Outcomes]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] < FORMAT and all(
            (path.parent / name).is_file() for name in found["files"]
        ):
            return read_result(path.parent, task).outcomes
        return {key: Outcomes(**each) for key, each in found["outcomes"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirError(
            f"{path} is broken ({error}). Delete its folder to have the task asked again."
        ) from None
