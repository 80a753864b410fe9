"""The recipes and their settings as data: what each option takes, its default, and what it means.

The one idea: a recipe's Config class says all of it once; its field types, defaults and docstrings
are read here and written nowhere else.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypedDict, get_args, get_origin

from pydantic import BaseModel

from woolgather.prompting.templates import Template


class RecipeOption(TypedDict):
    """A setting of a recipe."""

    option: str
    """Its name, with dots between the groups that it is in."""
    type: str
    """What it takes, as a user writes it."""
    default: object
    required: bool
    """Whether it must be given; then it has no default."""
    meaning: str
    presets: dict[str, object]
    """What each preset sets it to, where a preset does."""


def list_recipes() -> dict[str, str]:
    """Returns what each recipe is, in a sentence, by name."""
    from woolgather.recipes import config

    return {name: _first_sentence(config.find_recipe(name).__doc__) for name in config.RECIPES}


def describe_recipe(name: str) -> tuple[str, list[RecipeOption]]:
    """Returns what a recipe says of itself, and its options.

    `name` is a recipe, or the path of a .py file. Raises ConfigError for an unknown name.
    """
    from woolgather.recipes import config

    module, stem = config.find_recipe(name), Path(name).stem
    presets = {p: config.load_preset(stem, p) for p in config.presets(stem) if p != "default"}
    options = list(options_of(module.Config))
    for option in options:
        found = {preset: _find(settings, option) for preset, settings in presets.items()}
        option["presets"] = {preset: value for preset, value in found.items() if value is not None}
    return (module.__doc__ or "").strip(), options


def options_of(
    config: type[BaseModel], prefix: str = "", given: BaseModel | None = None
) -> Iterator[RecipeOption]:
    """Yields each setting of a Config with its dotted name, presets left empty.

    `given` holds the defaults of a group. A group that can be switched off has a line of its own,
    before those of its fields.
    """
    from woolgather.recipes.config import options_in

    meanings = _docstrings(config)
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if given is not None:
            default = getattr(given, name)
        groups = options_in(field.annotation)
        required = field.is_required() and given is None
        line: RecipeOption = {
            "option": prefix + name,
            "type": _type(field.annotation) + _bounds(field.metadata),
            "default": None if required else _plain(default),
            "required": required,
            "meaning": " ".join((field.description or meanings.get(name, "")).split()),
            "presets": {},
        }
        if not groups:
            yield line
        elif type(None) in get_args(field.annotation):
            line["type"] = "group | null"
            line["default"] = None if default is None else "(a group, below)"
            yield line
        for group in groups:
            inner = default if isinstance(default, group) else None
            yield from options_of(group, f"{prefix}{name}.", inner)


def _first_sentence(docstring: str | None) -> str:
    flat = " ".join((docstring or "").split())
    found = re.match(r"(.+?\.)(?:\s|$)", flat)
    return found.group(1) if found else flat


def _find(settings: object, option: RecipeOption) -> object:
    """What a preset sets an option to; None where it leaves the default."""
    for part in option["option"].split("."):
        if not isinstance(settings, dict) or part not in settings:
            return None
        settings = settings[part]
    if isinstance(settings, dict) and option["type"] == "group | null":
        return None
    return "null" if settings is None else settings


def _docstrings(config: type) -> dict[str, str]:
    """What stands below each field, those of the classes it inherits from among them. pydantic reads them
    too, whenever a class is made: that takes a third of a second before anything begins."""
    found: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        if not (issubclass(cls, BaseModel) and cls.__annotations__):
            continue
        try:
            source = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        except (OSError, TypeError, SyntaxError):  # a class that no file holds
            continue
        assert isinstance(source, ast.ClassDef)
        for field, below in pairwise(source.body):
            match field, below:
                case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str() as text)):
                    found[name] = inspect.cleandoc(text)
    return found


def _type(annotation: object) -> str:
    """An annotation as a user writes it: `float`, `"self" | "base"`, `int | null`, `list of str`."""
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is Template:  # written as a name or a path
        return "str"
    origin, args = get_origin(annotation), [a for a in get_args(annotation) if a is not ...]
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin in (tuple, list) or (origin is not None and "Sequence" in str(origin)):
        return f"list of {' or '.join(dict.fromkeys(_type(a) for a in args))}"
    if origin is dict or "Mapping" in str(origin):
        return "mapping"
    if origin is Annotated:
        return _type(args[0]) + _bounds(get_args(annotation)[1:])
    if args:
        kinds = [_type(a) for a in args if isinstance(a, type | type(None)) or get_origin(a)]
        plain = [k for k in kinds if not k[:1].isupper()]
        return " | ".join(dict.fromkeys(plain or kinds))
    return getattr(annotation, "__name__", str(annotation))


def _bounds(metadata: Iterable[object]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(item, name):g}"
        for item in metadata
        for name, sign in signs.items()
        if isinstance(getattr(item, name, None), int | float)
    ]
    return f", {', '.join(found)}" if found else ""


def _plain(value: object) -> object:
    """A default as JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if value is None or isinstance(value, str | int | float | bool | Mapping):
        return value
    return str(value)
