"""Reasoning that a model writes before its answer, told from the answer by the tags around it.

The one idea: reasoning stands at the beginning of a reply, between tags that models write as text, or
behind a tag that the chat template has already written. What is behind the closing tag is the answer.
A reply that does not reach the closing tag has no answer.
"""

from __future__ import annotations

from typing import NamedTuple

TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"))
"""What opens reasoning and what closes it: of most models, of Mistral's and of ByteDance Seed's."""
WORDS = frozenset(tag for pair in TAGS for tag in pair)
"""Every tag; some tokenizers hold theirs for special tokens."""


class Split(NamedTuple):
    """A reply in its two parts."""

    reasoning: str
    """Without its tags; empty where there is none."""
    answer: str
    finished: bool
    """Whether the reasoning, where there is any, was closed; otherwise there is no answer."""


def split_reasoning(text: str, *, opened: bool = False) -> Split:
    """Returns the reasoning and the answer of a reply; a reply without reasoning is its own answer.

    `opened` says that the prompt ends within reasoning (see `ends_opened`). A closing tag without an
    opening one shows the same, where nobody knows how the prompt ended.
    """
    found = _take_first(text, opened)
    if found is None:
        return Split("", text, True)
    parts: list[str] = []
    answer = ""
    while found is not None:
        thought, closed, answer = found
        parts.append(thought.strip())
        if not closed:
            return Split(_join(parts), "", False)
        found = _take_tagged(answer)
    return Split(_join(parts), answer.lstrip(), True)


def ends_opened(prompt: str) -> bool:
    """Returns whether a prompt ends with an opening tag, so that a reply begins within reasoning."""
    return _open_tag(prompt) is not None


def closing(prompt: str) -> str:
    """Returns what closes the reasoning that a prompt opened, up to where an answer begins; empty where
    it opened none."""
    tag = _open_tag(prompt)
    return "" if tag is None else f"{'' if prompt.endswith(chr(10)) else chr(10)}\n{tag}\n\n"


_Part = tuple[str, str, str]
"""Text up to a closing tag, that tag (empty where it is missing), and the rest."""


def _take_first(text: str, opened: bool) -> _Part | None:
    if found := _take_tagged(text):
        return found
    # The earliest closing tag that no opening one precedes.
    ends = [
        (at, end) for start, end in TAGS if (at := text.find(end)) >= 0 and start not in text[:at]
    ]
    if ends:
        return text.partition(min(ends)[1])
    return (text, "", "") if opened else None


def _take_tagged(text: str) -> _Part | None:
    """Returns the parts of a text that begins with reasoning in tags."""
    begun = text.lstrip()
    for start, end in TAGS:
        if begun.startswith(start):
            return begun[len(start) :].partition(end)
    return None


def _open_tag(prompt: str) -> str | None:
    """Returns the tag that would close what a prompt ends with."""
    return next((end for start, end in TAGS if prompt.rstrip().endswith(start)), None)


def _join(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part)
