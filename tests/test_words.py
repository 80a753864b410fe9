"""Plain English where a reader looks: no docstring begins with "Of", functions are no participles, and
phrases that had to be decoded are gone from the code and the pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "woolgather"
FILES = sorted(PACKAGE.rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *PACKAGE.rglob("*.md")])
GONE = (
    "None of nothing",
    "how-manieth",
    "which there is not",
    "is not whole Parquet",
    "where an object belongs",
    "Of what is drawn at random",
    "Of a step of this size",
    "lets the output layer see",
    "a principle there is not",
)


def test_no_docstring_begins_with_of() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {line}"
        for path in FILES
        for line in re.findall(r'"""Of [^\n]*', path.read_text(encoding="utf-8"))
    ]
    assert len(FILES) > 100
    assert not found, "\n".join(found)


@pytest.mark.parametrize("phrase", GONE)
def test_a_phrase_that_had_to_be_decoded_is_gone(phrase: str) -> None:
    assert len(PAGES) > 20
    assert not [str(p) for p in [*FILES, *PAGES] if phrase in p.read_text(encoding="utf-8")]


PARTICIPLE = re.compile(
    "[a-z]+ed|begun|bound|broken|built|chosen|done|drawn|driven|found|frozen|given|gone|held|hidden|kept|"
    "known|left|lent|lost|made|meant|paid|seen|sent|shown|sold|spent|spoken|taken|taught|thrown|told|torn|"
    "undone|won|written"
)
NO_PARTICIPLE = {"embed", "feed", "need", "seed", "speed"}
"""Verbs and nouns that end like one."""


def find_participles(source: str) -> list[str]:
    """Returns the functions of a module whose whole name is a participle, such as `trained`, which hides
    work behind what looks like a value. A predicate may be called so."""
    return [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
        and is_participle(node.name.strip("_"))
        and not (node.returns is not None and ast.unparse(node.returns) == "bool")
    ]


def is_participle(word: str) -> bool:
    return PARTICIPLE.fullmatch(word) is not None and word not in NO_PARTICIPLE


def test_functions_are_verbs() -> None:
    """Families of probes are left out: their functions name the task that is generated."""
    found = {
        path.relative_to(PACKAGE): names
        for path in FILES
        if "families" not in path.parts and (names := find_participles(path.read_text("utf-8")))
    }
    assert not found


def test_a_participle_is_found() -> None:
    source = "def trained(): ...\ndef _opened() -> str: ...\ndef written() -> str: ...\n"
    assert find_participles(source) == ["trained", "_opened", "written"]
    sound = (
        "def unfinished(row) -> bool: ...\ndef embed(): ...\ndef train_mixed(): ...\ntrained = 1\n"
    )
    assert find_participles(sound) == []
