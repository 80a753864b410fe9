"""Rows to files that other programs read, each format with what its users know of a row."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import PreferencePair, Row, question
from woolgather.core.storage import publish, to_record
from woolgather.data.record_files import write_json_records, write_parquet, write_talk_pairs

Format = Literal["messages", "alpaca", "sharegpt", "spin", "prompt-completion", "parquet", "jsonl"]


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
            records = (_to_record(row, format) for row in used)
            if path.suffix == ".parquet":
                count = write_talk_pairs(records, temp)
            else:
                count = write_json_records(records, temp, array=path.suffix == ".json")
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    return count


def _to_record(row: Row, shape: str) -> dict[str, object]:
    record: dict[str, object] = {"id": row.id} if row.id else {}
    if shape == "jsonl":
        return {**to_record(row), "meta": dict(row.meta)}
    if isinstance(row, PreferencePair) != (shape == "spin"):
        held = "single responses" if shape == "spin" else "pairs"
        fit = "another format" if shape == "spin" else "spin, jsonl or parquet"
        raise InputError(f"format {shape} cannot hold {held}. Use {fit}.")
    if isinstance(row, PreferencePair):
        real = _messages(row.system, row.instruction, row.chosen)
        return {
            **record,
            "real": real,
            "generated": [*real[:-1], _to_message("assistant", row.rejected)],
        }
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
    before = [_to_message("system", system)] if system else []
    return [*before, _to_message("user", asked), _to_message("assistant", answer)]


def _to_message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
