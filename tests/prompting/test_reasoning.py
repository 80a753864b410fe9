"""What a model thinks is told from what it answers, by tags of its own or of the prompt."""

from __future__ import annotations

import pytest

from woolgather.prompting.reasoning import closing, ends_opened, split_reasoning

ANSWER = "Rivers run to the sea."


@pytest.mark.parametrize(("text", "reasoning", "answer"), [
    (f"<think>\nThe user asks.\n</think>\n\n{ANSWER}", "The user asks.", ANSWER),
    (f"  <think>hm</think>{ANSWER}", "hm", ANSWER),
    (f"<think>\n\n</think>\n\n{ANSWER}", "", ANSWER),
    (f"[THINK]hm[/THINK]{ANSWER}", "hm", ANSWER),
    (f"<seed:think>hm</seed:think>{ANSWER}", "hm", ANSWER),
    (f"The user asks.\n</think>\n\n{ANSWER}", "The user asks.", ANSWER),
    (f"<think>one</think>\n<think>two</think>\n{ANSWER}", "one\n\ntwo", ANSWER),
    ("<think>hm</think>Close it with </think> then.", "hm", "Close it with </think> then."),
    (f" {ANSWER}\n", "", f" {ANSWER}\n"),
    ("Write <think> and </think> around it.", "", "Write <think> and </think> around it."),
    ("", "", ""),
])  # fmt: skip
def test_reasoning_is_told_from_the_answer(text: str, reasoning: str, answer: str) -> None:
    assert split_reasoning(text) == (reasoning, answer, True)


@pytest.mark.parametrize("text", ["<think>\nThe user asks", "<think>", "\n[THINK]The user asks"])
def test_a_reply_that_ends_within_its_reasoning_has_no_answer(text: str) -> None:
    thought, answer, finished = split_reasoning(text)
    assert (answer, finished) == ("", False)
    assert thought in ("The user asks", "")


def test_where_the_prompt_opened_it_a_reply_without_a_tag_is_all_reasoning() -> None:
    assert split_reasoning("The user asks", opened=True) == ("The user asks", "", False)
    assert split_reasoning(f"hm</think>{ANSWER}", opened=True) == ("hm", ANSWER, True)
    assert split_reasoning(f"<think>hm</think>{ANSWER}", opened=True) == ("hm", ANSWER, True)


@pytest.mark.parametrize(("prompt", "closes"), [
    ("<|assistant|>\n<think>\n", "\n</think>\n\n"),
    ("<|assistant|>\n<think>", "\n\n</think>\n\n"),
    ("[THINK]\n", "\n[/THINK]\n\n"),
    ("<|assistant|>\n", ""),
    ("<think>\n\n</think>\n\n", ""),
])  # fmt: skip
def test_what_a_prompt_opened_is_closed_before_an_answer(prompt: str, closes: str) -> None:
    assert closing(prompt) == closes
    assert ends_opened(prompt) is bool(closes)
