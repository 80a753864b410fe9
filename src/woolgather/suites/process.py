"""The harness's process: given a job, listened to, and never left behind.

The one idea: what may go wrong with a task (its name, its data, its packages) shows while the tasks are
loaded, which is before the model is opened, so that all of it is said at once.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from woolgather.core.children import spawn, stop, tail
from woolgather.core.errors import InputError, WorkError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.suites.data import CODE_EVAL, NLTK
from woolgather.suites.sandbox import wrap_command

WORKER = Path(__file__).with_name("worker.py")
CACHE = "requests"
"""The harness's cache of answers; it adds the number of its process to the name."""
_WHY = 300
"""Characters of an exception that are told."""


@dataclass(frozen=True)
class JobTask:
    """A task as the worker is asked it."""

    task: str
    shots: int | None
    chat: bool
    nltk: Sequence[str]
    code: bool
    folder: str
    """Where the harness writes."""


@dataclass(frozen=True)
class Job:
    """What the worker is asked, of one model."""

    python: str
    backend: str
    args: Mapping[str, JSON]
    batch: int | str
    environment: Mapping[str, str]
    include: str
    """Folder of tasks beside the harness's own."""
    data: str
    """Folder in which the harness runs, and finds its data."""
    data_dir: Path | None
    limit: int | None
    max_tokens: int | None
    """Tokens of a written answer at most, where a task allows more."""
    allow_code: bool
    tasks: Sequence[JobTask]

    def to_json(self, home: Path) -> dict[str, JSON]:
        """Returns what is written for the worker; nothing secret is in it."""
        left_out = {"python", "environment", "data_dir"}
        told = {key: value for key, value in asdict(self).items() if key not in left_out}
        return {**told, "args": dict(self.args), "cache": str(home / CACHE)}


def work_off(job: Job, home: Path, name: str) -> Iterator[tuple[str, float]]:
    """Yields each task of the job when it is done, with its seconds.

    `home` is the folder for what the harness prints and caches, `name` what the model is called. Raises
    InputError for tasks that cannot be asked, before any is; WorkError when the harness fails.
    """
    home.mkdir(parents=True, exist_ok=True)
    path, log = home / "job.json", home / "log.txt"
    write_json(path, job.to_json(home))
    command = [job.python, "-P", str(WORKER), str(path)]
    if any(task.code for task in job.tasks):
        command = wrap_command(command)
    pipe = subprocess.PIPE
    child = spawn(command, log=log, stdin=pipe, stdout=pipe, env=_environment(job))
    try:
        for line in child.stdout or ():
            event = json.loads(line)
            if event["event"] == "problems":
                raise InputError(_explain(event["problems"], job.data_dir))
            if event["event"] == "task":
                yield event["task"], float(event["seconds"])
        code = child.wait()
    finally:
        stop(child)
    if code:
        last = f"killed by signal {-code}" if code < 0 else tail(log, 1) or f"exit code {code}"
        raise WorkError(
            f"{name}: the harness ended early ({last[:_WHY]}). {log} has the rest; what is finished is "
            "kept, and the same command goes on."
        )


def _environment(job: Job) -> dict[str, str]:
    """Nothing is fetched: results must not depend on what a hub has today."""
    told = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    if job.allow_code:
        told["HF_ALLOW_CODE_EVAL"] = "1"
    if job.data_dir is not None and (job.data_dir / NLTK).is_dir():
        told["NLTK_DATA"] = str((job.data_dir / NLTK).resolve())
    return {**told, **job.environment}


def _explain(problems: Sequence[Mapping[str, JSON]], data_dir: Path | None) -> str:
    each = [f"{problem['task']}: {_remedy(problem, data_dir)}" for problem in problems]
    return "Nothing was run. " + "\n".join(each)


def _remedy(problem: Mapping[str, JSON], data_dir: Path | None) -> str:
    kind, why = problem["kind"], str(problem.get("why", ""))
    if kind == "unknown":
        near = f" The nearest names are {', '.join(problem['near'])}." if problem["near"] else ""
        return f"neither lm-evaluation-harness nor the suite's folder has such a task.{near}"
    if kind == "code":
        return "runs code that the model writes. Write `code: true` in the suite, and add --allow-code."
    if kind == "LookupError" and "nltk" in why.lower():
        return (
            "data of nltk (punkt_tab) are not found. Get them (python -m nltk.downloader punkt_tab -d "
            f"{data_dir or 'DIR'}/{NLTK}) and name the folder with --data-dir; the wheel of "
            "llama-index-core has them, too, in _static/nltk_cache."
        )
    if kind in ("ModuleNotFoundError", "ImportError"):
        return f"{why[:_WHY]}. Install what is missing where the harness is: lm_eval[ifeval]."
    if "code_eval" in why:
        return (
            "the metric code_eval is not in the cache of `evaluate`. Where there is a network, run once: "
            "python -c 'import evaluate; evaluate.load(\"code_eval\")'; or put the folder "
            "metrics/code_eval of the repository huggingface/evaluate into "
            f"{data_dir or 'DIR'}/{CODE_EVAL} and name the folder with --data-dir."
        )
    if kind == "KeyError":
        return f"its data have no {why[:_WHY]}. The harness needs that split, or that field."
    return f"its data cannot be read ({kind}: {why[:_WHY]}). Mend them, or fetch them again."
