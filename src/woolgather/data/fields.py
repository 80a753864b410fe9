"""One record's fields, read with care: whatever is wrong with one is an error that names the place.

The one idea: a reader of a shape says which field it wants as what, and the error that a bad record
makes (file, line, field, what is there, a good line) is written once, here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from woolgather.core.errors import InputError
from woolgather.core.rows import CONVERSATION, JSON, Example
from woolgather.data.record_files import Place, explain_json
from woolgather.data.values import kind_of, to_plain
from woolgather.probes.checks import Check, validate

Record = Mapping[str, object]

_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
}
_NO_INPUT = ("<noinput>", "<no input>")
_KNOWN = ("origin", "category", "check")
"""Parts of `meta` that have a meaning here."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A record, its place, and a good line of its shape for messages."""

    record: Record
    place: Place
    good: str
    origin: str = "seed"
    """What `meta.origin` is where the record does not say."""

    def __contains__(self, field: str) -> bool:
        return field in self.record

    def wrong(self, what: str) -> InputError:
        """Returns an error for this record."""
        return self.place.wrong(what, self.good)

    def text(self, field: str, *, may_lack: bool = False) -> str:
        """Returns a text; "" for one that is not there, if it may lack. Raises InputError."""
        value = self.record.get(field)
        if value is None and may_lack:
            return ""
        if value is None and field not in self.record:
            raise self.wrong(f"field {field!r} is missing.")
        if not isinstance(value, str):
            raise self.wrong(f"field {field!r} is {kind_of(value)}, not text.")
        if not may_lack and not value.strip():
            raise self.wrong(f"field {field!r} is empty.")
        return self.whole(value, f"field {field!r}")

    def whole(self, text: str, where: str) -> str:
        """Returns the text. Raises InputError where it has half a character."""
        return self.place.whole(text, where, self.good)

    def plain(self, field: str) -> JSON:
        """Returns what JSON has for the value of a field; None where there is none. Raises InputError
        where JSON has nothing for it."""
        try:
            return to_plain(self.record.get(field), field)
        except ValueError as error:
            raise self.wrong(str(error)) from None

    def material(self) -> str:
        """Returns what the instruction speaks of, "" for the marks of there being none."""
        text = self.text("input" if "input" in self.record else "context", may_lack=True)
        return "" if text.strip().lower() in _NO_INPUT else text

    def require(self, field: str) -> object:
        """Returns a field that has to be there. Raises InputError where it is not."""
        if field not in self.record:
            raise self.wrong(f"field {field!r} is missing.")
        return self.record[field]

    def sequence(self, field: str) -> list[object]:
        """Returns a list that is not empty. Raises InputError for anything else."""
        value = self.require(field)
        if not isinstance(value, list) or not value:
            raise self.wrong(f"field {field!r} is not a list with something in it.")
        return value

    def inner(self, field: str) -> Fields:
        """Returns the fields of an object in a field. Raises InputError where it is none."""
        value = self.require(field)
        if not isinstance(value, Mapping):
            raise self.wrong(f"field {field!r} is {kind_of(value)}, not an object.")
        return replace(self, record=value)

    def parsed(self, field: str) -> JSON:
        """Returns a field that is JSON, None where it is empty; in a table it is JSON in a cell."""
        value = self.record.get(field)
        if not isinstance(value, str):
            return self.plain(field)
        try:
            found = json.loads(value) if value else None
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"field {field!r} is {explain_json(error)}.") from None
        return replace(self, record={field: found}).plain(field)

    def id(self) -> str:
        """Returns the record's own id as text, else the name of its place. Raises InputError for what
        is neither text nor a number."""
        given = self.plain("id")
        if isinstance(given, bool) or not isinstance(given, str | int | float | None):
            raise self.wrong(
                f"field 'id' is {kind_of(given)}, neither text nor a number. Write it as text, or "
                "leave it out."
            )
        return self.place.name if given is None or not str(given).strip() else str(given)

    def meta(self) -> dict[str, JSON]:
        """Returns what a record says in `meta`, with an origin. Raises InputError."""
        found = self.parsed("meta")
        if not isinstance(found, dict | None):
            raise self.wrong(f"field 'meta' is {kind_of(found)}, not an object.")
        # A table has null where another row of it has a value.
        meta = {k: v for k, v in (found or {}).items() if v is not None or k not in _KNOWN}
        for name in ("origin", "category"):
            if not isinstance(meta.get(name, ""), str):
                raise self.wrong(f"field 'meta.{name}' is {kind_of(meta[name])}, not text.")
        if "check" in meta:
            self._check(meta["check"], "meta.check")
        return {"origin": self.origin, **meta}

    def example(self, instruction: str, response: str, input: str = "") -> Example:  # noqa: A002
        """Returns a row with the id, system text and meta that a record of any shape may have."""
        meta = self.meta()
        if category := self.text("category", may_lack=True):
            meta["category"] = category
        elif self.record.get("is_classification") is True:
            meta["category"] = "classification"
        if (check := self.parsed("check")) is not None:
            meta["check"] = self._check(check, "check")
        return Example(
            instruction=instruction,
            input=input,
            response=response,
            id=self.id(),
            system=self.text("system", may_lack=True),
            meta=meta,
        )

    def _check(self, check: JSON, field: str) -> JSON:
        try:
            validate(cast(Check, check))  # says itself what is wrong with it
        except InputError as error:
            raise self.wrong(f"field {field!r}: {error}") from None
        return check

    def talk(self, turns: object, role_key: str = "role", text_key: str = "content") -> Example:
        """Returns the first question with its answer ("" when there is none) and system text; meta has
        the whole conversation where it goes on, up to a turn that is no text of user or assistant in
        alternation, and the place where it was `cut` there."""
        if not isinstance(turns, list) or not turns:
            raise self.wrong(f"{kind_of(turns)}, where a list of messages belongs.")
        row = self.example("", "")
        system, asked, answer, read = row.system, None, "", 0
        for read, turn in enumerate(turns, start=1):
            role, text = self._turn(read, turn, role_key, text_key)
            if asked is not None:
                answer = text if role == "assistant" else ""
                break
            if role == "system":
                system = text
            elif role == "user":
                asked = text
        if asked is None or not asked.strip():
            raise self.wrong(
                "no message of the user." if asked is None else "the user's message is empty."
            )
        meta = dict(row.meta)
        if answer.strip() and turns[read:]:
            later = [_plain_turn(turn, role_key, text_key) for turn in turns[read:]]
            alternate = [r == ("user", "assistant")[i % 2] and t for i, (r, t) in enumerate(later)]
            used = next((i for i, fits in enumerate(alternate) if not fits), len(later))
            for i, (_, text) in enumerate(later[:used], start=read + 1):
                self.whole(text, f"message {i}")
            whole = [("user", asked), ("assistant", answer), *later[:used]]
            if used:
                meta[CONVERSATION] = [{"role": role, "content": text} for role, text in whole]
            if used < len(later):
                meta["cut"] = f"message {read + used + 1}"
        return replace(row, instruction=asked, response=answer, system=system, meta=meta)

    def _turn(self, number: int, turn: object, role_key: str, text_key: str) -> tuple[str, str]:
        """The role and text of a message. Raises InputError for what is none."""
        if not isinstance(turn, Mapping):
            raise self.wrong(f"message {number} is {kind_of(turn)}, not an object.")
        role = _ROLES.get(str(turn.get(role_key)).lower())
        if role is None:
            raise self.wrong(
                f"message {number}: {role_key!r} is {turn.get(role_key)!r}, none of system, user "
                "(human), assistant (gpt).",
            )
        text = turn.get(text_key)
        if not isinstance(text, str):
            raise self.wrong(f"message {number}: {text_key!r} is {kind_of(text)}, not text.")
        return role, self.whole(text, f"message {number}")


def _plain_turn(turn: object, role_key: str, text_key: str) -> tuple[str, str]:
    """The role and text of a later message; "" for one that it lacks, or a text of spaces."""
    told = turn if isinstance(turn, Mapping) else {}
    text = told.get(text_key)
    said = text if isinstance(text, str) and text.strip() else ""
    return _ROLES.get(str(told.get(role_key)).lower(), ""), said
