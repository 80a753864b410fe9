"""Rows from outside a run become artifacts of it.

They are read in any shape that `data` knows, checked, and stored in the run as Parquet under the hash of
their content. Those that stand for a step's result are held to what the next step needs of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from woolgather import data
from woolgather.core.artifacts import Dataset, Model
from woolgather.core.errors import InputError, RunDirError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON, PreferencePair, Row
from woolgather.core.storage import to_record, write_rows
from woolgather.data.folders import choose_files, split_sources
from woolgather.models.digests import files_digest
from woolgather.models.open import open_model
from woolgather.runs.call import Call, artifacts_in
from woolgather.runs.inputs.store import InputStore

GOOD = {
    "response": '{"instruction": "...", "response": "..."}',
    "verdicts": '{"instruction": "...", "input": "", "response": "...", "parents": [], '
    '"verdicts": [{"name": "NAME", "score": 9, "text": ""}]}',
}
"""A row that has a field which a step needs."""
_NO_PINS: Mapping[str, str] = {}


@dataclass(frozen=True)
class GivenRows:
    """Rows that were handed in as the result of a step."""

    step: str
    source: str
    rows: Dataset


def open_dataset(
    source: data.Source | Dataset,
    store: InputStore,
    name: str,
    *,
    needs_response: bool = True,
    kind: Literal["example", "pair"] = "example",
    part: data.Part = "seeds",
) -> Dataset:
    """Returns the rows of files, folders or a data set of the hub, in any shape that `data` reads, as
    a Dataset in the store, which is told what was left out. `part` is what they are for. What this
    run read of the hub before is not asked for again.

    Raises InputError naming file, line, field and remedy; an empty set is an error."""
    if isinstance(source, Dataset):
        return source
    pins = store.pins(source)
    asked = [name, kind, part, needs_response]
    key = fingerprint([asked, pins, digest_files(source, pins)]) if pins else ""
    if pins and (known := store.find_rows(key)):
        return known
    told: list[str] = []
    rows: list[Row] = []
    if kind == "pair":
        rows += data.read_pairs(source, pins=pins, tell=told.append)
    else:
        rows += data.read_examples(
            source, needs_response=needs_response, part=part, pins=pins, tell=told.append
        )
    for text in told:
        store.tell(text)
    if all(row.set_aside is not None for row in rows):
        where = ", ".join(map(str, split_sources(source)))
        raise InputError(f"{where} holds no rows. Give at least a handful of examples.")
    found = store_rows(rows, store, name, kind)
    if pins:
        store.note_rows(key, found, told)
    return found


def store_rows(
    rows: Sequence[Row], store: InputStore, name: str, kind: Literal["example", "pair"]
) -> Dataset:
    """Returns the rows as a Dataset in the store, under the hash of their content."""
    print_ = fingerprint([to_record(row) for row in rows])
    folder = store.folder / f"{name}-{print_[:12]}"
    if not list(folder.glob("part-*.parquet")):
        for _ in write_rows((_with_id(r, i, name) for i, r in enumerate(rows)), folder, kind):
            pass
    return Dataset(folder, print_, sum(row.set_aside is None for row in rows), kind)


def digest_files(source: data.Source, pins: Mapping[str, str] = _NO_PINS) -> JSON:
    """Returns the places of a setting in order, files by their content and names of the hub, which
    `pins` has, as they are. Raises InputError for a place without files of rows."""
    places: list[JSON] = []
    for each in split_sources(source):
        if str(each) in pins:
            places.append(str(each))
        else:
            files = choose_files(Path(each).expanduser()).files
            places.append(files_digest([(file.name, file) for file in files]))
    return places


def open_given(call: Call, source: str, store: InputStore) -> Dataset | Model:
    """Returns the rows, put in the store, or the model that stand for the result of `call`. Raises
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


def _with_id(row: Row, index: int, name: str) -> Row:
    return row if row.id else replace(row, id=f"{name}-{index:05d}")
