"""What a run did, against the paper it follows, and the one command that does it again.

The one idea: both are differences of settings. Departures are the run's settings against the preset
that follows the paper; the command is the preset that is nearest to the run, and what differs from it.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from woolgather.core.rows import JSON, as_mapping
from woolgather.recipes import config
from woolgather.release.source import without_folders
from woolgather.report.collect import RunReport

_ABSENT = object()


@dataclass(frozen=True)
class Departure:
    """A setting in which the run differs from its paper's preset. Values are JSON."""

    setting: str
    """Its dotted key."""
    paper: str
    here: str


@dataclass(frozen=True)
class Departures:
    """How a run differs from the paper of its method."""

    preset: str = ""
    """The preset that follows the paper; empty for a recipe without one."""
    always: str = ""
    """What the recipe does otherwise whatever its settings are, in its own words."""
    settings: tuple[Departure, ...] = ()


def find_departures(run: RunReport) -> Departures:
    """Returns how a run differs from its method's paper; empty for a recipe that follows none."""
    recipe, given = _recipe_of(run), _settings_of(run)
    named = [n for n in _presets(recipe) if n.startswith("paper")]
    if not named:
        return Departures()
    presets = {name: _load(recipe, name) for name in named}
    nearest = min(named, key=lambda name: len(list(differences(presets[name], given))))
    found = [
        Departure(key, _write(before), _write(now))
        for key, before, now in differences(presets[nearest], given)
        if key not in ("base", "seeds", "held_out")  # told by themselves
    ]
    return Departures(nearest, read_always(recipe), tuple(found))


def write_command(run: RunReport) -> str:
    """Returns the command that makes the run again, files named without their folders; empty for a run
    whose settings are not known."""
    recipe, given = _recipe_of(run), _settings_of(run)
    if not given:
        return ""
    presets = {name: _load(recipe, name) for name in _presets(recipe)} or {"default": {}}
    changes = {name: list(differences(made, given)) for name, made in presets.items()}
    nearest = min(changes, key=lambda name: (len(changes[name]), name))
    words = ["woolgather", "run", recipe if recipe in config.RECIPES else f"{recipe}.py"]
    words += ["--preset", nearest] if nearest != "default" else []
    words += [f"{key}={_write(now)}" for key, _, now in changes[nearest] if now is not _ABSENT]
    words += _options_of(run)
    return shlex.join(words)


def differences(
    before: Mapping[str, JSON], now: Mapping[str, JSON], prefix: str = ""
) -> Iterator[tuple[str, JSON, JSON]]:
    """Yields (dotted key, value before, value now) of each setting that differs. Groups are compared
    setting by setting where both sides have them."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping) and old and new:
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def _options_of(run: RunReport) -> list[str]:
    """What a launch is told beside its settings: engine, replicate, results that were handed in."""
    words, engines, given = list[str](), set[str](), list[str]()
    for step in run.steps:
        means = step.record.execution
        engines.add(str((means.get("engine") or {}).get("name", "")))
        if file := means.get("given"):
            given += ["--given", f"{step.record.step}={without_folders(file)}"]
    named = sorted(engines - {"", "transformers"})
    words += ["--engine", named[0]] if named else []
    words += ["--replicate", str(run.head["replicate"])] if run.head.get("replicate") else []
    return words + given


def _recipe_of(run: RunReport) -> str:
    return str(run.head.get("recipe", ""))


def _settings_of(run: RunReport) -> Mapping[str, JSON]:
    found = run.last.config if run.last else None
    return found if isinstance(found, Mapping) else {}


def _presets(recipe: str) -> list[str]:
    return config.presets(recipe) if recipe in config.RECIPES else []


def _load(recipe: str, preset: str) -> Mapping[str, JSON]:
    made = config.build(config.find_recipe(recipe).Config, recipe, preset=preset)
    return as_mapping(made.model_dump(mode="json"))


def read_always(recipe: str) -> str:
    """Returns the departures that a recipe's docstring says all its presets have."""
    told = " ".join((inspect.getdoc(config.find_recipe(recipe)) or "").split())
    found = re.search(r"Departures in (?:all|both): (.*?)\. In `", told)
    return f"{found[1]}." if found else ""


def _write(value: JSON) -> str:
    """A setting as the command line takes it, without folders."""
    if value is _ABSENT:
        return "–"
    plain = without_folders(value)
    if isinstance(plain, str) and re.fullmatch(r"[A-Za-z_][\w./@-]*|", plain):
        return plain if plain.lower() not in _YAML_WORDS else json.dumps(plain)
    return json.dumps(plain, ensure_ascii=False)


_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
"""Texts that YAML would read as something else."""
