"""Which models and rows of a run go out, by name.

The one idea: a scope of steps that ends in one model is known by the scope's name, `iter0`, and the
chosen one is `result`. The rows of a release are those that the models were made from, found by the
hashes in the records; what models are measured on is among none of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON
from woolgather.report.collect import RunReport, Step

RESULT = "result"
CONTROL = "control"
"""The scope of models that stand beside the method and are no part of it."""
_COMPARED = {"measured", "avoid", "against"}
"""Arguments with rows that others are kept unlike: nothing is made from them."""

_ORDERED = "shuffle"
"""The op that only puts rows in order: those of them that were used are among the rows made of it."""


@dataclass(frozen=True)
class ReleasedModel:
    """A model of a run."""

    name: str
    """`result`, a scope's name, or a step's where its scope has several."""
    step: Step
    folder: Path
    """Where its files are."""


def list_models(run: RunReport) -> dict[str, ReleasedModel]:
    """Returns the models of a run by name, in order of making."""
    made = [step for step in run.steps if step.record.kind == "model"]
    inside = {step.record.fingerprint: used_by(step) for step in made}
    found: dict[str, ReleasedModel] = {}
    for scope in dict.fromkeys(step.scope for step in made):
        here = [step for step in made if step.scope == scope]
        used = set().union(*(inside[step.record.fingerprint] for step in here))
        last = [step for step in here if step.record.fingerprint not in used]
        for step in last:
            name = scope if scope and len(last) == 1 else step.record.step
            found[name] = ReleasedModel(name, step, _folder_of(run, step))
    return found


def choose_models(run: RunReport, names: Sequence[str]) -> list[ReleasedModel]:
    """Returns the models of these names, each once. Raises InputError for a name that no model has,
    with the nearest, and for a model whose files are not in the run."""
    known = list_models(run)
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise InputError(f"{run.path} has no finished model {name!r}{_nearest(name, known)}")
        if not known[name].folder.is_dir():
            raise InputError(
                f"{run.path}: the files of model {name!r} are gone; give the run's command again to "
                "make them anew."
            )
        chosen.append(known[name])
    return chosen


def made_from(run: RunReport, models: Iterable[ReleasedModel]) -> list[Step]:
    """Returns the steps whose rows went into `models`, in order of making. What a user gave to draw from
    is none of them: the rows that were drawn are in the step that drew."""
    steps = {step.record.fingerprint: step for step in run.steps}
    due, seen = [model.step.record.fingerprint for model in models], set[str]()
    while due:
        print_ = due.pop()
        if print_ in steps and print_ not in seen:
            seen.add(print_)
            due += used_by(steps[print_])
    return [
        step
        for step in run.steps
        if step.record.fingerprint in seen
        and step.record.kind == "dataset"
        and step.record.op != _ORDERED
    ]


def used_by(step: Step) -> set[str]:
    """Returns the fingerprints of all that a step's result was made from."""
    payload = step.record.payload
    given = payload.get("args") if isinstance(payload, Mapping) else None
    if not isinstance(given, Mapping):
        return _prints(payload)
    return _prints({name: value for name, value in given.items() if name not in _COMPARED})


def is_method(model: ReleasedModel) -> bool:
    """Returns whether a model is one of the method's own: no control, and not the result again."""
    return model.name != RESULT and model.name.partition("/")[0] != CONTROL


def _prints(value: JSON) -> set[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return {print_ for inner in value for print_ in _prints(inner)}
    return {value} if isinstance(value, str) and len(value) == 64 else set()


def _folder_of(run: RunReport, step: Step) -> Path:
    """The files of a step's model: below the step's folder, or where it was handed in from."""
    return run.path / str(step.entry["path"]) / str(step.record.result.get("path", ""))


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f". Did you mean {close[0]}?"
    return f". Its models: {', '.join(names)}." if names else ": it has made none yet."
