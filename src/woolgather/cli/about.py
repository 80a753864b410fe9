"""`recipes` lists the recipes and their options, `doctor` says what this machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from woolgather.cli.output import Column, Json, console, print_json, print_rows
from woolgather.report.text import harmless

if TYPE_CHECKING:
    from woolgather.api.recipe_options import RecipeOption


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe's name, or the path of a .py file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the recipes; with a NAME, list its options, each with its default and its meaning.

    Example: woolgather recipes isheep
    """
    from woolgather.api.recipe_options import describe_recipe, list_recipes

    if name is None:
        found = [{"recipe": each, "what": what} for each, what in list_recipes().items()]
        if as_json:
            print_json(found)
        else:
            print_rows(found, [Column("recipe"), Column("what", "what it is")])
        return
    told, options = describe_recipe(name)
    if as_json:
        print_json(options)
        return
    console().print(Text(harmless(told)))
    for option in options:
        console().print(*_option_lines(option), sep="\n", soft_wrap=True)


def doctor(as_json: Json = False) -> None:
    """Say what this machine has. The text is ready to paste into an issue and holds no secrets.

    Example: woolgather doctor
    """
    from woolgather.api.machine import describe_machine

    found = describe_machine()
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for key, value in found.items():
        console().print(Text(harmless(f"{key:<{width}}  {_write_value(value)}")), soft_wrap=True)


def _option_lines(option: RecipeOption) -> Iterator[Text]:
    """`option = default`, what it takes, where presets differ; below it the meaning."""
    default = "(required)" if option["required"] else _write_value(option["default"])
    line = Text(f"\n{option['option']} = {default}", style="bold")
    presets = "".join(
        f"; {name}: {_write_value(value)}" for name, value in option["presets"].items()
    )
    line.append(f"  {option['type']}{presets}", style="not bold dim")
    yield line
    if option["meaning"]:
        yield Text(f"    {option['meaning']}")


def _write_value(value: object) -> str:
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
