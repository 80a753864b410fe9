"""Where rows are: what a setting names, as places."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.data.sources import find_rows, on_hub, split_sources


def test_a_text_with_commas_is_several_places_unless_it_is_the_name_of_one(tmp_path: Path) -> None:
    one, both = tmp_path / "a.jsonl", f"{tmp_path}/a.jsonl, {tmp_path}/b.jsonl"
    assert split_sources(str(one)) == [str(one)]
    assert split_sources(both) == [str(one), f"{tmp_path}/b.jsonl"]
    assert split_sources(f"{one},") == [str(one)]
    assert split_sources((str(one), one)) == [str(one), one]
    comma = tmp_path / "a,b.jsonl"
    assert split_sources(comma) == [comma]
    comma.touch()
    assert split_sources(str(comma)) == [str(comma)]


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ("owner/name", True),
        ("owner/name@v1.2", True),
        ("owner/name-1.5", True),
        ("owner/name.jsonl", False),
        ("owner/name.jsonl.gz", False),
        ("owner/notes.txt", False),
        ("name", False),
        ("./owner/name", False),
        ("/owner/name", False),
        ("owner/name/more", False),
        (Path("owner/name"), False),
    ],
)
def test_a_name_on_the_hub_is_told_from_a_path(source: str | Path, there: bool) -> None:
    assert on_hub(source) == there


def test_what_is_here_is_no_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not on_hub("owner/name")
    assert find_rows("owner/name", "seeds") == Path("owner/name")
