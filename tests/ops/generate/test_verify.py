"""Rows with constraints that an answer provably meets, and wordings of the phrases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import JSON, Example
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.curate.constraints import NO_FILE, meets_all, read_constraints
from woolgather.ops.generate.reword import reword
from woolgather.ops.generate.verify import Verifying, verify

CHECKS = NO_FILE.checks()
SAID = (
    "Well, {} (a staple) is easy. Mix, wait and serve it... It takes an hour!",
    "All {} needs flour, water, salt, yeast and a good deal of patience.",
    "To me {} is a daily thing; people have it with butter, jam - or cheese.\nIt's good.",
    "Slowly and really patiently {} rises when it is left alone in a warm room.",
    "{} came 3 times: once by bus, twice on foot; nobody knows why",
    "Nothing beats a well-made {}! Have some with 20 friends.",
)


def samples(tasks: int = 6, **more: JSON) -> list[Example]:
    things = ("bread", "soup", "rice", "pie", "cake", "tea")
    return [
        Example(
            instruction=f"Speak of {things[i % 6]} number {i}.",
            response=text.format(things[i % 6]),
            id=f"r{i}-{j}",
            meta={"prompt_id": f"p{i}", "category": "food", **more},
        )
        for i in range(tasks)
        for j, text in enumerate(SAID)
    ]


def made(rows: list[Example], **how: object) -> list[Example]:
    return list(verify(rows, samples=6, how=Verifying.model_validate(how), seed=3))


def test_each_answer_meets_what_is_asked_and_fails_the_contrary() -> None:
    rows = samples()
    texts = {row.id: row.response for row in rows}
    new = [row for row in made(rows) if not row.set_aside]
    assert len(new) == 2 * 2 * 6
    for right, other in zip(new[::2], new[1::2], strict=True):
        asked, contrary = (
            read_constraints(row.meta["constraints"], CHECKS) for row in (right, other)
        )
        assert meets_all(right.response, asked)
        assert meets_all(other.response, contrary)
        assert not asked[0].holds(other.response)
        assert not contrary[0].holds(right.response)
        assert (right.meta.get("contrary"), other.meta["contrary"]) == (None, True)
        assert [texts[parent] for parent in right.parents] == [right.response]
        assert [texts[parent] for parent in other.parents] == [other.response, right.response]
        assert right.meta["prompt_id"] == other.meta["prompt_id"]
        assert right.instruction.endswith(asked[-1].phrase)
        assert other.instruction.startswith(f"Speak of {right.instruction.split()[2]}")
        assert right.meta["origin"] == "verified"
        assert all(
            each["chance"] <= 0.2 for row in (right, other) for each in row.meta["constraints"]
        )
    kinds = Counter(row.meta["constraints"][0]["check"] for row in new)
    assert len(kinds) > 6
    assert made(rows) == made(rows)


def test_a_share_has_two_constraints_by_two_checks() -> None:
    assert all(
        len(row.meta["constraints"]) == 1 for row in made(samples(), two=0) if not row.set_aside
    )
    new = [row for row in made(samples(), two=1) if not row.set_aside]
    asked = [[each["check"] for each in row.meta["constraints"]] for row in new[::2]]
    assert sum(len(set(names)) == 2 for names in asked) > 0.8 * len(asked)


def test_what_most_answers_meet_is_not_asked_for() -> None:
    rows = [Example(instruction="Go.", response=SAID[1], id=f"r{j}") for j in range(6)]
    assert {row.set_aside for row in made(rows)} == {"no_constraint"}
    loose = made(samples(), chance=0.9)
    strict = made(samples(), chance=0.01)
    used = [sum(not row.set_aside for row in rows) for rows in (loose, strict)]
    assert used[0] > used[1]


def test_answers_that_are_not_used_say_why() -> None:
    rows = samples(2)
    rows[0] = Example(instruction=rows[0].instruction, response="Bread.", meta=rows[0].meta)
    rows[1] = Example(
        instruction=rows[0].instruction, response=SAID[1], finish_reason="length", meta=rows[0].meta
    )
    reasons = Counter(row.set_aside for row in made(rows, answers=1))
    assert reasons == {None: 4, "too_short": 1, "unfinished": 1, "enough_answers": 8}
    check = {"kind": "words", "max": 30}
    assert {row.set_aside for row in made(samples(2, check=check))} == {"has_check"}


def test_few_samples_and_a_check_that_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 samples of each task.*respond\.samples=8"):
        list(verify(samples(1), samples=3))
    file = tmp_path / "mine.py"
    file.write_text(
        "from woolgather.ops.curate.constraints import check\n"
        '@check("Be kind.")\ndef kind(t): return t.index("kind") > 0\n'
    )
    with pytest.raises(InputError, match=r"mine\.py, line 3: the check kind raised ValueError"):
        made(samples(1), checks=str(file))


def test_a_check_without_a_value_stands_beside_another_check(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from woolgather.ops.curate.constraints import check\n"
        '@check("Speak of a bus.")\ndef bus(t): return "bus" in t\n'
    )
    new = made(samples(), checks=str(file), answers=6, two=0)
    pairs = [row for row in new if not row.set_aside]
    beside = [
        (other.meta["constraints"][0]["check"], "bus" in other.response)
        for right, other in zip(pairs[::2], pairs[1::2], strict=True)
        if right.meta["constraints"][0]["check"] == "bus"
    ]
    assert beside
    assert all(name != "bus" and not has for name, has in beside)


def wordings(say: Callable[[str], str]) -> list[Example]:
    """Rows of two wordings of each phrase, by a model that says what `say` makes of the phrase."""

    def answer(prompt: str, sampling: Sampling) -> str:
        return say(prompt.splitlines()[-1])

    return list(reword(FakeEngine(answer=answer, model=Model("fake")), n=2))


def test_a_wording_is_kept_where_it_asks_for_the_same() -> None:
    rows = wordings(lambda phrase: f"Please: {phrase}")
    kept = [row for row in rows if not row.set_aside]
    assert [row.meta["constraint"] for row in kept] == list(CHECKS)
    assert {row.set_aside for row in rows} == {None, "repeated"}
    assert kept[0].response == f"Please: {kept[0].instruction}"
    new = list(verify(samples(), samples=6, how=Verifying(two=0), phrases=kept, seed=3))
    asked = [row.instruction for row in new if not row.set_aside]
    assert 0 < sum("Please: " in text for text in asked) < len(asked)
    assert all("{}" not in text and "[X]" not in text for text in asked)


def test_a_wording_that_asks_for_something_else_says_why() -> None:
    def why(said: str) -> set[str | None]:
        return {row.set_aside for row in wordings(lambda phrase: said)}

    assert why("Put some in.") == {"loses_the_value"}
    assert why("[X]\nor so") == {"several_lines"}
    assert why("[X] it is.") == {"strays"}
    assert "too_wordy" in why("[X]" + " or so" * 13)
    assert {row.set_aside for row in wordings(lambda phrase: phrase)} == {"repeated"}
