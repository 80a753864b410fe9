"""Records of public data sets, read with care: what a layout must have, or an error that says where.

The one idea: a record of an unexpected layout is never skipped, so that a wrong file is noticed at
its first line and not by a small count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from woolgather.data.record_files import Place, kind_of

SEED = 42


@dataclass(frozen=True)
class Wanted:
    """What the user may say."""

    rows: int | None = None
    """Instead of the paper's number (of each source, where there are several)."""
    seed: int = SEED
    tokens: Callable[[str], int] | None = None
    """Counts a prompt's tokens; None counts words."""


def first_question(message: Mapping[str, Any]) -> bool:
    """A conversation's first turn stands alone; later ones need what was said before."""
    return message["role"] == "prompter" and not message.get("parent_id")


def messages(place: Place, record: Any) -> Iterator[Mapping[str, Any]]:
    """Messages one by one, from a table of them or from whole conversations as trees."""
    good = '{"message_id": "...", "parent_id": null, "role": "prompter", "lang": "en", "text": ...}'
    if not isinstance(record, Mapping):
        raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", good)
    due = [(record.get("prompt", record), record.get("parent_id"))]
    while due:
        message, parent = due.pop()
        for field in ("message_id", "role", "lang", "text"):
            if not isinstance(message, Mapping) or not isinstance(message.get(field), str):
                raise place.wrong(f"field {field!r} is missing or not text: not oasst1.", good)
        yield {**message, "parent_id": message.get("parent_id") or parent}
        due += [(reply, message["message_id"]) for reply in reversed(message.get("replies") or [])]


def field_of(place: Place, record: Any, name: str, good: str) -> str:
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, str):
        raise place.wrong(f"field {name!r} is {kind_of(value)}, where a text belongs.", good)
    return value


def opening(
    turns: Any, role: str, text: str, person: str, place: Place, good: str
) -> tuple[str, str, str]:
    """System text, first question and its answer; "" for what is not there."""
    if not isinstance(turns, list) or not all(isinstance(t, Mapping) for t in turns):
        raise place.wrong("no list of messages.", good)
    said = [(str(t.get(role)), t.get(text)) for t in turns[:3]]
    if not all(isinstance(content, str) for _, content in said):
        raise place.wrong(f"a message without {text!r}.", good)
    system = ""
    if said and said[0][0] == "system":
        system = str(said.pop(0)[1])
    asked = str(said[0][1]) if said and said[0][0] in (person, "user", "human") else ""
    answered = asked and len(said) > 1 and said[1][0] in ("assistant", "gpt", "chatgpt", "bot")
    return system, asked, str(said[1][1]) if answered else ""
