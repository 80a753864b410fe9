"""Where a row or a step of a run came from: steps by name, rows by id, parents up to the seeds.

The one idea: an id is followed through the Parquet files themselves, columns of ids only, so that
tracing needs nothing but the run directory and little memory. What the steps *mean* is not known
here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.core.errors import InputError
from woolgather.report.text import outcome
from woolgather.runs.record import (
    INPUTS,
    RECORD,
    StepRecord,
    current_steps,
    read_input,
    read_record,
    read_run,
    split_name,
)

if TYPE_CHECKING:
    import pyarrow as pa

_SNIPPET = 160
"""Characters of a row's instruction that a tree shows."""
Steps = Sequence[tuple[Mapping[str, object], StepRecord]]
"""Finished steps as `current_steps` gives them: an entry of a launch, and the record."""


@dataclass
class Node:
    """A row or a step, and what it was made from."""

    name: str
    """A row's id, or a step's name."""
    where: str
    """The step or input that made it; for a step, its op."""
    text: str = ""
    """The instruction's beginning."""
    also: list[str] = field(default_factory=list)
    """Later steps that hold the row as well; with the reason where it was set aside."""
    parents: list[Node] = field(default_factory=list)
    repeated: bool = False
    """Its parents were given further up."""

    def to_json(self) -> dict[str, object]:
        """Returns the tree as JSON; `text`, `also` and `repeated` only where they say something."""
        found: dict[str, object] = {"name": self.name, "where": self.where}
        for key in ("text", "also", "repeated"):
            if value := getattr(self, key):
                found[key] = value
        return {**found, "parents": [parent.to_json() for parent in self.parents]}


def find_step(run_dir: Path, name: str) -> tuple[Path, StepRecord]:
    """Returns the directory and the record of a finished step.

    `name` is the step's name (`iter0/keep`), its last word where no other step ends with it (`select`),
    or its directory. Raises InputError, with the nearest name, when there is no such step, and
    RunDirError when `run_dir` is no run directory.
    """
    read_run(run_dir)
    folder = run_dir / name
    if (folder / RECORD).is_file():
        return folder, read_record(folder)
    steps = {r.step: (run_dir / str(e["path"]), r) for e, r in current_steps(run_dir)}
    if name in steps:
        return steps[name]
    ending = [step for step in steps if split_name(step)[2] == name]
    if len(ending) == 1:
        return steps[ending[0]]
    if ending:
        raise InputError(
            f"{run_dir} has {len(ending)} steps {name!r}: {', '.join(ending)}. Name one in full."
        )
    raise InputError(f"{run_dir} has no finished step {name!r}{_nearest(name, list(steps))}")


def trace(run_dir: Path, name: str, depth: int | None = None) -> Node:
    """Returns the tree of what a row or a step was made from, `depth` levels of it or all.

    `name` is a row's id, the beginning of an id, or a step's name. Raises InputError when neither a
    row nor a step is found, or when several ids have that beginning.
    """
    read_run(run_dir)
    steps = current_steps(run_dir)
    if any(record.step == name for _, record in steps):
        return _step_tree(run_dir, steps, name, depth)
    rows = _Rows(run_dir, steps)
    ids = rows.find_ids(name)
    if len(ids) > 1:
        some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise InputError(f"{len(ids)} ids begin with {name!r}: {some}. Give more of the id.")
    if not ids:
        known = [record.step for _, record in steps]
        raise InputError(
            f"{run_dir} has neither a row nor a finished step {name!r}{_nearest(name, known)}"
            " `woolgather show` prints the ids of rows."
        )
    return rows.tree(ids[0], depth)


def walk(node: Node, level: int = 0) -> Iterator[tuple[int, Node]]:
    """Yields the nodes of a tree from the top, each with its level, from 0."""
    yield level, node
    for parent in node.parents:
        yield from walk(parent, level + 1)


def fingerprints(payload: object) -> set[str]:
    """Returns every fingerprint of an artifact that a step's payload names."""
    if isinstance(payload, dict):
        payload = list(payload.values())
    if isinstance(payload, list):
        return {found for value in payload for found in fingerprints(value)}
    return {payload} if isinstance(payload, str) and len(payload) == 64 else set()


def inputs_of(run_dir: Path, steps: Steps) -> list[Path]:
    """Returns the directories of what `steps` were given from outside, e.g. `inputs/seeds-<12 hex>`."""
    used = {print_[:12] for _, r in steps for print_ in fingerprints(r.payload) | set(r.inputs)}
    found = sorted(p for p in (run_dir / INPUTS).glob("*") if p.is_dir())
    return [p for p in found if p.name.rsplit("-", 1)[-1] in used]


def _step_tree(
    run_dir: Path,
    steps: Steps,
    name: str,
    depth: int | None,
) -> Node:
    records = {record.fingerprint: record for _, record in steps}
    outside = {p.name.rsplit("-", 1)[-1]: p for p in inputs_of(run_dir, steps)}
    seen: set[str] = set()

    def node(print_: str, told: str, level: int) -> Node:
        record = records.get(print_)
        if record is None:
            path = outside.get(print_[:12])
            where = f"{INPUTS}/{path.name}" if path else f"from outside, {print_[:12]}"
            name = told or (path.name.rsplit("-", 1)[0] if path else "input")
            return Node(name, where, _read_given_name(path) if path else "")
        made = Node(record.step, record.op, text=_outcome(record))
        sources = {p: str(i.get("step", "")) for p, i in record.inputs.items()}
        sources |= {p: "" for p in _artifacts(record.payload) if p not in sources}
        made.repeated = bool(sources) and print_ in seen
        if made.repeated or level == depth:
            return made
        seen.add(print_)
        made.parents = [node(p, told, level + 1) for p, told in sources.items()]
        return made

    start = next(record for _, record in steps if record.step == name)
    return node(start.fingerprint, name, 0)


