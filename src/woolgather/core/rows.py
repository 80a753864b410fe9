"""Rows, nothing else: what flows between ops.

A row is frozen. An op that changes one makes another with `dataclasses.replace`. `id` is empty until
the run that stores the row gives it one; an op that creates *new* content (a new instruction, a new
response) clears the id and names its `parents`, an op that only annotates (a verdict, a reason to
set aside) keeps it. A row that is set aside stays in the data with its reason, and later steps do
not see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

JSON = Any
"""A value that `json.dumps` takes."""


def as_mapping(value: JSON) -> Mapping[str, JSON]:
    """Returns `value` where it must be an object: one of ours, read back. Raises TypeError."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"expected a JSON object, found {value!r}")


def as_list(value: JSON) -> Sequence[JSON]:
    """Returns `value` where it must be a list. Raises TypeError."""
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"expected a JSON list, found {value!r}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an assessor said of a row."""

    score: float | None
    """On the assessor's own scale; None when the reply could not be read (never 0 for unknown)."""
    text: str = ""
    """The reply, or how the score came about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An instruction with, once it is answered, its response: the row that most steps pass on."""

    instruction: str
    input: str = ""
    """Material the instruction speaks of; empty when there is none."""
    response: str = ""
    system: str = ""
    """System turn; empty means none is sent."""
    id: str = ""
    finish_reason: str | None = None
    """How the response ended: "stop", "length", or None when it was not generated."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By name of the question asked, e.g. "quality", "following"."""
    parents: tuple[str, ...] = ()
    """Ids of the rows this one was made from."""
    set_aside: str | None = None
    """Reason, a short snake_case word that a test can assert; None while the row is in use."""
    meta: Mapping[str, JSON] = field(default_factory=dict)
    """Anything else, JSON: `category`, `origin`, `check`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """Two responses to one instruction, of which `chosen` is preferred to `rejected` (in SPIN the
    real one to the generated one)."""

    instruction: str
    chosen: str
    rejected: str
    system: str = ""
    id: str = ""
    parents: tuple[str, ...] = ()
    set_aside: str | None = None
    meta: Mapping[str, JSON] = field(default_factory=dict)


Row = Example | PreferencePair
R = TypeVar("R", Example, PreferencePair)


def question(row: Example) -> str:
    """Returns the instruction and its input as one text: the only place where the two are joined."""
    return f"{row.instruction}\n\n{row.input}" if row.input else row.instruction


CONVERSATION = "conversation"
"""In an example's `meta`: the messages of a longer conversation, {"role": "user" or "assistant",
"content"}, of which the row's own question and response are the first two."""


def turns_of(row: Example) -> list[tuple[str, str]]:
    """Returns the turns of a row as (role, text), without the system's: its question and its response,
    and those that followed them where it was read. None follow another question or response: a row that
    an op has worded or answered anew has one turn of each."""
    own = [("user", question(row)), ("assistant", row.response)]
    told = row.meta.get(CONVERSATION)
    if not isinstance(told, list) or not all(isinstance(turn, Mapping) for turn in told):
        return own
    whole = [(str(turn.get("role")), str(turn.get("content"))) for turn in told]
    return whole if whole[:2] == own else own


def answered_turns(row: Example) -> list[tuple[str, str]]:
    """Returns the same up to the last response."""
    turns = turns_of(row)
    return turns[:-1] if turns[-1][0] == "user" else turns


def task_key(row: Example) -> str:
    """Returns what all samples of one task have in common: the task's id, else what it asks."""
    return str(row.meta.get("prompt_id") or question(row))


def set_aside(row: R, reason: str) -> R:
    """Returns the row with a reason; a row already set aside keeps its first reason."""
    return row if row.set_aside else replace(row, set_aside=reason)
