"""Rows and files that the tests of formats share."""

import json
from collections import Counter
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

TALK = [
    {"role": role, "content": text}
    for role, text in [
        ("user", "Name a tree."), ("assistant", "An elm."), ("user", "Another?"),
        ("assistant", "An oak.\n"), ("user", "Thanks!"), ("assistant", "Gladly."),
    ]
]  # fmt: skip
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


def talk(asked: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def spin(number: int, generated: str | None = None) -> dict[str, Any]:
    asked = f"Question {number}?"
    said = f"machine {number}" if generated is None else generated
    return {"real": talk(asked, f"people {number}"), "generated": talk(asked, said)}


def rows_of(source: Any, **how: Any) -> tuple[list[Example], Counter[str], list[str]]:
    """The rows in use, reasons of the others, and what was told."""
    told: list[str] = []
    rows = list(read_examples(source, tell=told.append, **how))
    used = [row for row in rows if row.set_aside is None]
    return used, Counter(row.set_aside for row in rows if row.set_aside), told


def seed(number: int) -> dict[str, Any]:
    asked = {"instruction": f"Seed {number}?", "instruction_quality": 0.75}
    return {**asked, "response": f"People {number}.", "response_quality": 0.9}
