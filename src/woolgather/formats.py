"""The only place that knows foreign row shapes: reads them into rows, and writes rows as them.

The one idea: a file is a stream of records, the first of which tells the shape; each is then turned
into rows by that shape's reader. A mistake is one InputError that names file, line, field, what is
wrong, and what a good line looks like. Nothing is cut or cleaned; of a longer conversation the
first question and its answer are kept, with the system text before it.

    self-instruct      {"instruction", "instances": [{"input", "output"}, ...]}
    alpaca             {"instruction", "input", "output"}
    own                {"instruction", "input", "response", "category", "check"}
    prompt-completion  {"prompt", "completion"}                    texts, or lists of messages
    messages           {"messages": [{"role", "content"}, ...]}
    sharegpt           {"conversations": [{"from", "value"}, ...]}
    spin               {"real": [messages], "generated": [messages]}                      pairs
    preference         {"prompt" or "instruction", "chosen", "rejected"}                  pairs

Each may also have id, system, category, check, and meta. Files are those of record_files.py.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args

from woolgather.checks import validate
from woolgather.errors import ConfigError, InputError
from woolgather.record_files import (
    Place,
    kind_of,
    read_records,
    write_json_records,
    write_parquet,
    write_talk_pairs,
)
from woolgather.records import Example, PreferencePair, Row, question, set_aside
from woolgather.storage import from_record, publish, to_record

Format = Literal["messages", "alpaca", "sharegpt", "spin", "prompt-completion", "parquet", "jsonl"]
Record = Mapping[str, Any]

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
_PAIRS = ("spin", "preference")
_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
}
_NO_INPUT = ("<noinput>", "<no input>")


def read_examples(path: Path | str, *, needs_response: bool = True) -> Iterator[Example]:
    """Rows of a file or directory; rows set aside in it are passed over.

    `id` is the file's own, else `<stem>-<line>`; `meta` has origin "seed" unless the file says
    otherwise, and category and check where it has them. Raises InputError, also for no rows.
    """
    found = False
    for place, shape, record in _shaped(Path(path)):
        if shape in _PAIRS:
            raise place.wrong(f"a pair of responses (shape {shape}), where one belongs.", _OWN)
        for row in _examples(record, shape, place):
            if row.set_aside is None:
                if needs_response and not row.response.strip():
                    raise place.wrong(_unanswered(record, shape), GOOD[shape])
                found = True
                yield row
    if not found:
        raise InputError(f"{path} holds no rows. A good line: {_OWN}")


def read_pairs(path: Path | str) -> Iterator[PreferencePair]:
    """Preference pairs of a file or directory; rows set aside in it are passed over.

    A pair with an empty side, or with the same text on both, comes set aside. Raises InputError
    when most are like that, for a side that is missing, and for no rows.
    """
    total = 0
    useless: list[str] = []
    for place, shape, record in _shaped(Path(path)):
        if shape not in _PAIRS:
            raise place.wrong(
                f"one response (shape {shape}), where a pair belongs.", GOOD["preference"]
            )
        pair = _pair(record, shape, place)
        if pair.set_aside is not None:
            continue
        total += 1
        good, bad = _sides(record, shape)
        if not pair.chosen.strip() or not pair.rejected.strip():
            which = bad if pair.chosen.strip() else good
            useless.append(f"{place}: the answer of {which!r} is empty")
            pair = set_aside(pair, "empty")
        elif pair.chosen.strip() == pair.rejected.strip():
            useless.append(f"{place}: {good!r} and {bad!r} are the same text")
            pair = set_aside(pair, "identical")
        yield pair
    if not total:
        raise InputError(f"{path} holds no rows. A good line: {GOOD['preference']}")
    if 2 * len(useless) > total:
        raise InputError(
            f"{useless[0]}, so there is nothing to prefer; {len(useless)} of {total} pairs are like "
            f"that. Give both answers: {GOOD['preference']}"
        )


def detect_shape(record: Record) -> str:
    """A shape's name, by the record's fields. Raises InputError when they are those of none."""
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


def builtin_seeds() -> Path:
    """The seed tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "seeds.jsonl"))


def builtin_heldout() -> Path:
    """The held-out tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "heldout.jsonl"))


def builtin_texts() -> Path:
    """The unlabelled texts that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "texts.jsonl"))


