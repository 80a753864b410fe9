"""`key=v1,v2` becomes points, and a mistake in it one error."""

from __future__ import annotations

import pytest

from woolgather.api.sweeping.grid import read_grid, split_values
from woolgather.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4", ["4"]),
        ("-1,0, 2.5", ["-1", "0", "2.5"]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("[quality]", ["[quality]"]),
        ("[[1,2],[3]],[]", ["[[1,2],[3]]", "[]"]),
        ("{a: 1, b: 2},null", ["{a: 1, b: 2}", "null"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("1,,2", ["1", "", "2"]),
        ("", [""]),
        ("a],b", ["a]", "b"]),
    ],
)
def test_a_comma_parts_values_outside_of_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_points_are_all_combinations_the_last_key_changing_first() -> None:
    grid = read_grid(["base=A", "keep.above=4,8", "per_iteration=[1,2],[3]", "empty="])
    assert grid.fixed == ("base=A", "empty=")
    points = grid.points({})
    assert [point.name for point in points] == [
        "keep.above=4 per_iteration=[1,2]",
        "keep.above=4 per_iteration=[3]",
        "keep.above=8 per_iteration=[1,2]",
        "keep.above=8 per_iteration=[3]",
    ]
    assert points[1].settings == ("base=A", "empty=", "keep.above=4", "per_iteration=[3]")
    assert {point.replicate for point in points} == {0}


def test_a_replicate_is_a_number_and_no_setting() -> None:
    points = read_grid(["replicate=0,3", "keep.above=4"]).points({})
    assert [(point.replicate, point.settings) for point in points] == [
        (0, ("keep.above=4",)), (3, ("keep.above=4",)),
    ]  # fmt: skip
    assert read_grid(["replicate=7", "a=1,2"]).points({})[0].replicate == 7


def test_a_value_may_stand_for_other_settings() -> None:
    meanings = {"keep.above": {-1.0: ("keep.by=all",)}}
    points = read_grid(["keep.by=threshold", "keep.above=-1,8"]).points(meanings)
    assert points[0].settings == ("keep.by=threshold", "keep.above=-1", "keep.by=all")
    assert points[1].settings == ("keep.by=threshold", "keep.above=8")


def test_folders_are_readable_where_they_can_be_and_always_apart() -> None:
    points = read_grid(["base=a/b,a_b,a b", "keep.above=-1,2"]).points({})
    names = [point.folder for point in points]
    assert "base=a_b,keep.above=-1" in names
    assert len(set(names)) == 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.,=-") for name in names)
    long = read_grid([f"seeds={'x' * 300},{'x' * 299}y"]).points({})
    assert len({point.folder for point in long}) == 2
    assert max(len(point.folder) for point in long) < 120


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["keep.above"], "'keep.above' is not a setting. Write key=v1,v2"),
        (["=1,2"], "'=1,2' is not a setting"),
        (["a=1,2", "a=3"], r"a: given twice. Write all of its values in one: a=v1,v2"),
        (["a=1", "a=2,3"], r"a: given twice"),
        (["a=1,2,1"], "a: 1 is given twice"),
        (["a=1,,2"], "a: value 2 of 3 is empty. Write a=1,2"),
        (["a=1,2", "replicate=0,x"], "replicate=x: give whole numbers from 0, e.g. replicate=0,1,2"),
        (["replicate=-1,0"], "replicate=-1: give whole numbers"),
        (["a=1", "b=[1,2]", "replicate=3"], "no setting has several values"),
        ([], "no setting has several values"),
    ],
)  # fmt: skip
def test_bad_words_are_told(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        read_grid(words)
