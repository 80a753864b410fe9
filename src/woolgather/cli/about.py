"""What there is: `recipes` with every option, `doctor` with what this machine has."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from rich.text import Text

from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.core.rows import JSON
from woolgather.report.text import harmless, number, size

_TORCH = """
import json, torch
print(json.dumps({
    "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    "threads": torch.get_num_threads(),
}))
"""
_ANSWER_SECONDS = 120


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe, or the path of a .py file.")] = None,
    as_json: Json = False,
) -> None:
    """The recipes there are; with a NAME, every option with its default and meaning.

    Example: woolgather recipes isheep
    """
    from woolgather.recipes import config

    if name is None:
        found = [
            {"recipe": each, "what": _summary(config.find_recipe(each).__doc__)}
            for each in config.RECIPES
        ]
        if as_json:
            print_json(found)
        else:
            print_rows(found, [Column("recipe"), Column("what", "what it is")])
        return
    module = config.find_recipe(name)
    stem = Path(name).stem
    presets = {p: config.load_preset(stem, p) for p in config.presets(stem) if p != "default"}
    rows = [
        {**row, "presets": {p: at for p, s in presets.items() if (at := _at(s, row)) is not None}}
        for row in options_of(module.Config)
    ]
    if as_json:
        print_json(rows)
        return
    console().print(Text(harmless((module.__doc__ or "").strip())))
    for row in rows:
        console().print(*_option_lines(row), sep="\n", soft_wrap=True)


def options_of(config: type[Any], prefix: str = "", given: Any = None) -> Iterator[dict[str, JSON]]:
    """Each setting of a recipe's Config, dotted: `option`, `type`, `default`, `meaning`. `given`
    holds the defaults of a group. A group has a line of its own where it can be switched off."""
    from woolgather.recipes.config import options_in

    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if given is not None:
            default = getattr(given, name)
        groups = options_in(field.annotation)
        line: dict[str, JSON] = {
            "option": prefix + name,
            "type": _type(field.annotation) + _bounds(field.metadata),
            "default": None if field.is_required() and given is None else _plain(default),
            "required": field.is_required() and given is None,
            "meaning": " ".join((field.description or "").split()),
        }
        if not groups:
            yield line
        elif type(None) in get_args(field.annotation):
            state = None if default is None else "(a group, below)"
            yield {**line, "type": "group | null", "default": state}
        for group in groups:
            inner = default if isinstance(default, group) else None
            yield from options_of(group, f"{prefix}{name}.", inner)


def doctor(as_json: Json = False) -> None:
    """What this machine has, ready to paste into an issue; no secrets are in it.

    Example: woolgather doctor
    """
    found = machine()
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for key, value in found.items():
        console().print(Text(harmless(f"{key:<{width}}  {_write_value(value)}")), soft_wrap=True)


def machine() -> dict[str, JSON]:
    """What `doctor` shows. Nothing in it fails; what could not be found out is None or says why."""
    import psutil

    from woolgather.core.paths import cache_dir
    from woolgather.models import embedded
    from woolgather.runs import provenance

    hardware = provenance.hardware()
    cache = cache_dir()
    place = next(p for p in (cache, *cache.parents) if p.exists())
    git = provenance.git_state(Path(__file__).parent)
    versions = {p: provenance.package_version(p) for p in provenance.PACKAGES}
    memory = psutil.virtual_memory()
    return {
        "woolgather": provenance.package_version("woolgather"),
        "git": git,
        "python": f"{sys.version.split()[0]} ({sys.implementation.name})",
        "system": hardware["system"],
        "processor": hardware["processor"],
        "cores": hardware["cores"],
        "memory": f"{size(memory.total)}, {size(memory.available)} available",
        "gpus": hardware["gpus"] or "none",
        "torch": _torch(),
        **_speeds(),
        "packages": {name: version for name, version in versions.items() if version},
        "not installed": [name for name, version in versions.items() if not version] or "nothing",
        "cache": _home(cache),
        "disk": f"{size(shutil.disk_usage(place).free)} free for the cache, "
        f"{size(shutil.disk_usage(Path.cwd()).free)} here",
        "embedded model": _find_embedded(embedded, cache),
        "hub cache": _home(Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")),
        "offline": any(
            os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        ),
    }


def _torch() -> JSON:
    """Asked in a process of its own, so that a broken installation is an answer, not a crash."""
    if importlib.util.find_spec("torch") is None:
        return (
            "not installed: pip install 'woolgather[local]', or ask a server with --engine openai"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"gives no answer ({type(error).__name__})"
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"cannot be loaded: {harmless(last)}"


def _speeds() -> dict[str, JSON]:
    """What each device computes, measured now, and the precision that follows from it."""
    from woolgather.core.errors import WoolgatherError
    from woolgather.core.machine_speed import DeviceSpeed, auto_precision, measure_speeds

    def line(device: str, speed: DeviceSpeed) -> str:
        parts = []
        for work, rates in (("training", speed.product), ("generation", speed.step)):
            both = ", ".join(f"{name} {number(rate, 1)}" for name, rate in rates.items())
            chosen = auto_precision(device, "training" if work == "training" else "generation")
            parts.append(f"{work} in {chosen} (GFLOP/s: {both})")
        return "; ".join([*parts, f"copy {number(speed.copy, 1)} GB/s"])

    if importlib.util.find_spec("torch") is None:
        return {"speed": "not measured: torch is not installed"}
    try:
        return {f"speed of {d}": line(d, speed) for d, speed in measure_speeds().items()}
    except WoolgatherError as error:
        return {"speed": f"not measured: {harmless(str(error))}"}


def _find_embedded(embedded: Any, cache: Path) -> str:
    if (cache / embedded.DIRECTORY).is_dir():
        return "in the cache"
    if importlib.util.find_spec(embedded.PACKAGE) is not None:
        return "installed; converted when first used"
    return f"not installed: {embedded.INSTALL}"


def _home(path: Path) -> str:
    """Without the user's name."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)


