"""What the harness wrote, read as outcomes by item.

The one idea: an interval and a comparison need the items, which the harness keeps as samples. An item is
a document of a task (or an instruction of one, where a document has several that are checked), and its
name is the same for every model, so that two models are compared on what both were asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    bits: Mapping[str, float] = field(default_factory=dict)
    """Bits per byte of the right answer, by item, from the log-likelihoods that the harness kept; empty
    where there are no choices, or it does not say which is right."""


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


def spell(outcomes: Mapping[str, Outcomes]) -> str:
    """Returns the numbers in a line."""
    return ", ".join(f"{key} {each.value:.3f}" for key, each in outcomes.items())


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
    bits: dict[str, float] = {}
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
                if (found := _bits_per_byte(sample)) is not None:
                    bits[document] = found
    chance = sum(chances) / len(chances) if chances else None
    return Outcomes(float(value), items, chance, bits)


def _bits_per_byte(sample: Mapping[str, JSON]) -> float | None:
    """Bits that the model needs for a byte of the right answer (UTF-8, with the space before it): minus
    its log-likelihood to the base 2, by its length. None where the sample does not say which answer is
    right, as where one ending follows several beginnings."""
    asked = sample["arguments"]
    answers = [str(asked[f"gen_args_{n}"].get("arg_1", "")) for n in range(len(asked))]
    place = _right_choice(str(sample.get("target", "")), answers)
    if place is None:
        return None
    nats = -float(sample["filtered_resps"][place][0])
    return nats / math.log(2) / len(answers[place].encode())


def _right_choice(target: str, answers: Sequence[str]) -> int | None:
    """The index of the right answer: the harness writes it as a number, or as the answer itself."""
    if len(set(answers)) < len(answers) or not all(answers):
        return None
    if target.isdecimal():
        return int(target) if int(target) < len(answers) else None
    stripped = [answer.strip() for answer in answers]
    return stripped.index(target.strip()) if target.strip() in stripped else None


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
