"""Every page: its links and files exist, its commands are ones that we have, with settings that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from woolgather.api.sweeping.grid import read_grid
from woolgather.cli.pages import reference
from woolgather.recipes import config

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "woolgather"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
)
OPTIONS = {
    name: set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", reference._section(name, command)))
    for name, command in reference.commands_of().items()
}
UNDER = (ROOT, PACKAGE, ROOT / "tests", ROOT / "src")
"""Where a file that a page names may lie."""


def commands() -> Iterator[tuple[Path, list[str]]]:
    """The words of every `woolgather ...` in a block of a page, without comments and with a word in
    place of each `<placeholder>`."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?: {4,})?(woolgather [a-z].*)$", text, re.MULTILINE):
            yield page, shlex.split(re.sub(r"<[^>]*>", "x", line), comments=True)[1:]


def find_faults(words: list[str]) -> str:
    """Returns what is wrong with a command, empty when nothing is. Raises ConfigError for a setting
    that its recipe does not have."""
    name, *rest = words
    if name not in OPTIONS:
        return f"no command {name}"
    if unknown := {w for w in rest if w.startswith("-") and w not in OPTIONS[name]}:
        return f"{name} has no {unknown}"
    if name in ("run", "plan"):
        check_settings(rest[0], rest[1:])
    if name == "sweep":
        settings = [w for w in rest[1:] if re.match(r"[a-z][\w.]*=", w)]
        for point in read_grid(settings).points({}):
            check_settings(rest[0], [*(w for w in rest[1:] if w not in settings), *point.settings])
    return ""


def check_settings(recipe: str, words: list[str]) -> None:
    preset = words[words.index("--preset") + 1] if "--preset" in words else "default"
    given = [
        w for w, before in zip(words, ["", *words], strict=False) if not before.startswith("--")
    ]
    settings = [w for w in given if re.match(r"[a-z][\w.]*=", w) and not w.endswith("=...")]
    module = config.find_recipe(str(ROOT / recipe) if recipe.endswith(".py") else recipe)
    config.build(module.Config, Path(recipe).stem, preset=preset, overrides=settings)


def exists(name: str, page: Path) -> bool:
    return any((place / name).exists() for place in (*UNDER, page.parent))


COMMANDS = list(commands())


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 50
    assert len(PAGES) > 15


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{p.stem}-{i}" for i, (p, _) in enumerate(COMMANDS)]
)
def test_a_command_can_be_given(page: Path, words: list[str]) -> None:
    if words[1:2] == ["./yours.py"]:
        words = [words[0], "isheep", *words[2:]]
    assert find_faults(words) == ""


def test_a_wrong_command_is_found() -> None:
    assert find_faults(["walk", "isheep"]) == "no command walk"
    assert find_faults(["plan", "isheep", "--depth", "3"]) == "plan has no {'--depth'}"
    with pytest.raises(config.ConfigError, match=r"sft\.rate"):
        find_faults(["run", "isheep", "sft.rate=1"])
    with pytest.raises(config.ConfigError, match=r"keep\.abov"):
        find_faults(["sweep", "isheep", "--preset", "paper", "keep.abov=1,2"])


def test_a_command_in_a_sentence_is_one_of_ours() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`woolgather ([a-z]+)", page.read_text(encoding="utf-8"))
    }
    assert {"plan", "lineage"} <= named <= set(OPTIONS)


@pytest.mark.parametrize("page", PAGES, ids=[p.relative_to(ROOT).as_posix() for p in PAGES])
def test_files_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`([\w./-]+/[\w.-]*\.(?:py|md|yaml|jinja))(?::\w+)?`", text)
    files = [name for name in named if "yours" not in name]
    assert [name for name in files if not exists(name, page)] == []


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_settings_in_the_text_of_a_recipe_exist(recipe: str) -> None:
    text = (ROOT / "docs" / f"{recipe}.md").read_text(encoding="utf-8")
    spans = [s.replace("\n", " ") for s in re.findall(r"`([a-z][\w.]*=[^`]+)`", text)]
    assert spans
    for span in spans:
        words = [word for word in span.split() if not word.endswith((".md", ".jsonl"))]
        check_settings(recipe, words)
