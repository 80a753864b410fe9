"""Where the data of a suite's tasks lie, and what is missing.

The one idea: the harness names a data set by its name on the hub, and a folder of that name below the
directory that it runs in is taken in its place. So a run gets a folder of links, with what --data-dir
has under the names that the harness looks for, and no task has to be rewritten. Nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON
from woolgather.suites.suite import Data, Suite, SuiteTask

TASK_FILES = {".yaml", ".yml", ".py"}
"""Endings of files that say what a task is; others hold data."""
PRINTED = {".log", ".out", ".err"}
"""Endings of files that programs print into, perhaps this one: they are no data."""
NLTK = "nltk_data"
"""Folder of --data-dir with the data of nltk."""
CODE_EVAL = "code_eval"
"""Folder of --data-dir with the metric that runs code, which `evaluate` otherwise has in its cache."""


def check_data(suite: Suite, tasks: Sequence[SuiteTask], data_dir: Path | None) -> None:
    """Raises InputError, which names all that is missing and how to get it, unless each task's data lie
    in `data_dir`, in the suite's own folder or in the cache of `datasets`."""
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"--data-dir {data_dir}: no such folder.")
    missing = {
        data.path: (task.name, data)
        for task in tasks
        for data in task.data
        if _find(data, suite, data_dir) is None and not _is_cached(data)
    }
    if not missing:
        return
    folder = str(data_dir) if data_dir else "DIR"
    lines = [
        f"  {name} needs {path}. Get it: {data.how.replace('DIR', folder)}"
        for path, (name, data) in missing.items()
    ]
    where = f"{data_dir} and the cache of `datasets`" if data_dir else "the cache of `datasets`"
    remedy = "then give the same command again" if data_dir else "then add --data-dir DIR"
    raise InputError(
        f"--suite {suite.name}: {len(missing)} of its data sets are not in {where}, and woolgather "
        f"downloads none. Nothing was run. Where there is a network, fetch what is missing, {remedy}:\n"
        + "\n".join(lines)
    )


def link_data(
    suite: Suite, tasks: Sequence[SuiteTask], data_dir: Path | None, folder: Path
) -> None:
    """Fill `folder`, in which the harness runs, with links to the data of `tasks`; what it held before
    goes."""
    for old in sorted(folder.rglob("*"), reverse=True):
        old.unlink() if old.is_symlink() or old.is_file() else old.rmdir()
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for data in task.data:
            found = _find(data, suite, data_dir)
            if found is None:
                continue
            alone = found.is_file() and found.name == data.file and found.name != data.path
            _link(folder / data.path / data.file if alone else folder / data.path, found)
    if data_dir is not None and any(task.code for task in tasks):
        metric = (data_dir / CODE_EVAL).resolve()
        if metric.is_dir():
            _link(folder / CODE_EVAL, metric)
    for own in _own_files(suite):
        if own.suffix not in TASK_FILES:
            _link(folder / own.name, own)


def describe_data(suite: Suite, task: SuiteTask, data_dir: Path | None) -> JSON:
    """Returns what tells data from other data of the same name: each file with its size and time."""
    found = [place for data in task.data if (place := _find(data, suite, data_dir))]
    files = [*(path for place in found for path in _files(place)), *_own_files(suite)]
    return [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]


def _find(data: Data, suite: Suite, data_dir: Path | None) -> Path | None:
    """Where the data lie: a folder of the data set's name, or the one file that is enough."""
    roots = [root for root in (data_dir, suite.folder) if root is not None]
    names = [data.path, data.file] if data.file else [data.path]
    places = (root / name for root in roots for name in names)
    return next((place.resolve() for place in places if place.exists()), None)


def _is_cached(data: Data) -> bool:
    """Whether `datasets` has the data set from an earlier time, when there was a network."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    return (cache / data.path.replace("/", "___")).is_dir()


def _link(link: Path, place: Path) -> None:
    if link.is_symlink() or link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(place)


def _own_files(suite: Suite) -> list[Path]:
    """The files beside a suite of your own, without those in folders: results may be among these."""
    if suite.folder is None:
        return []
    beside = (path for path in suite.folder.iterdir() if path.suffix not in PRINTED)
    return sorted(path for path in beside if path.is_file())


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    else:
        inside = (path for path in sorted(place.rglob("*")) if path.is_file())
        # `hf download` keeps notes of its own in .cache.
        yield from (p for p in inside if ".cache" not in p.relative_to(place).parts)
