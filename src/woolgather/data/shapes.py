"""One record to rows: which of the general shapes it has, and each shape's reader.

Nothing here opens a file; a record's place is known for messages alone. Layouts of the methods' own
repositories are in published/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from woolgather.core.errors import InputError
from woolgather.core.rows import CONVERSATION, JSON, Example, PreferencePair, Row, question
from woolgather.core.storage import from_record
from woolgather.data.fields import Fields, Record
from woolgather.data.record_files import Place
from woolgather.data.values import kind_of

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
_GOOD_HISTORY = (
    '{"instruction": "...", "input": "", "output": "...", '
    '"history": [["an earlier question", "its answer"]]}'
)
PAIRS = ("spin", "preference")
"""Shapes of two answers."""
_MOST = sys.float_info.max


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


def examples_of(
    record: Record, shape: str, place: Place, origin: str = "seed"
) -> Iterator[Example]:
    """Yields the rows of a record; several where it has several instances. Raises InputError."""
    if "verdicts" in record and "parents" in record:
        yield cast(Example, _parse_stored(record, shape, place))
        return
    fields = Fields(record, place, GOOD[shape], origin)
    if shape == "messages":
        yield fields.talk(fields.require("messages"))
    elif shape == "sharegpt":
        yield fields.talk(fields.require("conversations"), "from", "value")
    elif shape == "self-instruct":
        yield from _instances(fields)
    elif shape == "prompt-completion" and isinstance(asked := record.get("prompt"), list):
        answer = record.get("completion") or []
        if not isinstance(answer, list):
            raise fields.wrong("'prompt' is a list of messages, 'completion' is not.")
        yield fields.talk([*asked, *answer])
    elif shape in ("alpaca", "own") and record.get("history") and (turns := _earlier(fields)):
        yield fields.talk(turns)
    else:
        question, answered = _fields(record, shape)
        yield fields.example(
            fields.text(question), fields.text(answered, may_lack=True), fields.material()
        )


def _earlier(fields: Fields) -> list[dict[str, str]]:
    """The messages of LLaMA-Factory's alpaca rows, or of ours with such a field: pairs of earlier
    turns, and the row's own last; none where the field has no pair. Raises InputError where it holds
    anything else, or where its first pair, which is what the row asks and answers, lacks a text."""
    fields = replace(fields, good=_GOOD_HISTORY)
    history = fields.parsed("history")
    if not history:
        return []
    pairs = history if isinstance(history, list) else [history]
    for pair in pairs:
        if not isinstance(pair, list) or [type(text) for text in pair] != [str, str]:
            raise fields.wrong("field 'history' is not a list of pairs of texts.")
    for text, what in zip(pairs[0], ("question", "answer"), strict=True):
        if not text.strip():
            raise fields.wrong(f"field 'history': the {what} of its first pair is empty.")
    _, answered = _fields(fields.record, "own" if "response" in fields else "alpaca")
    last = fields.example(fields.text("instruction"), fields.text(answered), fields.material())
    said = [text for pair in pairs for text in pair] + [question(last), last.response]
    roles = ("user", "assistant") * (len(said) // 2)
    return [{"role": r, "content": t} for r, t in zip(roles, said, strict=True)]


def _instances(fields: Fields) -> Iterator[Example]:
    instruction = fields.text("instruction")
    for i, instance in enumerate(fields.sequence("instances")):
        if not isinstance(instance, Mapping):
            raise fields.wrong(f"instances[{i}] is {kind_of(instance)}, not an object.")
        inner = replace(fields, record=instance)
        row = fields.example(instruction, inner.text("output", may_lack=True), inner.material())
        yield replace(row, id=row.id + (f"-{i + 1}" if i else ""))


def pair_of(record: Record, shape: str, place: Place) -> PreferencePair:
    """Returns the pair that a record is. Raises InputError."""
    if {"parents", "set_aside"} <= record.keys():
        return cast(PreferencePair, _parse_stored(record, shape, place))
    good, bad = sides(record, shape)
    fields = Fields(record, place, GOOD[shape])
    if isinstance(record.get(good), list) or shape == "spin":
        before = record.get("prompt")
        row, other = (fields.talk(_join(before, fields.require(side))) for side in (good, bad))
        if row.instruction != other.instruction:
            raise fields.wrong(f"{good!r} and {bad!r} answer different questions.")
        rejected = other.response
    else:
        asked = fields.text("instruction" if "instruction" in record else "prompt")
        for side in (good, bad):
            fields.require(side)
        chosen, rejected = (fields.text(side, may_lack=True) for side in (good, bad))
        row = fields.example(asked, chosen)
    meta = dict(row.meta)
    if meta.pop(CONVERSATION, None) or meta.pop("cut", None):
        meta["one_turn"] = True
    return PreferencePair(
        instruction=row.instruction,
        chosen=row.response,
        rejected=rejected,
        id=row.id,
        system=row.system,
        meta=meta,
    )


def _join(before: object, turns: object) -> object:
    """Returns a side's messages after those of the prompt, where the prompt is messages too."""
    if isinstance(before, list) and isinstance(turns, list):
        asked = [turn for turn in turns if isinstance(turn, Mapping) and turn.get("role") == "user"]
        return turns if asked else [*before, *turns]
    return turns


