"""What a page about a run says, read from its records: headings, numbers and views, no markup.

It knows the kinds of results and of views. Which recipe ran, and what its ops mean, it does not
know: steps of one name in several iterations belong together, and the headline of the last metrics
that conclude is the run's verdict. That is all.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from woolgather.core.views import View
from woolgather.report.text import (
    between,
    cell,
    duration,
    flatten,
    is_estimate,
    is_number,
    number,
    outcome,
    row_count,
    values_of,
    when,
    words,
)
from woolgather.runs.record import (
    RunRecord,
    StepRecord,
    current_steps,
    read_launches,
    read_run,
    split_name,
)

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Step:
    """A finished step as the page shows it."""

    record: StepRecord
    entry: Mapping[str, object]
    """What the latest launch says of it: `path`, `state`, `why`."""
    anchor: str
    """Its id on the page."""

    @cached_property
    def place(self) -> tuple[str, int | None, str]:
        """Returns the scope, the iteration if there is one, and the last word of the name."""
        return split_name(self.record.step)

    @property
    def scope(self) -> str:
        """Returns the scope, e.g. "iter0"; empty for a step of the root."""
        return self.place[0]

    @property
    def name(self) -> str:
        """Returns the last word of the name, which steps of several iterations share."""
        return self.place[2]

    @property
    def used(self) -> int:
        """Returns how many of its rows are in use."""
        return row_count(self.record)

    @property
    def aside(self) -> list[tuple[str, int]]:
        """Returns the reasons to set rows aside with their counts, the commonest first."""
        return sorted(self.record.set_aside.items(), key=lambda r: (-r[1], r[0]))

    @property
    def lost(self) -> int:
        """Returns how many of its rows are set aside."""
        return sum(self.record.set_aside.values())

    @property
    def views(self) -> list[View]:
        """Returns what its op chose to show."""
        return self.record.shown()

    @property
    def brief(self) -> str:
        """Returns the result in a few words."""
        result = self.record.result
        if self.record.kind in ("dataset", "model"):
            return outcome(self.record)
        if self.record.kind == "metrics":
            short = "" if self.record.concludes else self.record.headline
            return short or _first_number(values_of(self.record))
        leaves = [leaf for leaf in flatten(result.get("value")) if leaf[1] not in (None, "", [])]
        named = [v for key, v in leaves if key.rpartition(".")[2] in ("kind", "name")]
        return words(cell([*named, *(v for _, v in leaves), "nothing"][0], 24))

    @property
    def why(self) -> str:
        """Returns the reason for a choice; empty for other results."""
        return str(self.record.result.get("why", "")) if self.record.kind == "choice" else ""


@dataclass(frozen=True)
class Alarm:
    """Something that a reader should know of a step."""

    level: str
    """One of LEVELS, the gravest first."""
    title: str
    text: str
    step: Step


@dataclass(frozen=True)
class RunReport:
    """A run directory, read."""

    path: Path
    head: Mapping[str, object]
    """What run.json holds."""
    launches: Sequence[RunRecord]
    steps: Sequence[Step]
    verdict: str = ""
    verdict_step: Step | None = None
    alarms: Sequence[Alarm] = field(default_factory=tuple)

    @property
    def last(self) -> RunRecord | None:
        """Returns the latest launch."""
        return self.launches[-1] if self.launches else None

    @property
    def scopes(self) -> list[str]:
        """Returns the scopes in order of their first step, without the root."""
        return list(dict.fromkeys(step.scope for step in self.steps if step.scope))

    @property
    def iterations(self) -> list[str]:
        """Returns the scopes that are iterations of a loop."""
        return [scope for scope in self.scopes if split_name(f"{scope}/x")[1] is not None]

    @property
    def stages(self) -> list[str]:
        """Returns the scopes that share most of their steps' names with another scope."""
        names = {scope: {step.name for step in self.of(scope)} for scope in self.scopes}
        return [
            a
            for a in names
            if any(2 * len(names[a] & names[b]) > len(names[a] | names[b]) for b in names if a != b)
        ]

    def of(self, scope: str) -> list[Step]:
        """Returns the steps of a scope, in order."""
        return [step for step in self.steps if step.scope == scope]


def read_run_dir(path: Path) -> RunReport:
    """Returns what a run directory holds.

    Raises RunDirError when `path` is no run directory, is of a newer format, or holds a broken
    record.
    """
    head = read_run(path)
    launches = read_launches(path)
    steps = [
        Step(record, entry, f"step-{i}") for i, (entry, record) in enumerate(current_steps(path))
    ]
    verdict, source = "", None
    for step in steps:
        if step.record.kind == "metrics" and step.record.concludes:
            verdict, source = step.record.headline, step
    return RunReport(path, head, launches, steps, verdict, source, tuple(_alarms(steps)))