def _summary(docstring: str | None) -> str:
    """The first sentence."""
    flat = " ".join((docstring or "").split())
    found = re.match(r"(.+?\.)(?:\s|$)", flat)
    return found.group(1) if found else flat


def _option_lines(row: Mapping[str, JSON]) -> Iterator[Text]:
    """`option = default`, what it takes, where presets differ; below it the meaning."""
    default = "(required)" if row["required"] else _write_value(row["default"])
    line = Text(f"\n{row['option']} = {default}", style="bold")
    presets = "".join(f"; {name}: {_write_value(value)}" for name, value in row["presets"].items())
    line.append(f"  {row['type']}{presets}", style="not bold dim")
    yield line
    if row["meaning"]:
        yield Text(f"    {row['meaning']}")


def _at(settings: Any, row: dict[str, JSON]) -> JSON:
    """What a preset sets the option to; None where it leaves the default."""
    for part in str(row["option"]).split("."):
        if not isinstance(settings, dict) or part not in settings:
            return None
        settings = settings[part]
    if isinstance(settings, dict) and row["type"] == "group | null":
        return None
    return "null" if settings is None else settings


def _type(annotation: Any) -> str:
    """An annotation as a user writes it: `float`, `"self" | "base"`, `int | null`, `list of str`."""
    from woolgather.prompting.templates import Template

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


def _bounds(metadata: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(item, name):g}"
        for item in metadata
        for name, sign in signs.items()
        if isinstance(getattr(item, name, None), int | float)
    ]
    return f", {', '.join(found)}" if found else ""


def _plain(value: Any) -> JSON:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, frozenset | set):
        return sorted(_plain(v) for v in value)
    if value is None or isinstance(value, str | int | float | bool | dict):
        return value
    return str(value)


def _write_value(value: JSON) -> str:
    """A setting as it is written on the command line."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, dict) and not value:
        return "{}"
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(_write_value(v) for v in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_write_value(v)}" for k, v in value.items())
    return json.dumps(value)
