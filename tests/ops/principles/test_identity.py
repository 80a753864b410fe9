"""Who the assistant is: its own name and no other, as many rows of as many questions as are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from woolgather.core.errors import ConfigError
from woolgather.core.rows import Example
from woolgather.core.views import View
from woolgather.data.reading import read_examples
from woolgather.ops.principles.files import builtin
from woolgather.ops.principles.identity import Identity, identity_rows

OURS = list(read_examples(builtin("identity")))
WHO = Example(id="i", instruction="Who are you, {{name}}?", response="I am {{name}}.")
OTHERS = [
    Example(
        id="v",
        instruction="Are you Vicuna?",
        response="I am Vicuna, made by the Large Model Systems Organization (LMSYS).",
    ),
    Example(id="l", instruction="Who made you?", response="LMSYS did, not the Vicunas."),
    WHO,
]


def made(
    given: list[Example], assistant: str = "Woolly", **settings: Any
) -> tuple[list[Example], list[View]]:
    step: Generator[Example, None, list[View]] = identity_rows(
        given, assistant=assistant, how=Identity(**settings)
    )
    found = []
    while True:
        try:
            found.append(next(step))
        except StopIteration as stop:
            return found, stop.value


def test_rows_have_the_name() -> None:
    rows, views = made([WHO], repeats=2)
    assert [(r.instruction, r.response) for r in rows] == [
        ("Who are you, Woolly?", "I am Woolly.")
    ] * 2
    assert [r.meta for r in rows] == [{"origin": "identity", "copy": k} for k in (0, 1)]
    assert {r.parents for r in rows} == {("i",)}
    assert [v.kind for v in views] == ["table"]


def test_as_many_rows_of_as_many_questions_as_the_source_has() -> None:
    """IBM/Dromedary trains on 910 rows, of 84 questions; ours are 12 in seven wordings."""
    rows, _ = made(OURS, questions=84, rows=910)
    times = Counter(row.instruction for row in rows)
    assert (
        len(rows) == identity_rows.expects(OURS, how=Identity(questions=84, rows=910)).rows == 910
    )
    assert len(times) == 84
    assert Counter(times.values()) == {10: 14, 11: 70}
    assert {row.response for row in rows} == {row.response for row in made(OURS)[0]}
    assert [row.instruction for row in made(OURS, questions=12)[0]] == [
        row.instruction for row in made(OURS)[0]
    ]


def test_more_questions_than_there_are_wordings_is_an_error() -> None:
    assert len(made(OURS, questions=96)[0]) == 96
    with pytest.raises(ConfigError, match=r"questions is 97, and 12 questions in 8 .* are 96"):
        made(OURS, questions=97)


def test_the_name_of_another_assistant_becomes_the_own_one_and_it_is_told() -> None:
    rows, views = made(OTHERS)
    assert [(r.instruction, r.response) for r in rows[:2]] == [
        ("Are you Woolly?", "I am Woolly, made by the people who made me."),
        ("Who made you?", "the people who made me did, not the Vicunas."),
    ]
    assert [r.meta.get("renamed") for r in rows] == [True, True, None]
    note = views[-1].data["text"]
    assert note.startswith("2 of 3 rows name another assistant or its makers (LMSYS 1, Vicuna 1")
    assert "They say Woolly instead" in note


def test_or_its_rows_are_set_aside() -> None:
    rows, views = made(OTHERS, foreign="set_aside", rows=5)
    assert [r.set_aside for r in rows] == ["other_name", "other_name", *[None] * 5]
    assert rows[0].response == OTHERS[0].response
    assert "identity.foreign=rename" in views[-1].data["text"]


def test_the_own_name_is_no_other_one_and_more_names_can_be_given() -> None:
    rows, views = made(OTHERS[:1], assistant="Vicuna", renames={"Vicuna": "{{name}}"})
    assert rows[0].response == OTHERS[0].response
    assert len(views) == 1
    asked = [Example(instruction="Are you Bard 2?", response="I am Bard 2, of Bard.")]
    rows, _ = made(asked, renames={"Bard": "{{name}}", "Bard 2": "{{name}} the second"})
    assert rows[0].response == "I am Woolly the second, of Woolly."
    assert len(made(OTHERS, renames={})[1]) == 1
