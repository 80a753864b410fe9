"""A numbered list of tasks as text: writing the demos, reading what a model added.

    6. Task: Sort these words by length.
    Input: pear, fig, apple

    7. Task: Name three rivers in Asia.
    Input: none

The one idea: an item begins where its own number and label stand at a line's start, so that a
numbered list inside an input, or a year, is no item. Numbers must go on from the prompt's; an item
out of turn is dropped and the count goes on from it. An item that the length limit cut is dropped.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from woolgather.core.rows import Example

_HEAD = re.compile(
    r"^[ \t]*[*#]*[ \t]*(?P<number>\d{1,3})[.):][ \t]*\**[ \t]*"
    r"(?:Task[ \t]*\**:\**|(?=[^\n]+\n[ \t]*\**Input\b))",
    re.I | re.M,
)
_INPUT = re.compile(r"^[ \t]*\**Input[ \t]*\**:\**[ \t]*", re.I | re.M)
_ANSWER = re.compile(
    r"^[ \t]*\**(?:Output|Answer|Response|Expected output)[ \t]*\**:.*", re.I | re.M | re.S
)
_NONE = re.compile(r"\W*(?:none|no ?input|n/?a|not applicable|nothing|empty)?\W*(?:\n|\Z)", re.I)


class Item(NamedTuple):
    """One task of a list that a model went on with."""

    instruction: str
    input: str
    """Empty where the model wrote none."""
    problem: str | None
    """None, or the reason it is set aside: "wrong_number", "malformed", "cut"."""


def write_item(number: int, row: Example) -> str:
    """Returns a task as an item of the list: instruction and input, no response."""
    return f"{number}. Task: {row.instruction.strip()}\nInput: {row.input.strip() or 'none'}"


def write_items(rows: list[Example]) -> str:
    """Returns the tasks as a list that counts from 1."""
    return "\n\n".join(write_item(i + 1, row) for i, row in enumerate(rows))


def stop_after(number: int) -> str:
    """Returns the text with which item `number` + 1 would begin, as a stop text. It is a whole label at
    a line's start, never a bare number: that would end any text with the number in it."""
    return f"\n{number + 1}. Task:"


def read_items(text: str, first: int, cut: bool) -> list[Item]:
    """Returns the items of a list that begins with number `first`; `cut` says that the text was cut at
    the length limit, so that its last item is no whole one."""
    heads = list(_HEAD.finditer(text))
    if not heads:
        return [Item(text.strip(), "", "cut" if cut else "malformed")] if text.strip() else []
    items: list[Item] = []
    due = first
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : after.start() if after else len(text)]
        instruction, material, sound = _read_body(body)
        number = int(head["number"])
        problem = None
        if cut and after is None:
            problem = "cut"
        elif number != due:
            problem = "wrong_number"
        elif not sound:
            problem = "malformed"
        items.append(Item(instruction, material, problem))
        due = number + 1
    return items


def _read_body(body: str) -> tuple[str, str, bool]:
    """Returns instruction, input and whether the form is right. An output that a model added is
    left out."""
    mark = _INPUT.search(body)
    if mark is None:
        instruction = _ANSWER.sub("", body).strip()
        return instruction, "", bool(instruction) and "\n" not in instruction
    instruction = _ANSWER.sub("", body[: mark.start()]).strip().strip("*").strip()
    material = _ANSWER.sub("", body[mark.end() :]).strip()
    if _NONE.match(material):
        material = ""
    return instruction, material, bool(instruction)
