"""Reading principle-driven replies: thought, answer, names, repeats, refusals, copies."""

from __future__ import annotations

import pytest

from woolgather.core.errors import ConfigError
from woolgather.ops.principles.replies import (
    CopiedText,
    bare_refusal,
    cut_at_repeat,
    find_principles,
    form_of,
    split_reply,
)
from woolgather.prompting.templates import Template, load

FORM = form_of(load("align-block"))


@pytest.mark.parametrize(
    ("reply", "thought", "answer"),
    [
        ("I think.\n\n### Answer\nFour.", "I think.", "Four."),
        ("I think.\n**Answer:** Four.", "I think.", "Four."),
        ("### Thought\nI think.\nANSWER: Four.", "I think.", "Four."),
        ("I think.\n\n### Answer\nFour.\n\n### Question\nAnd five?", "I think.", "Four."),
        ("I think.\n\n### Answer\nFour.\n### Thought\nMore", "I think.", "Four."),
        ("I think.\n\n### Answer\n", "I think.", ""),
        ("### Answer\nFour.", "", "Four."),
        ("I think.\nAnswer the door first.", "I think.\nAnswer the door first.", None),
        (
            "I think. Principles: candor, static.\n\nIt is four.",
            "I think. Principles: candor, static.",
            None,
        ),
        # Its own "Question:" lines are the answer's.
        ("A quiz.\n### Answer\nQuestion: 1?\nAnswer: 2", "A quiz.", "Question: 1?\nAnswer: 2"),
    ],
)
def test_a_reply_is_a_thought_and_an_answer(reply: str, thought: str, answer: str | None) -> None:
    assert split_reply(reply, FORM) == (thought, answer)


def test_labels_of_a_block_of_the_users() -> None:
    form = form_of(Template("mine", "Q: {{question}}\nT: {{thought}}\nA: {{answer}}"))
    assert form.stops == ("\nQ:",)
    assert split_reply("hm\nA: yes\nQ: more", form) == ("hm", "yes")


@pytest.mark.parametrize(
    "text",
    ["{{question}} {{answer}}", "Q {{question}} A {{answer}} T {{thought}}",
     "Q: {{question}} {{thought}} A: {{answer}}", "X {{question}}\nX {{thought}}\nX {{answer}}"],
)  # fmt: skip
def test_a_block_without_labels_or_fields_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="template mine: "):
        form_of(Template("mine", text))


def test_principles_are_read_where_they_are_listed() -> None:
    names = ["candor", "helpful", "question assessment"]
    said = "A helpful answer is due. Principles: 7. Candor, question assessment and wit."
    assert find_principles("A helpful answer is due.", names) == ([], [])
    assert find_principles(said.replace("7. ", ""), names) == (
        ["candor", "question assessment"],
        ["wit"],
    )
    assert find_principles("The principles that apply: **helpful**; helpful", names)[0] == [
        "helpful"
    ]


def test_an_answer_ends_before_what_it_says_again() -> None:
    again = "Trees cool the street in summer. They hold rain. Trees cool the street in summer. End."
    assert cut_at_repeat(again) == "Trees cool the street in summer. They hold rain."
    short = "In that case, wait. Then go. In that case, wait. Then go."
    assert cut_at_repeat(short) == short
    code = "Do so:\n```\nprint(a, b, c, d, e, f)\nprint(a, b, c, d, e, f)\n```\nDone."
    assert cut_at_repeat(code) == code


@pytest.mark.parametrize(
    ("answer", "bare"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot answer this. I apologize.", True),
        ("I cannot see live timetables. The board at the harbour has today's departures.", False),
        ("It is four.", False),
        ("", False),
    ],
)
def test_refusals_that_say_nothing_else(answer: str, bare: bool) -> None:
    assert bare_refusal(answer) is bare


def test_copies_are_runs_of_words_and_not_words() -> None:
    source = CopiedText(["Which alpaca did the president see in this weather? Nobody knows."])
    assert source.share("The president spoke of the weather, and an alpaca slept.") == 0
    assert source.share("Well: which alpaca did the president see in this weather?") > 0.5
    assert source.share("Four.") == 0
