"""docs/choosing.md: found from where people start, and every command and file in it exists."""

from __future__ import annotations

import re
from pathlib import Path

from woolgather.prepare import SETS
from woolgather.recipes.config import RECIPES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")


def test_it_is_linked_where_people_start() -> None:
    assert "(docs/choosing.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(choosing.md)" in (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_every_preparation_is_shown_with_its_number_and_no_other() -> None:
    shown = re.findall(r"^    woolgather prepare (\S+)", PAGE, re.MULTILINE)
    assert shown == list(SETS)
    for source in re.findall(r"(\w+)=\./", PAGE):
        assert source in SETS["dromedary2-prompts"].sources


def test_every_recipe_is_weighed() -> None:
    for name in RECIPES:
        assert f"]({name}.md)" in PAGE


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).resolve().exists(), target