def write_rows_as(rows: Iterable[Row], path: Path, format: Format) -> int:  # noqa: A002
    """Writes the rows that are not set aside; returns their number. The file is whole or not there.

    A `.json` path gets an array, any other a line a row; spin may be a `.parquet` table. jsonl and
    parquet keep all of a row, the others what their users know: instruction and input are joined
    where there is one field.
    Raises ConfigError for an unknown or unfit format, InputError for rows it cannot hold.
    """
    if format not in get_args(Format):
        near = difflib.get_close_matches(str(format), get_args(Format), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"format {format!r} is none of {', '.join(get_args(Format))}.{hint}")
    if path.suffix == ".parquet" and format not in ("parquet", "spin"):
        raise ConfigError(f"{path}: a table holds format parquet or spin, not {format}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.tmp")
    used = (row for row in rows if row.set_aside is None)
    try:
        if format == "parquet":
            count = write_parquet(map(to_record, used), temp)
        else:
            records = (_written(row, format) for row in used)
            if path.suffix == ".parquet":
                count = write_talk_pairs(records, temp)
            else:
                count = write_json_records(records, temp, array=path.suffix == ".json")
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    return count


_OWN = GOOD["own"]


def _shaped(path: Path) -> Iterator[tuple[Place, str, Record]]:
    shapes: dict[Path, str] = {}
    for place, record in read_records(path):
        if not isinstance(record, Mapping):
            raise place.wrong(f"{kind_of(record)}, where an object belongs.", _OWN)
        try:
            shape = shapes.setdefault(place.path, shapes.get(place.path) or detect_shape(record))
        except InputError as error:
            raise place.wrong(str(error)) from None
        yield place, shape, record


def _examples(record: Record, shape: str, place: Place) -> Iterator[Example]:
    if "verdicts" in record and "parents" in record:
        yield cast(Example, _stored(record, shape, place))
        return
    common = _common(record, shape, place)
    if shape in ("messages", "sharegpt"):
        turns = _need(record, "messages" if shape == "messages" else "conversations", shape, place)
        yield _talked(turns, shape, place, common)
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
                **{**common, "id": common["id"] + (f"-{i + 1}" if i else "")},
            )
    elif shape == "prompt-completion" and isinstance(record.get("prompt"), list):
        answer = record.get("completion") or []
        if not isinstance(answer, list):
            raise place.wrong("'prompt' is a list of messages, 'completion' is not.", GOOD[shape])
        yield _talked([*record["prompt"], *answer], shape, place, common)
    else:
        yield Example(
            instruction=_text(record, _fields(record, shape)[0], shape, place),
            input=_input(record, shape, place),
            response=_text(record, _fields(record, shape)[1], shape, place, may_lack=True),
            **common,
        )


def _pair(record: Record, shape: str, place: Place) -> PreferencePair:
    if {"parents", "set_aside"} <= record.keys():
        return cast(PreferencePair, _stored(record, shape, place))
    good, bad = _sides(record, shape)
    common = _common(record, shape, place)
    if isinstance(record.get(good), list) or shape == "spin":
        one = _talked(_need(record, good, shape, place), shape, place, common)
        two = _talked(_need(record, bad, shape, place), shape, place, common)
        if one.instruction != two.instruction:
            raise place.wrong(f"{good!r} and {bad!r} answer different questions.", GOOD[shape])
        asked, chosen, rejected = one.instruction, one.response, two.response
        common["system"] = one.system
    else:
        field = "instruction" if "instruction" in record else "prompt"
        asked = _text(record, field, shape, place)
        for side in (good, bad):
            _need(record, side, shape, place)
        chosen, rejected = (_text(record, f, shape, place, may_lack=True) for f in (good, bad))
    return PreferencePair(instruction=asked, chosen=chosen, rejected=rejected, **common)


def _sides(record: Record, shape: str) -> tuple[str, str]:
    """Names of the fields of the better and the worse answer."""
    return ("real", "generated") if shape == "spin" else ("chosen", "rejected")


def _stored(record: Record, shape: str, place: Place) -> Row:
    """A row that woolgather stored or exported."""
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


