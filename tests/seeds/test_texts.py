"""Holds the shipped texts to what backtranslating them relies on."""

import json
import re
from importlib.resources import files
from itertools import combinations
from typing import Any

from woolgather.data import builtin_heldout, builtin_seeds, builtin_texts, read_examples
from woolgather.ops.curate.texts import TextOptions, prepare_texts
from woolgather.runs.inputs import open_texts


def load(name: str) -> list[dict[str, Any]]:
    text = files("woolgather").joinpath("seeds", name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


TEXTS = load("texts.jsonl")


def test_rows_have_the_documented_shape() -> None:
    assert [row["id"] for row in TEXTS] == [f"text-{k:02d}" for k in range(1, 61)]
    for row in TEXTS:
        assert list(row) == ["id", "text"]
        assert 80 <= len(row["text"].split()) <= 210, row["id"]
        assert row["text"].strip() == row["text"]


def test_no_two_begin_alike_or_share_a_run_of_words() -> None:
    starts = [" ".join(row["text"].lower().split()[:3]) for row in TEXTS]
    assert len(set(starts)) == len(TEXTS)
    runs = []
    for row in TEXTS:
        words = re.findall(r"\w+", row["text"].lower())
        runs.append({tuple(words[i : i + 7]) for i in range(len(words) - 6)})
    assert not [1 for a, b in combinations(runs, 2) if a & b]


def test_every_one_passes_the_default_rules_and_none_is_held_out() -> None:
    seeds = list(read_examples(builtin_seeds()))
    held_out = list(read_examples(builtin_heldout(), needs_response=False))
    rows = prepare_texts(
        open_texts(builtin_texts()), options=TextOptions(), seeds=seeds, avoid=[held_out, seeds]
    )
    assert [row.set_aside for row in rows] == [None] * 60
