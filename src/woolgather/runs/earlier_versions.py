"""What earlier versions left in a run's directory: how they wrote what a step is, and what is doubtful.

Nothing on disk is rewritten. A payload of an earlier version is read as what this version would have
written for the same work; where its hash is then that of the step, its record stands.

Doubtful is whether the models that were asked are those that answered: earlier versions with `--engine
openai` asked the server of the base for every model of a run, those that it trained and its judges,
too. What came of it looks like any other answer, in records and in the journal. A launch since then
marks itself; one without the mark is looked at for that engine. Launches stay in a run's directory, so
that a doubt outlives the records that gave it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from woolgather.core.errors import RunDirError
from woolgather.core.rows import JSON
from woolgather.runs.record import RECORD, RunRecord, StepRecord, read_launches, read_record

SALT = "asked by its own name"
"""Goes into the keys of a doubtful model's answers, so that older ones are not found."""


@dataclass(frozen=True)
class Past:
    """What is known of a run's earlier launches."""

    doubted: bool = False
    """Whether the journal may hold answers that a server gave for a model that it did not have."""
    unsure: frozenset[int] = frozenset()
    """Launches of a version that asked so, whatever their engine."""


def past_of(run_dir: Path) -> Past:
    """From the launches and, where one does not tell, the records of steps. Raises RunDirError for
    a launch that cannot be read."""
    launches = read_launches(run_dir)
    unsure = frozenset(launch.launch for launch in launches if not launch.journal)
    return Past(_is_doubted(run_dir, launches), unsure)


def engine_of(record: StepRecord) -> dict[str, JSON]:
    """The engine that a step used, as its record has it; empty where no model was asked."""
    return dict(record.execution.get("engine") or {})


def _is_doubted(run_dir: Path, launches: Sequence[RunRecord]) -> bool:
    since = 0
    for launch in launches:
        if launch.journal == "doubted":
            return True
        if launch.journal:  # whatever was before has been looked at then
            since = launch.launch
    later = [launch for launch in launches if launch.launch > since]
    if any(_used_server(launch.provenance.get("argv") or ()) for launch in later):
        return True
    return bool(later) and any(
        engine_of(record).get("name") == "openai" and "served" not in engine_of(record)
        for record in _records(run_dir)
    )


def _used_server(words: Iterable[object]) -> bool:
    told = list(map(str, words))
    return "--engine=openai" in told or ("--engine", "openai") in pairwise(told)


def _records(run_dir: Path) -> Iterable[StepRecord]:
    for path in run_dir.glob("**/" + RECORD):
        with contextlib.suppress(RunDirError):
            yield read_record(path)


_OURS = re.compile(r"woolgather\.ops\.\w+:(\w+)")
"""How an op of ours was named by its place. Those functions had the names that ops have now."""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_GROUPED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "synthesize": {
        "how": _same(
            "template", "format", "sampling", "rules", "novelty", "wave", "max_prompts", "minimum",
            "items", "demos",
        )
    },
    "brainstorm": {
        "how": _same("template", "format", "sampling", "rounds", "calls", "per_call", "max_words")
    },
    "ask_about": {
        "how": _same(
            "template", "format", "sampling", "rules", "novelty", "wave", "max_prompts", "minimum",
            "n",
        )
    },
    "respond": {"how": {"sampling": "sampling", "samples": "n", "unfinished": "unfinished"}},
    "backtranslate": {"how": _same("template", "sampling", "rules", "novelty")},
    "rewrite": {"how": _same("template", "sampling", "rules")},
    "align": {"how": _same("sampling", "nudge", "rules")},
    "identity_rows": {"how": _same("repeats")},
    "evaluate_teacher": {"how": _same("sampling", "nudge")},
    "adherence": {
        "how": {"rubric": "templates.rubric", "yes_no": "templates.yes_no"}
    },
}  # fmt: skip
"""By op, and by the name of an argument that is a group of settings now: the group's fields, and the
arguments that they were before (`templates.rubric`: the entry `rubric` of the argument `templates`)."""


def modern(payload: JSON) -> JSON:
    """A step's payload as this version writes it; one of this version comes back as it is."""
    if not (isinstance(payload, dict) and isinstance(payload.get("op"), str)):
        return _settings(payload)
    placed = _OURS.fullmatch(payload["op"])
    name = placed.group(1) if placed else payload["op"]
    found = {**_settings(payload), "op": name}
    if isinstance(found.get("args"), dict):
        found["args"] = _group(found["args"], _GROUPED.get(name, {}))
    return found


def _group(args: dict[str, JSON], groups: Mapping[str, Mapping[str, str]]) -> dict[str, JSON]:
    """The arguments of an op, those that one group of settings holds now put into it."""
    for group, fields in groups.items():
        before = {place.partition(".")[0] for place in fields.values()}
        if group not in args and before <= args.keys():
            inside = {field: _at(args, place) for field, place in fields.items()}
            args = {k: v for k, v in args.items() if k not in before} | {group: inside}
    return args


def _at(args: dict[str, JSON], place: str) -> JSON:
    argument, dot, entry = place.partition(".")
    return args[argument][entry] if dot else args[argument]


def _settings(value: JSON) -> JSON:
    if isinstance(value, dict):
        found = {key: _settings(inner) for key, inner in value.items()}
        if found.get("precision") == "auto":  # it was bfloat16 on every machine
            found["precision"] = "bfloat16"
        return found
    return [_settings(inner) for inner in value] if isinstance(value, list) else value
