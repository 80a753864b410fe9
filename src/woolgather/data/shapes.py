"""One record to rows: which of the shapes it has, and each shape's reader.

Nothing here opens a file; a record's place is known for messages alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, PreferencePair, Row
from woolgather.core.storage import from_record
from woolgather.data.record_files import Place, kind_of
from woolgather.probes.checks import Check, validate

Record = Mapping[str, object]

GOOD = {
    "self-instruct": '{"instruction": "...", "instances": [{"input": "", "output": "..."}]}',
    "alpaca": '{"instruction": "...", "input": "", "output": "..."}',
    "own": '{"instruction": "...", "input": "", "response": "..."}',
    "prompt-completion": '{"prompt": "...", "completion": "..."}',
    "messages": '{"messages": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}',
    "sharegpt": '{"conversations": [{"from": "human", "value": "..."}, '
    '{"from": "gpt", "value": "..."}]}',
    "spin": '{"real": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
    ', "generated": [the same question, another answer]}',
    "preference": '{"prompt": "...", "chosen": "...", "rejected": "..."}',
}
"""A good line of each shape."""
PAIRS = ("spin", "preference")
"""Shapes of two answers."""
_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
}
_NO_INPUT = ("<noinput>", "<no input>")


def detect_shape(record: Record) -> str:
    """Returns a shape's name, by the record's fields. Raises InputError when they are of none."""
    has = record.keys()
    if {"real", "generated"} <= has:
        return "spin"
    if {"chosen", "rejected"} <= has:
        return "preference"
    by_field = {"instances": "self-instruct", "messages": "messages", "conversations": "sharegpt"}
    for field, shape in by_field.items():
        if field in has:
            return shape
    if "instruction" in has:
        return "alpaca" if "output" in has and "response" not in has else "own"
    if "prompt" in has:
        return "prompt-completion"
    given = ", ".join(sorted(map(str, has))) or "none"
    raise InputError(
        f"the fields ({given}) are those of no shape that is read here. Good lines:\n  "
        + "\n  ".join(GOOD.values())
    )


def examples_of(record: Record, shape: str, place: Place) -> Iterator[Example]:
    """Yields the rows of a record; several where it has several instances. Raises InputError."""
    if "verdicts" in record and "parents" in record:
        yield cast(Example, _parse_stored(record, shape, place))
        return
    common = _common(record, shape, place)
    if shape in ("messages", "sharegpt"):
        turns = _require(
            record, "messages" if shape == "messages" else "conversations", shape, place
        )
        yield _parse_turns(turns, shape, place, common)
    elif shape == "self-instruct":
        instruction = _text(record, "instruction", shape, place)
        for i, instance in enumerate(_list(record, "instances", shape, place)):
            if not isinstance(instance, Mapping):
                raise place.wrong(
                    f"instances[{i}] is {kind_of(instance)}, not an object.", GOOD[shape]
                )
            yield Example(
                instruction=instruction,
                input=_input(instance, shape, place),
                response=_text(instance, "output", shape, place, may_lack=True),
                id=common.id + (f"-{i + 1}" if i else ""),
                system=common.system,
                meta=common.meta,
            )
    elif shape == "prompt-completion" and isinstance(asked := record.get("prompt"), list):
        answer = record.get("completion") or []
        if not isinstance(answer, list):
            raise place.wrong("'prompt' is a list of messages, 'completion' is not.", GOOD[shape])
        yield _parse_turns([*asked, *answer], shape, place, common)
    else:
        yield Example(
            instruction=_text(record, _fields(record, shape)[0], shape, place),
            input=_input(record, shape, place),
            response=_text(record, _fields(record, shape)[1], shape, place, may_lack=True),
            id=common.id,
            system=common.system,
            meta=common.meta,
        )


def pair_of(record: Record, shape: str, place: Place) -> PreferencePair:
    """Returns the pair that a record is. Raises InputError."""
    if {"parents", "set_aside"} <= record.keys():
        return cast(PreferencePair, _parse_stored(record, shape, place))
    good, bad = sides(record, shape)
    common = _common(record, shape, place)
    if isinstance(record.get(good), list) or shape == "spin":
        one = _parse_turns(_require(record, good, shape, place), shape, place, common)
        two = _parse_turns(_require(record, bad, shape, place), shape, place, common)
        if one.instruction != two.instruction:
            raise place.wrong(f"{good!r} and {bad!r} answer different questions.", GOOD[shape])
        asked, chosen, rejected = one.instruction, one.response, two.response
        common = replace(common, system=one.system)
    else:
        field = "instruction" if "instruction" in record else "prompt"
        asked = _text(record, field, shape, place)
        for side in (good, bad):
            _require(record, side, shape, place)
        chosen, rejected = (_text(record, f, shape, place, may_lack=True) for f in (good, bad))
    return PreferencePair(
        instruction=asked,
        chosen=chosen,
        rejected=rejected,
        id=common.id,
        system=common.system,
        meta=common.meta,
    )


def sides(record: Record, shape: str) -> tuple[str, str]:
    """Returns the names of the fields of the better and the worse answer."""
    return ("real", "generated") if shape == "spin" else ("chosen", "rejected")


def _parse_stored(record: Record, shape: str, place: Place) -> Row:
    """Returns a row that woolgather stored or exported."""
    _text(record, "instruction", shape, place)
    meta = record.get("meta")
    whole = {
        "id": "",
        "system": "",
        "finish_reason": None,
        "set_aside": None,
        **record,
        "meta": meta if isinstance(meta, str | None) else json.dumps(meta),
    }
    try:
        row = from_record(whole)
    except (KeyError, TypeError, ValueError) as error:
        raise place.wrong(f"not a whole row of woolgather's ({error}).", GOOD[shape]) from None
    return replace(row, id=row.id or _id(place), meta={"origin": "seed", **row.meta})


@dataclass(frozen=True, slots=True)
class _Common:
    """What a record of any shape may have."""

    id: str
    system: str
    meta: Mapping[str, object]


def _common(record: Record, shape: str, place: Place) -> _Common:
    given_meta = _value(record, "meta", shape, place)
    if not isinstance(given_meta, Mapping | None):
        raise place.wrong(f"field 'meta' is {kind_of(given_meta)}, not an object.", GOOD[shape])
    meta: dict[str, object] = {"origin": "seed", **(given_meta or {})}
    if category := _text(record, "category", shape, place, may_lack=True):
        meta["category"] = category
    elif record.get("is_classification") is True:
        meta["category"] = "classification"
    check = _value(record, "check", shape, place)
    if check is not None:
        try:
            validate(cast(Check, check))  # says itself what is wrong with it
        except InputError as error:
            raise place.wrong(f"field 'check': {error}", GOOD[shape]) from None
        meta["check"] = check
    given = record.get("id")
    return _Common(
        id=_id(place) if given in (None, "") else str(given),
        system=_text(record, "system", shape, place, may_lack=True),
        meta=meta,
    )


def _parse_turns(turns: object, shape: str, place: Place, common: _Common) -> Example:
    """Returns the first question with its answer ("" when there is none) and system text."""
    if not isinstance(turns, list) or not turns:
        raise place.wrong(f"{kind_of(turns)}, where a list of messages belongs.", GOOD[shape])
    role_key, text_key = ("from", "value") if shape == "sharegpt" else ("role", "content")
    system, asked, answer = common.system, None, ""
    for i, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            raise place.wrong(f"message {i + 1} is {kind_of(turn)}, not an object.", GOOD[shape])
        role = _ROLES.get(str(turn.get(role_key)).lower())
        if role is None:
            raise place.wrong(
                f"message {i + 1}: {role_key!r} is {turn.get(role_key)!r}, none of system, user "
                "(human), assistant (gpt).",
                GOOD[shape],
            )
        text = turn.get(text_key)
        if not isinstance(text, str):
            raise place.wrong(
                f"message {i + 1}: {text_key!r} is {kind_of(text)}, not text.", GOOD[shape]
            )
        text = _whole(text, f"message {i + 1}", shape, place)
        if asked is not None:
            answer = text if role == "assistant" else ""
            break
        if role == "system":
            system = text
        elif role == "user":
            asked = text
    if asked is None or not asked.strip():
        raise place.wrong(
            "no message of the user." if asked is None else "the user's message is empty.",
            GOOD[shape],
        )
    return Example(
        instruction=asked, response=answer, id=common.id, system=system, meta=common.meta
    )


def _fields(record: Record, shape: str) -> tuple[str, str]:
    """Returns the fields of question and answer, those of a related shape included."""
    asked = "prompt" if shape == "prompt-completion" else "instruction"
    usual = {"prompt-completion": "completion", "alpaca": "output"}.get(shape, "response")
    names = [usual, "response", "output", "completion"]
    return asked, next((name for name in names if name in record), usual)


def explain_missing_answer(record: Record, shape: str) -> str:
    """Returns what is wrong with a record that has no answer, in the words of its shape."""
    if shape in ("messages", "sharegpt") or isinstance(record.get("prompt"), list):
        return "no answer follows the user's first message."
    if shape == "self-instruct":
        return "field 'output' of an instance is missing or empty."
    name = _fields(record, shape)[1]
    return f"field {name!r} is {'empty' if name in record else 'missing'}."


def _input(record: Record, shape: str, place: Place) -> str:
    field = "input" if "input" in record else "context"
    text = _text(record, field, shape, place, may_lack=True)
    return "" if text.strip().lower() in _NO_INPUT else text


def _text(record: Record, field: str, shape: str, place: Place, *, may_lack: bool = False) -> str:
    value = record.get(field)
    if value is None and may_lack:
        return ""
    if value is None and field not in record:
        raise place.wrong(f"field {field!r} is missing.", GOOD[shape])
    if not isinstance(value, str):
        raise place.wrong(f"field {field!r} is {kind_of(value)}, not text.", GOOD[shape])
    if not may_lack and not value.strip():
        raise place.wrong(f"field {field!r} is empty.", GOOD[shape])
    return _whole(value, f"field {field!r}", shape, place)


def _whole(text: str, where: str, shape: str, place: Place) -> str:
    r"""JSON can spell half a character (`\ud83d` alone), which no file can hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise place.wrong(
                f"{where} has half a character at {error.start + 1}.", GOOD[shape]
            ) from None
    return text


def _require(record: Record, field: str, shape: str, place: Place) -> object:
    if field not in record:
        raise place.wrong(f"field {field!r} is missing.", GOOD[shape])
    return record[field]


def _list(record: Record, field: str, shape: str, place: Place) -> list[object]:
    value = _require(record, field, shape, place)
    if not isinstance(value, list) or not value:
        raise place.wrong(f"field {field!r} is not a list with something in it.", GOOD[shape])
    return value


def _value(record: Record, field: str, shape: str, place: Place) -> object:
    """Returns a field that is JSON, None where it is empty; in a table it is JSON in a cell."""
    value = record.get(field)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value else None
    except json.JSONDecodeError as error:
        raise place.wrong(f"field {field!r} is not JSON: {error.msg}.", GOOD[shape]) from None


def _id(place: Place) -> str:
    return f"{place.path.stem}-{place.number}"
