"""Plain English where a reader looks: no docstring begins with "Of", and some phrases are gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "woolgather"
FILES = sorted(PACKAGE.rglob("*.py"))
GONE = (
    "None of nothing",
    "how-manieth",
    "which there is not",
    "is not whole Parquet",
    "where an object belongs",
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
    assert not [str(path) for path in FILES if phrase in path.read_text(encoding="utf-8")]
