"""Rows and texts from outside a run become artifacts of it.

Rows are read in any shape that `data` knows, checked, and stored in the run as Parquet under the hash
of their content. Texts may be many: they are hashed like a model, stay where they are, and are read as
a stream. Rows that stand for a step's result are held to what the next step needs of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from woolgather import data
from woolgather.core.artifacts import Dataset, Model
from woolgather.core.errors import InputError, RunDirError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON, PreferencePair, Row
from woolgather.core.storage import to_record, write_rows
from woolgather.data.documents import TEXT_SUFFIXES, Texts, find_files
from woolgather.data.folders import is_hub_name, split_sources, suffix_of
from woolgather.data.hub_errors import why_not
from woolgather.models.digests import files_digest, read_digests, remember_digests
from woolgather.models.open import open_model
from woolgather.runs.call import Call, artifacts_in
from woolgather.runs.record import read_input, write_input

GOOD = {
    "response": '{"instruction": "...", "response": "..."}',
    "verdicts": '{"instruction": "...", "input": "", "response": "...", "parents": [], '
    '"verdicts": [{"name": "NAME", "score": 9, "text": ""}]}',
}
"""A row that has a field which a step needs."""


@dataclass(frozen=True)
class GivenRows:
    """Rows that were handed in as the result of a step."""

    step: str
    source: str
    rows: Dataset


def open_dataset(
    source: data.Source | Dataset,
    store: Path,
    name: str,
    *,
    needs_response: bool = True,
    kind: Literal["example", "pair"] = "example",
    part: data.Part = "seeds",
    tell: data.Tell = lambda text: None,
) -> Dataset:
    """Returns the rows of files, folders or a data set of the hub, in any shape that `data` reads, as
    a Dataset under `store`. `part` is what they are for; `tell` takes what was left out.

    Raises InputError naming file, line, field and remedy; an empty set is an error."""
    if isinstance(source, Dataset):
        return source
    rows: list[Row] = []
    if kind == "pair":
        rows += data.read_pairs(source, tell=tell)
    else:
        rows += data.read_examples(source, needs_response=needs_response, part=part, tell=tell)
    used = sum(row.set_aside is None for row in rows)
    if not used:
        where = ", ".join(map(str, split_sources(source)))
        raise InputError(f"{where} holds no rows. Give at least a handful of examples.")
    print_ = fingerprint([to_record(row) for row in rows])
    folder = store / f"{name}-{print_[:12]}"
    if not list(folder.glob("part-*.parquet")):
        for _ in write_rows((_with_id(r, i, name) for i, r in enumerate(rows)), folder, kind):
            pass
    return Dataset(folder, print_, used, kind)


def open_given(call: Call, source: str, store: Path, tell: data.Tell) -> Dataset | Model:
    """Returns the rows, put under `store`, or the model that stand for the result of `call`. Raises
    InputError for what cannot be read, RunDirError for a step that makes neither."""
    if call.kind == "model":
        return open_model(source)
    if call.kind != "dataset":
        raise RunDirError(f"--given {call.name}: only steps that make rows or a model can be given")
    return open_dataset(
        source,
        store,
        call.name.replace("/", "-"),
        needs_response=False,
        kind=call.op.rows,
        part="made",
        tell=tell,
    )


def check_needs(call: Call, given: Mapping[str, GivenRows]) -> None:
    """Raises InputError where rows that were handed in (by their fingerprint) have nothing of what the
    op needs; single rows without it are for the op to set aside. No argument may be put off."""
    for parameter, fields in call.op.needs(**call.bound).items():
        for artifact in artifacts_in(call.bound[parameter]):
            found = given.get(artifact.fingerprint)
            for field in fields if found else ():
                assert found
                if not any(_has(row, field) for row in found.rows):
                    kind, _, name = field.partition(".")
                    what = f"verdict {name!r}" if name else kind.removesuffix("s")
                    good = GOOD[kind].replace("NAME", name or "quality")
                    raise InputError(
                        f"--given {found.step}={found.source}: no row has a {what}, which "
                        f"{call.name} needs (field {kind!r}). Give rows that have it, such as {good}, "
                        "or give these for an earlier step, so that the run adds it."
                    )


def _has(row: Row, field: str) -> bool:
    kind, _, name = field.partition(".")
    if isinstance(row, PreferencePair):
        return True
    if kind == "verdicts":
        found = [v for n, v in row.verdicts.items() if name in ("", n)]
        return any(verdict.score is not None for verdict in found)
    return bool(row.response.strip())


def open_texts(
    source: data.Source,
    *,
    column: str | tuple[str, ...] = "text",
    split: str = "train",
    subset: str = "",
) -> Texts:
    """Returns the documents of a file, a folder, several of them, or a data set
    `owner/name[@revision]` on the hub, known by their content. Raises InputError when there are none."""
    sources = split_sources(source)
    if len(sources) == 1 and _on_hub(sources[0]):
        return _begin(_open_hub_texts(str(sources[0]), column, split, subset))
    files: list[tuple[str, Path]] = []
    for each in sources:
        found = find_files(Path(each).expanduser())
        inside = len(sources) > 1 and Path(each).expanduser().is_dir()
        files += [(f"{Path(each).name}/{n}", p) for n, p in found] if inside else found
    print_ = fingerprint({"texts": files_digest(files), "column": column})
    texts = Texts(
        ", ".join(map(str, sources)),
        files=tuple(files),
        column=column,
        fingerprint=print_,
        size=sum(path.stat().st_size for _, path in files),
    )
    return _begin(texts)


def _begin(texts: Texts) -> Texts:
    """The same, read as far as its first text: that there is none, a wrong column, or a data set that
    is not for us shows before models are trained to use it. Remembered, so that a run goes on
    without the hub."""
    key, known = f"begun|{texts.fingerprint}", read_digests()
    if key not in known:
        next(document for document in texts if document.text.strip())
        remember_digests({**known, key: "yes"})
    return texts


def note_texts(texts: Texts, store: Path, name: str) -> Path:
    """Write a note under `store` of what the texts are, where rows would lie if there were not so many;
    a row made from a text names its place within them. Returns the folder."""
    folder = store / f"{name}-{texts.fingerprint[:12]}"
    where: dict[str, JSON] = {"hub": texts.hub, "split": texts.split, "subset": texts.subset}
    noted: dict[str, JSON] = {
        "name": texts.name,
        "files": len(texts.files),
        "bytes": texts.size,
        "column": texts.column if isinstance(texts.column, str) else [*texts.column],
        **(where if texts.hub else {}),
    }
    if read_input(folder) != noted:
        write_input(folder, noted)
    return folder


def _on_hub(source: str | Path) -> bool:
    name = Path(str(source).partition("@")[0])
    return is_hub_name(source) and suffix_of(name) not in TEXT_SUFFIXES


def _open_hub_texts(name: str, column: str | tuple[str, ...], split: str, subset: str) -> Texts:
    repo, _, revision = name.partition("@")
    commit = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else _commit_of(repo, revision)
    known = {"hub": repo, "commit": commit, "split": split, "subset": subset, "column": column}
    return Texts(
        name,
        hub=f"{repo}@{commit}",
        column=column,
        split=split,
        subset=subset,
        fingerprint=fingerprint(known),
    )


def _commit_of(repo: str, revision: str) -> str:
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(repo, revision=revision or None).sha)
    except Exception as error:
        name = f"{repo}@{revision}" if revision else repo
        raise InputError(
            f"texts={name}: no file or folder here, and {why_not(error, name, 'data set')} "
            "Or give files."
        ) from error


def _with_id(row: Row, index: int, name: str) -> Row:
    return row if row.id else replace(row, id=f"{name}-{index:05d}")
