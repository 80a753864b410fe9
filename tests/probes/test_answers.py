"""The checks judge as a person would: answers written and labelled by hand, twelve or so per family.

The right ones are terse, full sentences, explained, introduced, fenced, in words, with accents or in
the plural; the wrong ones echo, name a wrong candidate, hedge, loop or meet the word by accident.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from woolgather.probes import FAMILIES
from woolgather.probes.checks import passes, passes_strictly

ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("answers.jsonl").read_text(encoding="utf-8").splitlines()
]


def _check(row: dict[str, Any]) -> Any:
    return FAMILIES[row["family"]](random.Random(row["draw"])).check


def test_every_family_has_its_answers() -> None:
    counts = Counter((row["family"], row["right"]) for row in ROWS)
    assert set(counts) == {(name, right) for name in FAMILIES for right in (True, False)}
    assert min(counts.values()) >= 5, counts.most_common()[-5:]


def test_the_answers_are_to_the_prompts_that_are_drawn() -> None:
    for row in ROWS:
        probe = FAMILIES[row["family"]](random.Random(row["draw"]))
        assert (probe.instruction, probe.input) == (row["instruction"], row["input"])


def test_right_answers_pass_and_wrong_ones_fail() -> None:
    for right, least in ((True, 0.95), (False, 0.98)):
        rows = [row for row in ROWS if row["right"] is right]
        misjudged = [row for row in rows if passes(row["answer"], _check(row)) is not right]
        for row in misjudged:
            print("right" if right else "wrong", row["family"], row["draw"], repr(row["answer"]))
        assert len(misjudged) <= (1 - least) * len(rows)


def test_the_strict_reading_passes_nothing_more() -> None:
    strict = [row for row in ROWS if passes_strictly(row["answer"], _check(row))]
    assert all(passes(row["answer"], _check(row)) for row in strict)
    right = sum(row["right"] for row in ROWS)
    assert 0.7 * right < sum(row["right"] for row in strict) < 0.95 * right
