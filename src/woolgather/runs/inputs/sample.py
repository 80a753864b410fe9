"""A sample of rows from outside: a few of a data set that may have millions, drawn as it is read.

The one idea: what is compared between runs has to be the same everywhere, so that a sample hangs on the
files' content and its size alone, and never on the run's random seed. Nothing is fetched: a data set
of the hub is read where it was downloaded before.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from woolgather import data
from woolgather.core.artifacts import Dataset
from woolgather.core.errors import InputError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import Example
from woolgather.data.folders import choose_files, is_hub_name, split_sources
from woolgather.runs.inputs.rows import digest_files, store_rows
from woolgather.runs.inputs.store import InputStore

SEED = 0
"""Random seed of every sample."""


def open_sample(source: data.Source, store: InputStore, setting: str, n: int) -> Dataset:
    """Returns at most `n` rows of files, folders or downloaded data sets of the hub, in any shape that
    `data` reads, as a Dataset in the store, which is told of how many they were drawn. `setting` is
    where the source was given. Files that have not changed are not read again.

    Raises InputError naming file, line, field and remedy, and for what is not on this machine."""
    places = [_find(each, setting) for each in split_sources(source)]
    key = fingerprint(["sample", setting, n, digest_files(places)])
    if known := store.find_rows(key):
        return known
    told: list[str] = []
    rows, total = draw(data.read_examples(places, needs_response=False, tell=told.append), n)
    if len(rows) < total:
        where = ", ".join(map(str, split_sources(source)))
        told.append(f"{setting}={where}: {n:,} of {total:,} rows are used, drawn with seed {SEED}.")
    for text in told:
        store.tell(text)
    found = store_rows(rows, store, setting.rpartition(".")[2], "example")
    store.note_rows(key, found, told)
    return found


def draw(rows: Iterable[Example], n: int) -> tuple[list[Example], int]:
    """Returns `n` of the rows in use in their order, each as likely as any other, or all where they are
    no more; and how many there are. No more than `n` are held at once."""
    rng, drawn, total = random.Random(SEED), list[tuple[int, Example]](), 0
    for row in rows:
        if row.set_aside is not None:
            continue
        total += 1
        if len(drawn) < n:
            drawn.append((total, row))
        elif (place := rng.randrange(total)) < n:
            drawn[place] = (total, row)
    return [row for _, row in sorted(drawn, key=lambda each: each[0])], total


def _find(source: str | Path, setting: str) -> Path:
    """The file or folder that a source is; of a data set of the hub, that of its download."""
    if not is_hub_name(source):
        return Path(source).expanduser()
    repo, _, revision = str(source).partition("@")
    try:
        from huggingface_hub import snapshot_download

        found = Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision or None, local_files_only=True
            )
        )
        choose_files(found)
    except (ImportError, OSError, ValueError, InputError) as error:
        raise InputError(
            f"{setting}={source}: no file or folder here, and no data set that was downloaded before. "
            f"Give a file or folder of rows, {setting}=FILE, or download it first: "
            f"hf download {repo} --repo-type dataset{' --revision ' + revision if revision else ''}"
        ) from error
    return found
