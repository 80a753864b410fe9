"""Records of public data sets, read with care: what a layout must have, or an error that says where.

The one idea: a record of an unexpected layout is never skipped, so that a wrong file is noticed at
its first line and not by a small count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from woolgather.core.errors import ConfigError
from woolgather.data.record_files import Place
from woolgather.data.values import kind_of

SEED = 42
Rule = Literal["paper", "unofficial"]
BlankLines = Literal["drop", "keep"]
GOOD_MESSAGE = (
    '{"message_id": "...", "parent_id": null, "role": "prompter", "lang": "en", "text": ...}'
)


@dataclass(frozen=True)
class Wanted:
    """What the user may say."""

    rows: int | None = None
    """Instead of the paper's number (of each source, where there are several)."""
    seed: int = SEED
    tokens: Callable[[str], int] | None = None
    """Counts a prompt's tokens; None counts words."""
    rule: Rule = "paper"
    """oasst1: whose choice of pairs."""
    blank_lines: BlankLines = "drop"
    """refinedweb: whether a page with a blank line in it is dropped, as a line that is too short."""

    def __post_init__(self) -> None:
        known = {"rule": get_args(Rule), "blank_lines": get_args(BlankLines)}
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{option} {value}: has to be {' or '.join(values)}.")


@dataclass(frozen=True, slots=True)
class OasstMessage:
    """A message of oasst1."""

    id: str
    parent: str
    """Id of the message it replies to; empty for the first of a conversation."""
    role: str
    lang: str
    text: str
    rank: float | None
    """0 is people's first choice among the replies; None where they were not ranked."""
    quality: float | None
    """People's mean label between 0 and 1; None where nobody gave one."""


def first_question(message: OasstMessage) -> bool:
    """A conversation's first turn stands alone; later ones need what was said before."""
    return message.role == "prompter" and not message.parent


def messages(place: Place, record: object) -> Iterator[OasstMessage]:
    """Yields messages one by one, from a table of them or from whole conversations as trees."""
    if not isinstance(record, Mapping):
        raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", GOOD_MESSAGE)
    due = [(record.get("prompt", record), str(record.get("parent_id") or ""))]
    while due:
        node, parent = due.pop()
        message = _message(node, parent, place)
        yield message
        replies = node.get("replies") or []
        due += [(reply, message.id) for reply in reversed(replies)]


def _message(node: object, parent: str, place: Place) -> OasstMessage:
    if not isinstance(node, Mapping):
        raise place.wrong(f"a message is {kind_of(node)}, not an object.", GOOD_MESSAGE)
    texts = {}
    for field in ("message_id", "role", "lang", "text"):
        if not isinstance(text := node.get(field), str):
            raise place.wrong(f"field {field!r} is missing or not text: not oasst1.", GOOD_MESSAGE)
        texts[field] = place.whole(text, f"field {field!r}", GOOD_MESSAGE)
    return OasstMessage(
        id=texts["message_id"],
        parent=str(node.get("parent_id") or parent),
        role=texts["role"],
        lang=texts["lang"],
        text=texts["text"],
        rank=_number(node.get("rank")),
        quality=_quality(node.get("labels")),
    )


def _quality(labels: object) -> float | None:
    """From parallel lists, as in the table, or an object by name, as in the trees."""
    if not isinstance(labels, Mapping):
        return None
    names, values = labels.get("name"), labels.get("value")
    if isinstance(names, list) and isinstance(values, list):
        return _number(dict(zip(names, values, strict=False)).get("quality"))
    label = labels.get("quality")
    return _number(label.get("value")) if isinstance(label, Mapping) else None


def _number(value: object) -> float | None:
    """None also for NaN, which tables have for what is not there."""
    return float(value) if isinstance(value, int | float) and value == value else None


def field_of(place: Place, record: object, name: str, good: str) -> str:
    """Returns a field that has to be a text. Raises InputError where it is not."""
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, str):
        raise place.wrong(f"field {name!r} is {kind_of(value)}, where a text belongs.", good)
    return place.whole(value, f"field {name!r}", good)


def opening(
    turns: object, role: str, text: str, person: str, place: Place, good: str
) -> tuple[str, str, str]:
    """Returns system text, first question and its answer; "" for what is not there.

    Raises InputError, with `good` as an example of a good line.
    """
    if not isinstance(turns, list) or not all(isinstance(t, Mapping) for t in turns):
        raise place.wrong("no list of messages.", good)
    said = [(str(t.get(role)), t.get(text)) for t in turns[:3]]
    if not all(isinstance(content, str) for _, content in said):
        raise place.wrong(f"a message without {text!r}.", good)
    for number, (_, content) in enumerate(said, start=1):
        place.whole(str(content), f"message {number}", good)
    system = ""
    if said and said[0][0] == "system":
        system = str(said.pop(0)[1])
    asked = str(said[0][1]) if said and said[0][0] in (person, "user", "human") else ""
    answered = asked and len(said) > 1 and said[1][0] in ("assistant", "gpt", "chatgpt", "bot")
    return system, asked, str(said[1][1]) if answered else ""
