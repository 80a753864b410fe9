"""Rows to files that other programs read, each format with what its users know of a row.

    format             single responses                    pairs                     opened by
    messages           messages                            -                         TRL
    prompt-completion  prompt, completion                  -                         TRL
    preference         -                                   prompt, chosen, rejected  TRL
    alpaca             instruction, input, output          ..., chosen, rejected     LLaMA-Factory
    sharegpt           conversations                       -                         LLaMA-Factory
    spin               -                                   real, generated           SPIN
    alpaca-eval        instruction, output, generator      -                         AlpacaEval
    jsonl, parquet     all of a row                        all of a row              woolgather, pandas

Rows of several turns are written whole: as messages, as sharegpt, the last answer as completion, or, in
alpaca, the earlier turns as LLaMA-Factory's `history`. alpaca-eval refuses them.

A field has the same type in every row, so that a file opens as a table: messages where one row may
have a system text and another none.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import (
    Example,
    PreferencePair,
    Row,
    answered_turns,
    question,
    turns_of,
)
from woolgather.core.storage import publish, to_record
from woolgather.data.record_files import write_json_records, write_parquet, write_talk_pairs

Format = Literal[
    "messages",
    "alpaca",
    "sharegpt",
    "spin",
    "preference",
    "prompt-completion",
    "alpaca-eval",
    "parquet",
    "jsonl",
]
Record = dict[str, object]


def write_rows_as(
    rows: Iterable[Row],
    path: Path,
    format: Format,  # noqa: A002
    generator: str = "woolgather",
) -> int:
    """Writes the rows that are not set aside; returns their number. The file is whole or not there.

    A `.json` path gets an array, any other one line per row; spin may be a `.parquet` table. jsonl
    and parquet keep all of a row, the others what their users know: instruction and input are joined
    where there is one field. `generator` is whose answers alpaca-eval says they are.
    Raises ConfigError for an unknown or unfit format, InputError for rows it cannot hold.
    """
    if format not in get_args(Format):
        near = difflib.get_close_matches(str(format), get_args(Format), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"format {format!r} is none of {', '.join(get_args(Format))}.{hint}")
    if path.suffix == ".parquet" and format not in ("parquet", "spin"):
        raise ConfigError(f"{path}: a table holds format parquet or spin, not {format}.")
    if format == "alpaca-eval" and path.suffix != ".json":
        raise ConfigError(
            f"{path}: AlpacaEval reads an array; the file's name has to end in .json."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.tmp")
    used = (row for row in rows if row.set_aside is None)
    try:
        if format == "parquet":
            count = write_parquet(map(to_record, used), temp)
        else:
            records = (_to_record(row, format, generator) for row in used)
            if path.suffix == ".parquet":
                count = write_talk_pairs(records, temp)
            else:
                count = write_json_records(records, temp, array=path.suffix == ".json")
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    return count


def _to_record(row: Row, shape: str, generator: str) -> Record:
    if shape == "jsonl":
        return {**to_record(row), "meta": dict(row.meta)}
    made: Record
    if isinstance(row, PreferencePair):
        if shape not in _OF_PAIRS:
            fit = "spin, preference, alpaca, jsonl or parquet"
            raise InputError(f"format {shape} cannot hold pairs. Use {fit}.")
        made = _OF_PAIRS[shape](row)
    elif shape == "alpaca-eval":
        if len(turns_of(row)) > 2:
            raise InputError(
                f"format alpaca-eval holds one question and one answer, and row {row.id} has several "
                "turns. Use messages or sharegpt."
            )
        # Its users match answers by the question, and know no id.
        return {
            "dataset": str(row.meta.get("dataset", "woolgather")),
            "instruction": question(row),
            "output": row.response,
            "generator": generator,
        }
    elif shape not in _OF_EXAMPLES:
        raise InputError(f"format {shape} cannot hold single responses. Use another format.")
    else:
        made = _OF_EXAMPLES[shape](row)
    return {"id": row.id, **made} if row.id else made


def _as_messages(row: Example) -> Record:
    return {"messages": _messages(row.system, turns_of(row))}


def _as_prompt(row: Example) -> Record:
    turns = _messages(row.system, answered_turns(row))
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def _as_sharegpt(row: Example) -> Record:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = _messages(row.system, turns_of(row))
    return {"conversations": [{"from": names[t["role"]], "value": t["content"]} for t in turns]}


def _as_alpaca(row: Example) -> Record:
    texts: Record = {"instruction": row.instruction, "input": row.input, "output": row.response}
    if len(turns := answered_turns(row)) > 2:
        said = [text for _, text in turns]
        earlier = [said[i : i + 2] for i in range(0, len(said) - 2, 2)]
        texts = {"instruction": said[-2], "input": "", "output": said[-1], "history": earlier}
    return {**texts, **({"system": row.system} if row.system else {})}


def _as_ranked(pair: PreferencePair) -> Record:
    texts = {"instruction": pair.instruction, "input": ""}
    sides = {"chosen": pair.chosen, "rejected": pair.rejected}
    return {**texts, **sides, **({"system": pair.system} if pair.system else {})}


def _as_spin(pair: PreferencePair) -> Record:
    real = _messages(pair.system, _one_turn(pair))
    return {"real": real, "generated": [*real[:-1], _to_message("assistant", pair.rejected)]}


def _as_preference(pair: PreferencePair) -> Record:
    turns = _messages(pair.system, _one_turn(pair))
    rejected = [_to_message("assistant", pair.rejected)]
    return {"prompt": turns[:-1], "chosen": turns[-1:], "rejected": rejected}


_OF_EXAMPLES: Mapping[str, Callable[[Example], Record]] = {
    "messages": _as_messages,
    "prompt-completion": _as_prompt,
    "sharegpt": _as_sharegpt,
    "alpaca": _as_alpaca,
}
_OF_PAIRS: Mapping[str, Callable[[PreferencePair], Record]] = {
    "spin": _as_spin,
    "preference": _as_preference,
    "alpaca": _as_ranked,
}


def _one_turn(pair: PreferencePair) -> list[tuple[str, str]]:
    return [("user", pair.instruction), ("assistant", pair.chosen)]


def _messages(system: str, turns: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    before = [_to_message("system", system)] if system else []
    return [*before, *(_to_message(role, text) for role, text in turns)]


def _to_message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