def sides(record: Record, shape: str) -> tuple[str, str]:
    """Returns the names of the fields of the better and the worse answer."""
    return ("real", "generated") if shape == "spin" else ("chosen", "rejected")


def _parse_stored(record: Record, shape: str, place: Place) -> Row:
    """Returns a row that woolgather stored or exported, whatever was done to it since."""
    fields = Fields(record, place, GOOD[shape])
    fields.text("instruction")
    for name in ("input", "response", "chosen", "rejected", "system", "finish_reason", "set_aside"):
        fields.text(name, may_lack=True)
    parents = fields.plain("parents") or []
    if not isinstance(parents, list) or not all(isinstance(each, str) for each in parents):
        raise fields.wrong("field 'parents' is not a list of ids.")
    whole = {
        "id": "",
        "system": "",
        "finish_reason": None,
        **record,
        "set_aside": record.get("set_aside") or None,
        "verdicts": _stored_verdicts(fields),
        "meta": json.dumps(fields.meta()),
    }
    try:
        row = from_record(whole)
    except KeyError as error:
        raise fields.wrong(f"not a whole row of woolgather's: it has no {error}.") from None
    return replace(row, id=fields.id())


def _stored_verdicts(fields: Fields) -> list[JSON]:
    verdicts = fields.plain("verdicts") or []
    if not isinstance(verdicts, list):
        raise fields.wrong(f"field 'verdicts' is {kind_of(verdicts)}, not a list.")
    for i, found in enumerate(verdicts):
        fits = isinstance(found, dict) and isinstance(found.get("name"), str)
        if not fits or not isinstance(found.get("text"), str | None):
            raise fields.wrong(f"verdicts[{i}] is not an object with texts 'name' and 'text'.")
        score = found.setdefault("score", None)
        found.setdefault("text", None)
        if isinstance(score, bool) or not isinstance(score, int | float | None):
            raise fields.wrong(f"verdicts[{i}]: 'score' is {kind_of(score)}, no number.")
        if score is not None and abs(score) > _MOST:
            raise fields.wrong(f"verdicts[{i}]: 'score' is no number that a verdict may have.")
    return verdicts


def _fields(record: Record, shape: str) -> tuple[str, str]:
    """Returns the fields of question and answer, those of a related shape included."""
    asked = "prompt" if shape == "prompt-completion" else "instruction"
    usual = {"prompt-completion": "completion", "alpaca": "output"}.get(shape, "response")
    names = [usual, "response", "output", "completion"]
    return asked, next((name for name in names if name in record), usual)


def explain_missing_answer(record: Record, shape: str) -> str:
    """Returns what is wrong with a record that has no answer, in the words of its shape."""
    if shape == "spin":
        return "the answer of 'real' is empty."
    if shape in ("messages", "sharegpt") or isinstance(record.get("prompt"), list):
        return "no answer follows the user's first message."
    if shape == "self-instruct":
        return "field 'output' of an instance is missing or empty."
    name = _fields(record, shape)[1]
    return f"field {name!r} is {'empty' if name in record else 'missing'}."