def _common(record: Record, shape: str, place: Place) -> dict[str, Any]:
    """What a record of any shape may have: id, system, and what goes into meta."""
    meta: dict[str, Any] = {"origin": "seed"} | _value(record, "meta", shape, place, default={})
    if category := _text(record, "category", shape, place, may_lack=True):
        meta["category"] = category
    elif record.get("is_classification") is True:
        meta["category"] = "classification"
    check = _value(record, "check", shape, place, default=None)
    if check is not None:
        try:
            validate(check)
        except InputError as error:
            raise place.wrong(f"field 'check': {error}", GOOD[shape]) from None
        meta["check"] = check
    given = record.get("id")
    return {
        "id": _id(place) if given in (None, "") else str(given),
        "system": _text(record, "system", shape, place, may_lack=True),
        "meta": meta,
    }


def _talked(turns: Any, shape: str, place: Place, common: dict[str, Any]) -> Example:
    """The first question, its answer ("" when there is none), and the system text before it."""
    if not isinstance(turns, list) or not turns:
        raise place.wrong(f"{kind_of(turns)}, where a list of messages belongs.", GOOD[shape])
    role_key, text_key = ("from", "value") if shape == "sharegpt" else ("role", "content")
    system, asked, answer = common["system"], None, ""
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
    return Example(instruction=asked, response=answer, **{**common, "system": system})


def _fields(record: Record, shape: str) -> tuple[str, str]:
    """Names of the question's and the answer's field, those of a related shape included."""
    asked = "prompt" if shape == "prompt-completion" else "instruction"
    usual = {"prompt-completion": "completion", "alpaca": "output"}.get(shape, "response")
    names = [usual, "response", "output", "completion"]
    return asked, next((name for name in names if name in record), usual)


def _unanswered(record: Record, shape: str) -> str:
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


def _need(record: Record, field: str, shape: str, place: Place) -> Any:
    if field not in record:
        raise place.wrong(f"field {field!r} is missing.", GOOD[shape])
    return record[field]


def _list(record: Record, field: str, shape: str, place: Place) -> list[Any]:
    value = _need(record, field, shape, place)
    if not isinstance(value, list) or not value:
        raise place.wrong(f"field {field!r} is not a list with something in it.", GOOD[shape])
    return value


def _value(record: Record, field: str, shape: str, place: Place, *, default: Any) -> Any:
    """A field that is JSON; in a table it is JSON in a cell."""
    value = record.get(field)
    if value in (None, ""):
        return default
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise place.wrong(f"field {field!r} is not JSON: {error.msg}.", GOOD[shape]) from None
    if isinstance(default, dict) and not isinstance(value, Mapping):
        raise place.wrong(f"field {field!r} is {kind_of(value)}, not an object.", GOOD[shape])
    return value


def _id(place: Place) -> str:
    return f"{place.path.stem}-{place.number}"


def _written(row: Row, shape: str) -> dict[str, Any]:
    record: dict[str, Any] = {"id": row.id} if row.id else {}
    if shape == "jsonl":
        return {**to_record(row), "meta": dict(row.meta)}
    if isinstance(row, PreferencePair) != (shape == "spin"):
        held = "single responses" if shape == "spin" else "pairs"
        fit = "another format" if shape == "spin" else "spin, jsonl or parquet"
        raise InputError(f"format {shape} cannot hold {held}. Use {fit}.")
    if isinstance(row, PreferencePair):
        real = _messages(row.system, row.instruction, row.chosen)
        return {**record, "real": real, "generated": [*real[:-1], _said("assistant", row.rejected)]}
    turns = _messages(row.system, question(row), row.response)
    if shape == "messages":
        return {**record, "messages": turns}
    if shape == "sharegpt":
        names = {"system": "system", "user": "human", "assistant": "gpt"}
        talk = [{"from": names[t["role"]], "value": t["content"]} for t in turns]
        return {**record, "conversations": talk}
    if shape == "alpaca":
        system = {"system": row.system} if row.system else {}
        texts = {"instruction": row.instruction, "input": row.input, "output": row.response}
        return {**record, **texts, **system}
    if row.system:
        return {**record, "prompt": turns[:-1], "completion": turns[-1:]}
    return {**record, "prompt": question(row), "completion": row.response}


def _messages(system: str, asked: str, answer: str) -> list[dict[str, str]]:
    before = [_said("system", system)] if system else []
    return [*before, _said("user", asked), _said("assistant", answer)]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