def _alarms(steps: Sequence[Step]) -> list[Alarm]:
    """Those of the views, and warnings of the record that no view says; the gravest first."""
    found = []
    for step in steps:
        said = set()
        for view in step.views:
            if view.kind == "alarm":
                level = str(view.data.get("level", "warning"))
                text = str(view.data.get("text", ""))
                level = level if level in LEVELS else "warning"
                found.append(Alarm(level, view.title, text, step))
                said.add(text)
        found += [Alarm("warning", "", str(w), step) for w in step.record.warnings if w not in said]
    return sorted(found, key=lambda a: LEVELS.index(a.level))


def label_of(scope: str) -> str:
    """Returns a scope in words: "iter2" -> "iteration 2"; other scopes as they are."""
    number_ = split_name(f"{scope}/x")[1]
    if number_ is None or not scope.split("/")[-1].startswith("iter"):
        return words(scope)
    outer = scope.rpartition("/")[0]
    return (f"{outer} · " if outer else "") + f"iteration {number_}"


def facts(run: RunReport) -> list[tuple[str, str]]:
    """Returns what ran, on what and when, as (name, value): the head of the page."""
    last = run.last
    config = last.config if last and isinstance(last.config, dict) else {}
    known = dict(last.provenance) if last else {}
    lasted = [between(launch.started, launch.finished) for launch in run.launches]
    known_time = all(s is not None for s in lasted)
    worked = sum(s or 0 for s in lasted)
    worked = worked if known_time else sum(step.record.seconds for step in run.steps)
    launches = f" in {len(run.launches)} launches" if len(run.launches) > 1 else ""
    tokens = sum(step.record.calls.get("completion_tokens", 0) for step in run.steps)
    lines = [
        ("Recipe", run.head.get("recipe")),
        ("Base model", _name(config.get("base"))),
        ("Seeds", _name(config.get("seeds"))),
        ("Started", when(run.launches[0].started) if run.launches else None),
        ("Time", duration(worked) + (launches if known_time else " in steps") if worked else None),
        ("Tokens generated", number(tokens) if tokens else None),
        ("Machine", _machine(known.get("hardware"))),
        ("Version", _version(known)),
        ("Replicate", number(n) if is_number(n := run.head.get("replicate")) and n else None),
    ]
    return [(name, str(value)) for name, value in lines if value]


def command(run: RunReport) -> str:
    """Returns the command line of the latest launch, ready to paste; empty where it is not known."""
    argv = run.last.provenance.get("argv") if run.last else None
    if not isinstance(argv, list) or not argv:
        return ""
    name = os.path.basename(str(argv[0]))
    name = "woolgather" if name in ("__main__.py", "-m", "-c", "") else name
    return shlex.join([name, *map(str, argv[1:])])


def settings(run: RunReport) -> list[tuple[str, str, bool]]:
    """Returns (key, value, whether the value changed in the latest launch) for each setting."""
    if run.last is None or not isinstance(run.last.config, dict):
        return []
    changed = [line.partition(":")[0] for line in run.last.config_changes]
    return [
        (key, _setting(value), any(key == c or key.startswith(f"{c}.") for c in changed))
        for key, value in flatten(run.last.config)
    ]


def _setting(value: object) -> str:
    """As it would be given on the command line, where that is short."""
    plain = value is None or isinstance(value, bool | int | float)
    return json.dumps(value) if plain else cell(value, 400)


def provenance(run: RunReport) -> list[tuple[str, str]]:
    """Returns what the latest launch ran with, as (name, value): code, packages, machine."""
    known = dict(run.last.provenance) if run.last else {}
    known.pop("argv", None)
    own = [("created", run.head.get("created")), ("date in prompts", run.head.get("date"))]
    return [(k, cell(v)) for k, v in [*own, *flatten(known)] if v not in (None, "", [])]


def _first_number(values: Mapping[str, object]) -> str:
    """The first number with an interval, else the count of numbers."""
    for key, value in flatten(values):
        if is_estimate(value):
            return f"{words(key)} {cell(value['value'])}"
    known = sum(is_number(value) for _, value in flatten(values))
    return f"{known} number{'' if known == 1 else 's'}"


def _name(value: object) -> str | None:
    """A model or file as a short name: the last parts of a path."""
    if isinstance(value, Mapping):
        value = value.get("path") or value.get("name")
    if not isinstance(value, str) or not value:
        return None
    parts = [p for p in value.split("/") if p]
    return "/".join(parts[-2:]) if value.startswith(("/", "~", ".")) else value


def _machine(hardware: object) -> str | None:
    if not isinstance(hardware, Mapping):
        return None
    gpus = hardware.get("gpus") or []
    parts = [str(g) for g in gpus] if isinstance(gpus, list) else []
    cores, memory = hardware.get("cores"), hardware.get("memory_gib")
    parts += [f"{cores} cores"] if cores else []
    parts += [f"{cell(memory)} GiB"] if is_number(memory) else []
    if not gpus and hardware.get("processor"):
        parts.insert(0, str(hardware["processor"]))
    return ", ".join(parts)


def _version(known: Mapping[str, object]) -> str | None:
    version, git = known.get("woolgather"), known.get("git")
    if not version:
        return None
    if not isinstance(git, Mapping) or not git.get("commit"):
        return str(version)
    return f"{version} at {str(git['commit'])[:10]}{', with changes' if git.get('dirty') else ''}"
