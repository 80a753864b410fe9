"""The program that the harness's Python runs: one model through the tasks of one job.

The one idea: it needs nothing of ours. A job is a JSON file; what happens is told in JSON lines on
standard output, one per event, and all that the harness and its libraries print goes to standard error.
It ends when its standard input does, so that it never outlives who started it. Every answer is kept in
the harness's own cache as it comes: a job that was killed goes on where it was.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks.manager import TaskDict

ORPHANED = 70
SCORED, WRITTEN = 4, (8, 64)
"""Texts that transformers computes at once on a CPU: scored ones, each of whose tokens has a number for
every word of the vocabulary in memory; and ones that are being written, at least and at most."""
CACHED, PROMPT = 0.25, 1024
"""Share of the free memory that the keys and values of texts that are being written may fill, and tokens
of a prompt with its examples, a generous guess."""
TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What the harness calls the tokens of an answer at most, the first that is given before the others."""
CODE_SECONDS, CODE_BYTES, CODE_FILE = 20, 1 << 30, 1 << 24
"""What a process that runs a model's code may take: seconds of computing, bytes of memory beyond those
it began with, bytes of a file."""


class TaskOrder(TypedDict):
    """A task of the job; process.py says what the fields are."""

    task: str
    shots: int | None
    chat: bool
    nltk: list[str]
    code: bool
    folder: str


class Order(TypedDict):
    """A job, as process.py writes it."""

    backend: str
    args: dict[str, object]
    batch: int | str
    include: str
    data: str
    cache: str
    limit: int | None
    max_tokens: int | None
    allow_code: bool
    tasks: list[TaskOrder]


class Events(Protocol):
    """Tells an event to who started us."""

    def __call__(self, **event: object) -> None: ...


def main(path: str) -> None:
    """Carry out the job in the file `path`."""
    tell = _open_events()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    job: Order = json.loads(Path(path).read_text(encoding="utf-8"))
    os.chdir(job["data"])
    logging.basicConfig(stream=sys.stderr)
    manager, loaded, problems = _load_tasks(job)
    if problems:
        tell(event="problems", problems=problems)
        return
    if any(task["code"] for task in job["tasks"]):
        _restrict_children()
    tell(event="loaded")
    _remember_environment()
    lm = _open_model(job)
    tell(event="ready")
    for task in job["tasks"]:
        start = time.monotonic()
        _evaluate(job, task, lm, manager, loaded[task["task"]])
        tell(event="task", task=task["task"], seconds=time.monotonic() - start)


def _open_events() -> Events:
    """Returns the function that tells an event; from here on nothing else is printed to our output."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**event: object) -> None:
        print(json.dumps(event), file=out, flush=True)

    return tell


def _leave_with_parent() -> None:
    # Unbuffered: a thread that holds the lock of sys.stdin would hang the interpreter's own end.
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def _load_tasks(
    job: Order,
) -> tuple[TaskManager, dict[str, TaskDict], list[dict[str, object]]]:
    """Loads every task with its data: the harness's index, the tasks by name, and what went wrong."""
    from lm_eval.tasks import TaskManager

    names = [task["task"] for task in job["tasks"]]
    # The harness's own 14,000 tasks take seconds to index, so they are left out where all are ours.
    manager = TaskManager(include_path=job["include"], include_defaults=False)
    if not set(names) <= set(manager.all_tasks):
        manager = TaskManager(include_path=job["include"])
    loaded: dict[str, TaskDict] = {}
    problems: list[dict[str, object]] = []
    for task in job["tasks"]:
        name = task["task"]
        if name not in manager.all_tasks:
            near = get_close_matches(name, manager.all_tasks, 3)
            problems.append({"task": name, "kind": "unknown", "near": near})
            continue
        try:
            _find_nltk(task["nltk"])
            loaded[name] = manager.load([name])
            if not job["allow_code"] and any(map(_runs_code, loaded[name]["tasks"].values())):
                problems.append({"task": name, "kind": "code"})
        except Exception as error:
            found = {"kind": type(error).__name__, "why": " ".join(str(error).split())}
            problems.append({"task": name, **found})
    return manager, loaded, problems


def _runs_code(task: Task) -> bool:
    return bool(getattr(task, "UNSAFE_CODE", False))


