"""Rows and files that the tests of formats share."""

import json
from pathlib import Path
from typing import Any

from woolgather.core.rows import Example, PreferencePair, Verdict
from woolgather.data import read_examples

ROWS = [
    Example(id="a", instruction="Say hi.", response="Hi.", meta={"origin": "seed"}),
    Example(
        id="b",
        instruction="Sort\nthese, please",
        input="c, b; a\t«ü»",
        response='a\nb "c" 漢字\u2028 😀',
        system="Be brief.",
        meta={"origin": "seed"},
    ),
]
ASIDE = Example(id="x", instruction="Bad", response="row", set_aside="echo")
FULL = Example(
    id="c",
    instruction="Why?",
    response="Because.",
    finish_reason="stop",
    verdicts={"quality": Verdict(9.0, "fine"), "following": Verdict(None, "?")},
    parents=("a", "b"),
    meta={"origin": "machine", "category": "why", "check": {"kind": "contains", "any": ["x"]}},
)
PAIRS = [
    PreferencePair(
        id="p", instruction="Q?", chosen="good", rejected="bad", meta={"origin": "seed"}
    ),
    PreferencePair(
        id="q", instruction="R", chosen="1", rejected="2", system="S", meta={"origin": "seed"}
    ),
]

USER, BOT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}

GOOD_LINE = '{"instruction": "Q", "input": "", "output": "A"}\n'


def file(tmp_path: Path, name: str, content: Any) -> Path:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(c) + "\n" for c in content), encoding="utf-8")
    return path


def one(tmp_path: Path, record: Any, **options: Any) -> Example:
    (row,) = read_examples(file(tmp_path, "one.jsonl", [record]), **options)
    return row
