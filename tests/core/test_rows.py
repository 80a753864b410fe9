from dataclasses import FrozenInstanceError, replace

import pytest

from woolgather.core.rows import (
    Example,
    PreferencePair,
    Verdict,
    answered_turns,
    question,
    set_aside,
    turns_of,
)


def test_a_row_is_frozen_and_has_no_stray_fields():
    row = Example(instruction="Q")
    with pytest.raises(FrozenInstanceError):
        row.response = "A"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Example("positional")  # type: ignore[misc]
    assert not hasattr(row, "__dict__")


def test_nothing_is_known_of_a_new_row():
    row = Example(instruction="Q")
    assert (row.response, row.id, row.parents) == ("", "", ())
    assert row.finish_reason is None
    assert row.set_aside is None
    assert row.verdicts == {} == row.meta
    assert Verdict(None).score is None


def test_the_question_joins_instruction_and_input():
    assert question(Example(instruction="Sort.", input="b a")) == "Sort.\n\nb a"
    assert question(Example(instruction="Sort.")) == "Sort."


def test_a_row_keeps_its_first_reason():
    row = Example(instruction="Q", id="7")
    once = set_aside(row, "echo")
    assert once == replace(row, set_aside="echo")
    assert set_aside(once, "too_long") is once
    assert row.set_aside is None


def test_pairs_are_set_aside_as_well():
    pair = PreferencePair(instruction="Q", chosen="a", rejected="b")
    assert set_aside(pair, "equal").set_aside == "equal"


def test_rows_do_not_share_their_maps():
    assert Example(instruction="a").meta is not Example(instruction="b").meta


def test_later_turns_follow_the_question_and_answer_that_they_followed():
    turns = [("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B"), ("user", "S")]
    meta = {"conversation": [{"role": role, "content": text} for role, text in turns]}
    row = Example(instruction="Q", response="A", meta=meta)
    assert turns_of(row) == turns
    assert answered_turns(row) == turns[:4]
    assert turns_of(replace(row, system="S")) == turns
    assert turns_of(replace(row, response="C")) == [("user", "Q"), ("assistant", "C")]
    assert len(turns_of(replace(row, instruction="P"))) == 2
    for odd in ("text", [5], [], None):
        assert len(turns_of(replace(row, meta={"conversation": odd}))) == 2
