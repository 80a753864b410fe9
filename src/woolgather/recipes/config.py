"""Settings: `key=value` (dotted) over YAML files over a preset over a recipe's defaults.

A recipe's `Config` is a frozen pydantic model whose field defaults are preset `default`. An unknown
key is an error that names the nearest one; a value out of range is an error that says the range.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON

C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")
RECIPES = tuple(
    sorted(f.name for f in (resources.files("woolgather") / "presets").iterdir() if f.is_dir())
)
"""Every recipe we ship has a folder of presets."""
TRIALS = ("headroom",)
"""What is run like a recipe, and trains nothing."""
SOURCES = "sources.yaml"
"""Beside a recipe's presets: where each of their values comes from."""


def at(value: T | tuple[T, ...], t: int) -> T:
    """Returns `value` for iteration `t`: itself, or of several the t-th, at most the last."""
    return value[min(t, len(value) - 1)] if isinstance(value, tuple) else value


def check_numbers(name: str, value: int | tuple[int, ...], least: int) -> None:
    """Raises ConfigError for a list without a number, and for a number below `least`."""
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers:
        raise ConfigError(f"{name}=[] has no number: give one, or several as {name}=[4, 6].")
    if min(numbers) < least:
        raise ConfigError(f"{name} holds {min(numbers)}: give numbers from {least} up.")


def find_recipe(name: str) -> types.ModuleType:
    """Returns a recipe module by name, or by the path of a .py file. Raises ConfigError."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"recipe {name}: no such file.")
        module = _load(path)
    elif name in (*RECIPES, *TRIALS):
        module = importlib.import_module(f"woolgather.recipes.{name}")
    else:
        raise ConfigError(f"there is no recipe {name!r}{_nearest(name, RECIPES)}")
    for part in ("Config", "recipe"):
        if not hasattr(module, part):
            raise ConfigError(
                f"recipe {name}: it has no `{part}` (see CONTRIBUTING, add a recipe)."
            )
    return module


def _load(path: Path) -> types.ModuleType:
    """The module of a user's file. It has to be known by name: pydantic looks up there what the
    annotations of its Config name."""
    known = sys.modules.get(path.stem)
    if known is not None and not hasattr(known, "__recipe__"):
        raise ConfigError(
            f"recipe {path}: Python has a module named {path.stem} already. Rename the file."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__recipe__"] = True
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def presets(recipe: str) -> list[str]:
    """Returns the names of a recipe's presets; `default` is the recipe's own defaults."""
    folder = resources.files("woolgather") / "presets" / recipe
    named = (
        [f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml") and f.name != SOURCES]
        if folder.is_dir()
        else []
    )
    return sorted({*named, "default"})


def load_preset(recipe: str, name: str) -> dict[str, JSON]:
    """Returns the settings of a preset as nested mappings. Raises ConfigError for an unknown one."""
    if name not in presets(recipe):
        raise ConfigError(f"{recipe} has no preset {name!r}{_nearest(name, presets(recipe))}")
    file = resources.files("woolgather") / "presets" / recipe / f"{name}.yaml"
    return _yaml(file.read_text(encoding="utf-8"), f"preset {name}") if file.is_file() else {}


def build(
    config: type[C],
    recipe: str,
    *,
    preset: str = "default",
    files: Iterable[Path] = (),
    values: Mapping[str, JSON] | None = None,
    overrides: Iterable[str] = (),
) -> C:
    """Returns the validated settings: the preset's, then those of `files` (YAML), `values` (keys are
    dotted or nested), `overrides` (`key=value`), the later winning. Raises ConfigError naming the key,
    what is wrong and the remedy."""
    settings = _groups(config)
    merge_into(settings, load_preset(recipe, preset))
    for file in files:
        if not file.is_file():
            raise ConfigError(f"settings file {file}: no such file.")
        merge_into(settings, _yaml(_text_of(file), str(file)))
    for key, value in (values or {}).items():
        merge_into(settings, _nest(config, key, value))
    for key, value in _assign(config, overrides):
        merge_into(settings, _nest(config, key, value))
    _fill_groups(config, settings)
    _check_text(settings)
    try:
        return config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(_readable(error, config)) from None


def _check_text(value: JSON, key: str = "") -> None:
    """Raises ConfigError for text that no file can hold as UTF-8."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_text(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_text(inner, key)
    elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise ConfigError(
            f"{key}: {value!r} holds bytes that are not UTF-8, or half of a pair of UTF-16. Write it "
            "without them; rename the file, if it is one."
        )