def _artifacts(payload: object) -> list[str]:
    """Fingerprints that stand for artifacts, not for a text that happens to look like one."""
    found: list[str] = []
    if isinstance(payload, dict):
        found += [v for k, v in payload.items() if k in ("artifact", "engine") and _is_print(v)]
        payload = list(payload.values())
    if isinstance(payload, list):
        for value in payload:
            found += [p for p in _artifacts(value) if p not in found]
    return found


def _is_print(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64


def _outcome(record: StepRecord) -> str:
    if record.kind == "dataset":
        aside = sum(record.set_aside.values())
        return outcome(record) + (f", {aside} set aside" if aside else "")
    return outcome(record)


def _read_given_name(folder: Path) -> str:
    """The name under which the user gave texts; empty for rows."""
    return str(read_input(folder).get("name", ""))


class _Rows:
    """Ids, parents and reasons of all rows of a run, by where they lie, in order of making."""

    def __init__(self, run_dir: Path, steps: Steps) -> None:
        outside = inputs_of(run_dir, steps)
        texts = {p.name.rsplit("-", 1)[-1]: p for p in outside if _read_given_name(p)}
        places = [(f"{INPUTS}/{p.name}", p) for p in outside if p not in texts.values()]
        self._read_by: dict[str, Path] = {}
        for entry, record in steps:
            if record.kind == "dataset":
                places.append((record.step, run_dir / str(entry["path"])))
                for print_ in fingerprints(record.payload):
                    if print_[:12] in texts:
                        self._read_by[record.step] = texts[print_[:12]]
        self._folders = dict(places)
        self._tables = {
            where: _read(path, ["id", "parents", "set_aside"]) for where, path in places
        }

    def find_ids(self, name: str) -> list[str]:
        """Ids that are `name`, else those that begin with it."""
        import pyarrow.compute as pc

        found: dict[str, None] = {}
        for table in self._tables.values():
            if not name:
                break
            hits = table["id"].filter(pc.starts_with(table["id"], pattern=name))
            found.update(dict.fromkeys(hits.to_pylist()))
        return [name] if name in found else list(found)

    def tree(self, id_: str, depth: int | None) -> Node:
        """Level by level, so that each level is one pass over the ids."""
        homes: dict[str, tuple[str, list[str], list[str]]] = {}
        due, level = [id_], 0
        while due:
            found = self._look_up(due)
            homes.update(found)
            if level == depth:
                break
            level += 1
            due = sorted({p for _, parents, _ in found.values() for p in parents} - set(homes))
        texts, origins = self._texts(homes)
        seen: set[str] = set()

        def node(name: str, level: int) -> Node:
            where, parents, also = homes.get(name, ("not in this run", [], []))
            made = Node(name, where, texts.get(name, ""), also)
            made.repeated = bool(parents) and name in seen
            if made.repeated or level == depth:
                return made
            seen.add(name)
            made.parents = [node(p, level + 1) for p in parents]
            if name in origins and not parents:
                made.parents = [origins[name]]
            return made

        return node(id_, 0)

    def _look_up(self, ids: list[str]) -> dict[str, tuple[str, list[str], list[str]]]:
        """id -> the place that made it, its parents, later places that hold it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(ids, pa.string())
        found: dict[str, tuple[str, list[str], list[str]]] = {}
        for where, table in self._tables.items():
            for row in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist():
                reason = f"{where} (set aside: {row['set_aside']})" if row["set_aside"] else where
                if row["id"] in found:
                    found[row["id"]][2].append(reason)
                else:
                    found[row["id"]] = (reason, row["parents"] or [], [])
        return found

    def _texts(
        self, homes: Mapping[str, tuple[str, list[str], list[str]]]
    ) -> tuple[dict[str, str], dict[str, Node]]:
        """By id: how it begins; the place within texts from outside, where its step read any."""
        by_place: dict[str, list[str]] = {}
        for id_, (where, _, _) in homes.items():
            by_place.setdefault(where.partition(" (set aside")[0], []).append(id_)
        texts: dict[str, str] = {}
        origins: dict[str, Node] = {}
        for where, ids in by_place.items():
            source = self._read_by.get(where)
            more = ["response", "meta"] if source else []
            table = _read(self._folders[where], ["id", "instruction", *more], ids)
            for row in table.to_pylist():
                texts[row["id"]] = (row["instruction"] or row.get("response", ""))[:_SNIPPET]
                place = place_of(json.loads(row["meta"] or "{}")) if source else ""
                if source and place:
                    origins[row["id"]] = Node(
                        place, f"{INPUTS}/{source.name}", _read_given_name(source)
                    )
        return texts, origins


def place_of(meta: Mapping[str, object]) -> str:
    """Returns where in its source a row's text stands: file, line or row, and which segment; empty
    where that is not known."""
    if not meta.get("source"):
        return ""
    piece = meta.get("segment")
    return f"{meta['source']}, segment {piece}" if piece else str(meta["source"])


def _read(folder: Path, columns: list[str], ids: list[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chosen = [("id", "in", ids)] if ids is not None else None
    shards = sorted(folder.glob("part-*.parquet"))
    if not shards:
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    return pa.concat_tables([pq.read_table(s, columns=columns, filters=chosen) for s in shards])


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f". Did you mean {close[0]}?"
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f". Its steps: {listed}." if known else ": no step is finished yet."
