"""Rows and options that tests of the launcher share."""

import json
from pathlib import Path

from woolgather.core.rows import Example
from woolgather.training.job import RESULT, SftOptions

WORDS = ["quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
ROWS = [Example(instruction=f"say {a} {b}", response="the fox") for a in WORDS for b in WORDS[1:]]
UPDATES = 60
OPTIONS = SftOptions(
    learning_rate=2e-2, warmup_updates=2, max_updates=UPDATES, batch_size=8, max_length=64
)


def result(out: Path) -> dict:
    return json.loads((out / RESULT).read_text())
