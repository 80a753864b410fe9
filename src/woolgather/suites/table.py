"""Models by tasks: what came out, with intervals, beside what was published.

The one idea: a number has the interval over its items, and a further model is compared with the first on
the items that both were asked. A multiple-choice task on which a model is not seen to do better than
guessing says so, since its number then speaks of the task and not of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from woolgather.core.intervals import (
    Estimate,
    mean_interval,
    outcome_difference,
    paired_difference,
    rate_interval,
)
from woolgather.core.rows import JSON
from woolgather.core.views import Unit, View, alarm, table, table_cell
from woolgather.suites.interpreter import Harness
from woolgather.suites.outcomes import Outcomes, family_of
from woolgather.suites.run import Measured, SuiteOptions, choose_tasks
from woolgather.suites.suite import Measure, Published, Suite, SuiteTask


def estimate(outcomes: Outcomes) -> Estimate | None:
    """Returns a measure with its 95 % interval over items, or over documents where each has several;
    None where the harness has no number for each item."""
    if not outcomes.items:
        return None
    values = list(outcomes.items.values())
    documents = [family_of(item) for item in outcomes.items]
    if set(values) <= {0.0, 1.0}:
        several = len(set(documents)) < len(documents)
        return rate_interval(values, documents if several else None)
    return mean_interval(values)


def is_at_chance(outcomes: Outcomes) -> bool:
    """Returns whether a model is not seen to do better than guessing among the choices."""
    found = estimate(outcomes)
    return outcomes.chance is not None and found is not None and found.low <= outcomes.chance


def estimate_bits(outcomes: Outcomes) -> Estimate | None:
    """Returns the mean bits per byte of the right answers with its 95 % interval over items; None where
    the harness does not tell them."""
    return mean_interval(list(outcomes.bits.values()))


def compare(mine: Outcomes, first: Outcomes) -> Estimate | None:
    """Returns the difference to the first model, with its 95 % interval, on the items that both were
    asked; None without any."""
    several = any("#" in item for item in mine.items)
    return outcome_difference(mine.items, first.items, family_of=family_of if several else None)


def make_views(
    suite: Suite, measured: Sequence[Measured], harness: Harness, asked: SuiteOptions
) -> list[View]:
    """Returns the tables that are printed, and what has to be known to read them."""
    lines = list(_lines(suite, asked))
    views = [_measures(suite, lines, measured, harness, asked), *_bits(lines, measured)]
    if len(measured) > 1:
        views.append(_differences(lines, measured))
    views += [_beside(lines, measured, published) for published in suite.published]
    return [*views, *_notes(suite, measured, asked)]


def to_json(
    suite: Suite, measured: Sequence[Measured], harness: Harness, asked: SuiteOptions
) -> dict[str, JSON]:
    """Returns the same as plain data, with every interval."""
    return {
        "suite": suite.name,
        "source": suite.source,
        "harness": dict(harness.versions),
        "limit": asked.limit,
        "max_tokens": asked.max_tokens,
        "models": [
            {
                "model": each.name,
                "path": each.path,
                "measures": {
                    task.key(measure): _measure_json(each, measured[0], task, measure)
                    for task, measure in _lines(suite, asked)
                },
            }
            for each in measured
        ],
        "published": [published.model_dump(mode="json") for published in suite.published],
        "left_out": [task.task for task in suite.tasks if task not in choose_tasks(suite, asked)],
    }


def tabulate(
    suite: Suite, measured: Sequence[Measured], asked: SuiteOptions
) -> dict[str, dict[str, JSON]]:
    """Returns the cells of the tables: by model, and by "MODEL against FIRST", each by measure."""
    first, *others = measured
    lines = [(task.key(measure), measure) for task, measure in _lines(suite, asked)]
    found = {
        each.name: {key: _cell(each.outcomes[key], measure) for key, measure in lines}
        for each in measured
    }
    gains = {
        f"{each.name} against {first.name}": {
            key: _gain(each.outcomes[key], first.outcomes[key], measure) for key, measure in lines
        }
        for each in others
    }
    return {**found, **gains}


def _measure_json(
    mine: Measured, first: Measured, task: SuiteTask, measure: Measure
) -> dict[str, JSON]:
    found, other = (each.outcomes[task.key(measure)] for each in (mine, first))
    interval = estimate(found)
    gain = compare(found, other) if mine is not first else None
    return {
        "value": found.value,
        "unit": measure.unit,
        "interval": interval and interval.json(),
        "chance": found.chance,
        "at_chance": is_at_chance(found),
        "bits_per_byte": (bits := estimate_bits(found)) and bits.json(),
        "in_turns": task.task in mine.in_turns,
        "against_first": gain and gain.json(),
    }


def _lines(suite: Suite, asked: SuiteOptions) -> Iterator[tuple[SuiteTask, Measure]]:
    for task in choose_tasks(suite, asked):
        for measure in task.measures:
            yield task, measure


Lines = Sequence[tuple[SuiteTask, Measure]]


def _measures(
    suite: Suite, lines: Lines, measured: Sequence[Measured], harness: Harness, asked: SuiteOptions
) -> View:
    rows: list[list[JSON]] = []
    for task, measure in lines:
        found = [each.outcomes[task.key(measure)] for each in measured]
        at_chance = [m.name for m, o in zip(measured, found, strict=True) if is_at_chance(o)]
        rows.append(
            [
                task.name,
                measure.name,
                "as the task has it" if task.shots is None else task.shots,
                len({family_of(item) for item in found[0].items}) or None,
                *(_cell(outcomes, measure) for outcomes in found),
                None if found[0].chance is None else table_cell(found[0].chance, "percent"),
                ", ".join(at_chance),
            ]
        )
    names = [each.name for each in measured]
    head = ["task", "measure", "shots", "items", *names, "chance", "at chance"]
    limit = f", the first {asked.limit} items of each task" if asked.limit else ""
    title = f"{suite.title or suite.name}: lm-evaluation-harness {harness.version}{limit}"
    return table(title, head, rows)


def _cell(outcomes: Outcomes, measure: Measure) -> JSON:
    unit: Unit | None = "percent" if measure.unit == "percent" else None
    found = estimate(outcomes)
    return table_cell(outcomes.value if found is None else found, unit)


def _gain(mine: Outcomes, first: Outcomes, measure: Measure) -> JSON:
    unit: Unit = "points" if measure.unit == "percent" else "change"
    return table_cell(compare(mine, first), unit)


def _bits(lines: Lines, measured: Sequence[Measured]) -> Iterator[View]:
    """Yields the table of what moves while the number of right answers cannot be told from guessing."""
    first, *others = measured
    rows: list[list[JSON]] = []
    for task, measure in lines:
        found = [each.outcomes[task.key(measure)] for each in measured]
        if not any(map(is_at_chance, found)) or not found[0].bits:
            continue
        gains = [paired_difference(each.bits, found[0].bits) for each in found[1:]]
        rows.append(
            [
                task.name,
                *(table_cell(estimate_bits(each)) for each in found),
                *(table_cell(gain, "change") for gain in gains),
            ]
        )
    if rows:
        head = ["task", *(each.name for each in measured)]
        head += [f"{each.name} against {first.name}" for each in others]
        yield table(
            "At chance: bits per byte of the right answers",
            head,
            rows,
            "Less is better. For tasks on which a model is at chance: what it gives the right answer, "
            "whether or not another is likelier.",
        )


def _differences(lines: Lines, measured: Sequence[Measured]) -> View:
    first, *others = measured
    rows: list[list[JSON]] = []
    for task, measure in lines:
        key = task.key(measure)
        gains = (_gain(each.outcomes[key], first.outcomes[key], measure) for each in others)
        rows.append([task.name, measure.name, *gains])
    names = [each.name for each in others]
    return table(f"Against {first.name}, item by item", ["task", "measure", *names], rows)


def _beside(lines: Lines, measured: Sequence[Measured], published: Published) -> View:
    rows: list[list[JSON]] = []
    for task, measure in lines:
        key = task.key(measure)
        theirs = [model.values.get(key) for model in published.models]
        if any(value is not None for value in theirs):
            ours = [table_cell(each.outcomes[key].value, "percent") for each in measured]
            figures = [None if v is None else table_cell(v / 100, "percent") for v in theirs]
            rows.append([task.name, *ours, *figures])
    names = [each.name for each in measured]
    head = ["task", *names, *(f"{model.name} (published)" for model in published.models)]
    return table(f"Beside published figures: {published.source}", head, rows, published.differs)


def _notes(suite: Suite, measured: Sequence[Measured], asked: SuiteOptions) -> Iterator[View]:
    for published in suite.published:
        yield alarm("what differs", f"Published figures differ in: {published.differs}", "note")
    left_out = [task.name for task in suite.tasks if task.code and not asked.allow_code]
    if left_out:
        yield alarm(
            "left out",
            f"{' and '.join(left_out)} run code that the model writes and were left out. --allow-code "
            "runs them; do so inside a container.",
            "note",
        )
    wanted = {task.task for task in choose_tasks(suite, asked) if task.chat}
    plain = [each.name for each in measured if wanted - each.in_turns]
    if plain and asked.form == "auto":
        told = f"Asked in plain text throughout, not by a chat template: {', '.join(plain)}."
        yield alarm("plain text", told, "note")
    if asked.max_tokens is not None:
        told = (
            f"Written answers were cut at {asked.max_tokens} tokens where a task allows more "
            "(--max-tokens): compare them with others that were cut so."
        )
        yield alarm("cut answers", told, "note")
