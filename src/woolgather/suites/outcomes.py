"""What the harness wrote, read as outcomes by item.

The one idea: an interval and a comparison need the items, which the harness keeps as samples. An item is
a document of a task (or an instruction of one, where a document has several that are checked), and its
name is the same for every model, so that two models are compared on what both were asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import WorkError
from woolgather.core.rows import JSON
from woolgather.suites.suite import Measure, SuiteTask

CHOICES = "multiple_choice"


@dataclass(frozen=True)
class Outcomes:
    """One measure of one model."""

    value: float
    """The number that the harness reports."""
    items: Mapping[str, float]
    """By item; empty where the harness has no number for each."""
    chance: float | None = None
    """What guessing among the choices reaches; None where there are none."""


@dataclass(frozen=True)
class HarnessResult:
    """What the harness made of a task."""

    outcomes: Mapping[str, Outcomes]
    """By the key of the measure."""
    hashes: Mapping[str, str]
    """By task, the harness's hash of documents, prompts and targets."""
    files: tuple[str, ...]
    """The harness's own files, relative to the task's folder."""


def read_result(folder: Path, task: SuiteTask) -> HarnessResult:
    """Returns what the harness wrote below `folder` of `task`, the last time that it did.

    Raises WorkError where a measure of the suite is not among its results."""
    written = sorted(folder.rglob("results_*.json"))
    if not written:
        raise WorkError(f"{folder}: the harness wrote no results. Give the same command again.")
    results = json.loads(written[-1].read_text(encoding="utf-8"))
    moment = written[-1].stem.removeprefix("results_")
    samples = {
        path.name.removeprefix("samples_").removesuffix(f"_{moment}.jsonl"): path
        for path in sorted(written[-1].parent.glob(f"samples_*_{moment}.jsonl"))
    }
    outcomes = {
        task.key(measure): _read_measure(results, samples, task, measure)
        for measure in task.measures
    }
    files = tuple(str(path.relative_to(folder)) for path in (written[-1], *samples.values()))
    return HarnessResult(outcomes, results.get("task_hashes", {}), files)


def family_of(item: str) -> str:
    """Returns the document that an item belongs to."""
    return item.partition("#")[0]


def _read_measure(
    results: Mapping[str, JSON], samples: Mapping[str, Path], task: SuiteTask, measure: Measure
) -> Outcomes:
    reported = {**results.get("results", {}), **results.get("groups", {})}.get(task.task, {})
    value = reported.get(f"{measure.metric},{measure.filter}")
    if not isinstance(value, int | float):
        known = ", ".join(k for k in reported if "_stderr" not in k and "," in k)
        raise WorkError(
            f"{task.task}: the harness reports no {measure.metric},{measure.filter}. It reports {known}; "
            "name one of these as metric and filter in the suite."
        )
    items: dict[str, float] = {}
    chances: list[float] = []
    for name, path in samples.items():
        has_choices = results["configs"][name].get("output_type") == CHOICES and measure.guessed
        for sample in _lines(path):
            if sample["filter"] != measure.filter:
                continue
            document = f"{name}/{sample['doc_id']}"
            items |= _items(document, sample.get(measure.metric))
            if has_choices:
                chances.append(1 / len(sample["arguments"]))
    chance = sum(chances) / len(chances) if chances else None
    return Outcomes(float(value), items, chance)


def _items(document: str, found: JSON) -> dict[str, float]:
    """A document's outcome, or those of its instructions; nothing where it is no number."""
    each: Sequence[JSON] = found if isinstance(found, list) else [found]
    if not all(isinstance(one, int | float) for one in each):
        return {}
    if not isinstance(found, list):
        return {document: float(found)}
    return {f"{document}#{place}": float(one) for place, one in enumerate(each)}


def _lines(path: Path) -> Iterator[Mapping[str, JSON]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
