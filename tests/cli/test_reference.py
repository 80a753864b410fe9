"""docs/cli.md is what the commands say; every command has an example that its options allow."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from woolgather.cli import app
from woolgather.cli.command_list import COMMANDS as LISTED
from woolgather.cli.pages import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = reference.commands_of()


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run `make docs`"


def test_every_command_is_on_the_page() -> None:
    named = re.findall(r"^## (\w+)$", reference.page(), re.MULTILINE)
    assert named == list(COMMANDS)
    assert {"run", "plan", "status", "eval", "doctor"} <= set(named)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_pasteable_example(name: str) -> None:
    told, example = reference.help_of(COMMANDS[name])
    assert told
    words = shlex.split(example)
    assert words[:2] == ["woolgather", name]
    section = reference._section(name, COMMANDS[name])
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section.partition("Usage:")[2]))
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    told, _ = reference.help_of(COMMANDS[name])
    assert LISTED[name][1] == " ".join(told.split("\n\n")[0].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_example(name: str) -> None:
    result = CliRunner().invoke(app(), [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example: woolgather" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.*?) \|", reference._section(name, COMMANDS[name]), re.M)
    assert all(text.strip() for _, text in rows), [option for option, text in rows if not text]


@pytest.mark.parametrize(
    "name", ["plan", "status", "show", "lineage", "compare", "eval", "clean", "prepare"]
)
def test_every_table_has_json(name: str) -> None:
    assert "as_json" in inspect.signature(COMMANDS[name]).parameters


def test_the_module_prints_the_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "woolgather.cli.pages.reference"], capture_output=True, check=True
    )
    assert done.stdout.decode("utf-8") == reference.page()
