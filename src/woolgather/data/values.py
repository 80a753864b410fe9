"""A value from outside as a row can keep it: what JSON has, whole, finite, and not nested without end.

The one idea: tables know kinds of values that JSON does not. A date, a time, a decimal number or a UUID
becomes the text that spells it, with nothing lost; what has no such text (bytes, NaN, half a
character) is refused, since whatever stood for it would be another value.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Mapping

from woolgather.core.rows import JSON

DEEPEST = 100
"""Levels of lists and objects within each other: a row is walked through by functions that call
themselves."""


def to_plain(value: object, field: str, depth: int = 0) -> JSON:
    """Returns a value as JSON has it. Raises ValueError for one that JSON has not, in words that name
    the field, or the part of it (`meta.x[0]`)."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return check_whole(value, f"field {field!r}")
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime.date):  # a time of a day, too
        return value.isoformat()
    if isinstance(value, datetime.time | decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, float):
        remedy = "Write null, or leave it out."
    elif not isinstance(value, list | tuple | Mapping):
        remedy = "Store it as text."
    elif depth == DEEPEST:
        raise ValueError(f"field '{field[:40]}...' is nested more than {DEEPEST} levels deep.")
    elif isinstance(value, Mapping):
        return {
            _to_name(key, field): to_plain(part, f"{field}.{key}", depth + 1)
            for key, part in value.items()
        }
    else:
        return [to_plain(part, f"{field}[{i}]", depth + 1) for i, part in enumerate(value)]
    raise ValueError(f"field {field!r} is {kind_of(value)}, which JSON does not have. {remedy}")


def _to_name(key: object, field: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"field {field!r} has a name in it that is {kind_of(key)}, not text.")
    return check_whole(key, f"a name in field {field!r}")


def check_whole(text: str, where: str) -> str:
    r"""Returns the text. JSON can spell half a character (`\ud83d` alone), which no file can hold:
    raises ValueError for one."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{where} has half a character at {error.start + 1}. Write it whole, or take it out."
            ) from None
    return text


def kind_of(value: object) -> str:
    """Returns a value's kind, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{value}".lower()
    if isinstance(value, int | float | decimal.Decimal):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, datetime.date | datetime.time):
        return f"the time {value}"
    return f"a {type(value).__name__}"
