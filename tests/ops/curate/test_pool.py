"""Prompts made one clean set."""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.ops.curate.pool import Pooling, pool

FAKE = Model("fake")


def row(text: str, **more: object) -> Example:
    return Example(id=text, instruction=text, **more)  # type: ignore[arg-type]


def test_only_the_question_is_taken_and_doubles_are_set_aside() -> None:
    given = row(
        "Name a bird.", response="A wren.", system="Be brief.", meta={"kind": "law", "x": 1}
    )
    rows = list(pool([[given], [row("Name  a bird. ")]], base=FAKE))
    assert (rows[0].response, rows[0].system, rows[0].parents) == ("", "", ("Name a bird.",))
    assert rows[0].meta == {"origin": "machine", "kind": "law"}
    assert [r.set_aside for r in rows] == [None, "repeated"]


def test_reasons_and_limit() -> None:
    rows = list(
        pool(
            [
                [
                    row("one"),
                    row("a b c d e f"),
                    row("held out one"),
                    row("held out this one"),
                    row("held aloft"),
                    *(row(f"q {i}") for i in range(9)),
                ]
            ],
            base=FAKE,
            measured=[[row("held out one")]],
            how=Pooling(min_tokens=2, max_tokens=5, limit=4),
            seed=1,
        )
    )
    reasons = [r.set_aside for r in rows]
    assert reasons[:4] == ["too_short", "too_long", "like_measured", "like_measured"]
    assert reasons.count("over_limit") == 6
    assert reasons.count(None) == 4


def test_tokens_are_those_of_the_base(tiny_model: Path) -> None:
    rows = list(pool([[row("a"), row("a longer text " * 9)]], base=Model(str(tiny_model)),
                     how=Pooling(min_tokens=2, max_tokens=9)))  # fmt: skip
    assert [r.set_aside for r in rows] == ["too_short", "too_long"]