def _assign(config: type[BaseModel], overrides: Iterable[str]) -> Iterator[tuple[str, JSON]]:
    """Yields keys with values. A setting of places (`seeds`) may be repeated, and then has them all; of
    another one the last stands."""
    several: dict[str, list[JSON]] = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigError(f"{text!r} is not a setting. Write key=value, e.g. iterations=3.")
        found = _scalar(value, key)
        if key in _places(config):
            before = several.setdefault(key, [])
            before += found if isinstance(found, list) else [found]
            found = list(before) if len(before) > 1 else found
        yield key, found


def _places(config: type[BaseModel], prefix: str = "") -> set[str]:
    """Returns the settings that take a file or several, by their dotted keys."""
    found = set()
    for name, field in config.model_fields.items():
        if field.annotation == str | tuple[str, ...]:
            found.add(prefix + name)
        for inner in options_in(field.annotation):
            found |= _places(inner, f"{prefix}{name}.")
    return found


def _nest(config: type[BaseModel], key: str, value: JSON) -> dict[str, JSON]:
    """One setting by its dotted key. Raises ConfigError when there is none of that name."""
    if key not in _keys(config) and not _open(config, key):
        raise ConfigError(f"there is no setting {key!r}{_nearest(key, _keys(config))}")
    nested: JSON = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _groups(config: type[BaseModel]) -> dict[str, JSON]:
    """The recipe's own values of every group, so that setting one field of a group (a sampling's
    max_tokens) leaves the others as the recipe has them, not as the group's class does."""
    defaults = {name: field.default for name, field in config.model_fields.items()}
    return {n: group.model_dump() for n, group in defaults.items() if isinstance(group, BaseModel)}


def _fill_groups(config: type[BaseModel], settings: dict[str, JSON]) -> None:
    """Does the same for a group that is off unless named: what is not set has the group's own values."""
    for name, field in config.model_fields.items():
        given, groups = settings.get(name), options_in(field.annotation)
        if field.default is None and isinstance(given, Mapping) and groups:
            settings[name] = groups[0]().model_dump()
            merge_into(settings[name], given)


def merge_into(target: dict[str, JSON], source: Mapping[str, JSON]) -> None:
    """Merges `source` into `target` deeply: mappings join, everything else is replaced."""
    for key, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge_into(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"settings file {file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"settings file {file}, line {line}: not UTF-8. Save the file as UTF-8."
        ) from None


def _yaml(text: str, where: str) -> dict[str, JSON]:
    import yaml

    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{where}{line}: not YAML ({str(getattr(error, 'problem', error)).splitlines()[0]})."
        ) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: settings are `key: value` lines.")
    return value


def _scalar(value: str, key: str) -> JSON:
    import yaml

    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    if isinstance(parsed, str):
        try:  # YAML 1.1 reads 1e-4 as text
            return float(parsed)
        except ValueError:
            return parsed
    return "" if parsed is None and value == "" else parsed


def _keys(config: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in config.model_fields.items():
        keys.append(prefix + name)
        for inner in options_in(field.annotation):
            keys += _keys(inner, f"{prefix}{name}.")
    return keys


def _open(config: type[BaseModel], key: str) -> bool:
    """Whether `key` lies in a free mapping, such as `sft.args.adam_beta2`."""
    parent = key.rpartition(".")[0]
    return parent.endswith("args") and parent in _keys(config)


def options_in(annotation: object) -> list[type[BaseModel]]:
    """Returns the groups of settings that an annotation may hold, looking through unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found = []
    for part in get_args(annotation):
        origin = getattr(annotation, "__origin__", None)
        if origin not in (list, tuple, dict) and not isinstance(part, type(...)):
            found += options_in(part)
    return found


def _readable(error: ValidationError, config: type[BaseModel]) -> str:
    lines, places = [], _places(config)
    for item in error.errors():
        key = ".".join(str(p) for p in item["loc"] if p not in ("function-after",))
        if item["type"] == "extra_forbidden":
            lines.append(f"there is no setting {key!r}{_nearest(key, _keys(config))}")
        elif place := next((p for p in places if f"{key}.".startswith(f"{p}.")), ""):
            lines.append(f"{place}: a file, a folder or a list of them belongs here, each as text.")
        else:
            given = f" (given: {item['input']!r})" if not isinstance(item["input"], dict) else ""
            lines.append(f"{key}: {item['msg']}{given}.")
    return "\n".join(dict.fromkeys(lines))


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known, key=lambda key: key.count("."))  # groups within groups come last
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    leaf = [k for k in names if k.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    ends = {k.rsplit(".", 1)[-1]: k for k in reversed(names)}
    alike = difflib.get_close_matches(name.rsplit(".", 1)[-1], ends, n=1, cutoff=0.5)
    best = [*leaf, *close, *(ends[end] for end in alike)][:1]
    if best:
        return f". Did you mean {best[0]}?"
    if len(names) <= 12:
        return f". Known: {', '.join(names)}."
    return ". `woolgather recipes NAME` lists those of a recipe."