def _find_nltk(names: list[str]) -> None:
    """Raises LookupError for data of nltk that are not there: the harness itself says then that it
    downloaded them, and goes on."""
    for name in names:
        import nltk

        nltk.data.find(name)


def _open_model(job: Order) -> LM:
    from lm_eval.api.registry import get_model

    more: dict[str, object] = {"batch_size": job["batch"]}
    if job["backend"] == "hf":
        # On a GPU the harness finds the largest batch that fits; on a CPU it would fill the memory.
        import torch

        on_gpu = torch.cuda.is_available()
        more = {
            "batch_size": "auto" if on_gpu else SCORED,
            "device": "cuda" if on_gpu else "cpu",
        }
    return get_model(job["backend"]).create_from_arg_obj(job["args"], more)


def _evaluate(job: Order, task: TaskOrder, lm: LM, manager: TaskManager, loaded: TaskDict) -> None:
    """Asks one task and has the harness write its results and samples into the task's folder."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    inner = {child for group in loaded.get("group_map", {}).values() for child in group}
    every = {**loaded["tasks"], **loaded.get("groups", {})}
    if job["max_tokens"] is not None:
        _cut_answers(loaded["tasks"].values(), job["max_tokens"])
    if job["backend"] == "hf" and str(lm.device) == "cpu":
        written = all(each.OUTPUT_TYPE == "generate_until" for each in loaded["tasks"].values())
        lm.batch_size_per_gpu = _count_written(lm, loaded["tasks"].values()) if written else SCORED
    tracker = EvaluationTracker(output_path=task["folder"])
    results = simple_evaluate(
        lm,
        model_args=job["args"],
        tasks=[each for name, each in every.items() if name not in inner],
        num_fewshot=task["shots"],
        limit=job["limit"],
        use_cache=job["cache"],
        evaluation_tracker=tracker,
        apply_chat_template=task["chat"],
        fewshot_as_multiturn=task["chat"],
        task_manager=manager,
        confirm_run_unsafe_code=job["allow_code"],
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])


def _cut_answers(tasks: Iterable[Task], most: int) -> None:
    """Lowers the tokens that these tasks let a model write to `most`."""
    for task in tasks:
        if task.OUTPUT_TYPE == "generate_until":
            asked = dict(task.config.generation_kwargs or {})
            least = min(most, _count_allowed(task))
            kept = {name: value for name, value in asked.items() if name not in TOKENS}
            task.set_config("generation_kwargs", {**kept, TOKENS[0]: least})


def _count_allowed(task: Task) -> int:
    """Returns the tokens that a task lets a model write; the harness allows 256 where it says nothing."""
    asked = task.config.generation_kwargs or {}
    told = (asked[name] for name in TOKENS if asked.get(name) is not None)
    return int(next(told, 256))


def _count_written(lm: LM, tasks: Iterable[Task]) -> int:
    """Returns how many texts are written at once, whose keys and values fit into a share of the memory. A
    batch lasts as long as its longest text, so that large ones are the quicker."""
    told = lm.model.config.get_text_config()
    heads = getattr(told, "num_key_value_heads", None) or told.num_attention_heads
    width = getattr(told, "head_dim", None) or told.hidden_size // told.num_attention_heads
    token = 2 * told.num_hidden_layers * heads * width * lm.model.dtype.itemsize
    length = min(lm.max_length, PROMPT + max(map(_count_allowed, tasks)))
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    least, most = WRITTEN
    return max(least, min(most, int(CACHED * free / (token * length))))


def _restrict_children() -> None:
    """Limits every process that is forked from here on, which are those that run a model's code."""
    import multiprocessing

    multiprocessing.set_start_method("fork", force=True)

    def restrict() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory = pages * resource.getpagesize() + CODE_BYTES
        for kind, most in (
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CPU, CODE_SECONDS),
            (resource.RLIMIT_FSIZE, CODE_FILE),
        ):
            resource.setrlimit(kind, (most, most))

    os.register_at_fork(after_in_child=restrict)


def _remember_environment() -> None:
    """The harness describes the machine in each task's results, which takes it seconds: once will do."""
    from torch.utils import collect_env

    collect_env.get_pretty_env_info = functools.cache(collect_env.get_pretty_env_info)


if __name__ == "__main__":
    main(sys.argv[1])
