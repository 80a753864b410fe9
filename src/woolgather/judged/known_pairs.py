"""Two answers to one task, the second made worse by program: what a judge that compares is tried on.

The one idea: length tells nothing. Some worse answers are as long as the better one, some longer, some
shorter, so that whoever goes by length is right on one kind and wrong on another.

    mismatched, scrambled, misstated    as in ops/judge/audition_pairs.py; about as long
    padded                              another seed's answer stands behind the answer; longer
    cut                                 the answer breaks off in the middle; shorter
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from woolgather.core.fingerprint import seed_of
from woolgather.core.rows import Example, question
from woolgather.ops.judge.audition_pairs import build_pairs

PADDED, CUT = "padded", "cut"
KINDS = ("mismatched", "scrambled", "misstated", PADDED, CUT)
FEWEST_WORDS = 8
"""Words of an answer that half of can be missing."""


@dataclass(frozen=True)
class KnownPair:
    """A task with two answers."""

    kind: str
    group: str
    """The seed that it was made from; pairs of one seed are not independent."""
    task: str
    better: str
    worse: str


def build_known_pairs(seeds: Sequence[Example], per_kind: int, seed: int = 0) -> list[KnownPair]:
    """Returns at most `per_kind` pairs of each kind, from answered seeds; fewer where fewer seeds can
    make one."""
    # The pairs whose task was edited are left out: a judge that compares is asked one question.
    pairs = [
        KnownPair(pair.kind, pair.group, question(pair.good), pair.good.response, pair.bad.response)
        for pair in build_pairs(seeds, per_kind, seed)
        if question(pair.good) == question(pair.bad)
    ]
    for kind, spoil in _SPOILERS.items():
        rng = random.Random(seed_of(seed, kind))
        numbers = rng.sample(range(len(seeds)), len(seeds))
        made = (
            KnownPair(kind, f"seed:{i}", question(seeds[i]), seeds[i].response.strip(), worse)
            for i in numbers
            if (worse := spoil(seeds[i], seeds, rng))
        )
        pairs += [pair for pair, _ in zip(made, range(per_kind), strict=False)]
    return pairs


def _pad(row: Example, seeds: Sequence[Example], rng: random.Random) -> str:
    """Returns the answer with another one behind it; nothing where there is none."""
    said = row.response.strip()
    others = [text for other in seeds if (text := other.response.strip()) not in ("", said)]
    return f"{said}\n\n{rng.choice(others)}" if said and others else ""


def _cut(row: Example, *_: object) -> str:
    """Returns the first half of the answer's words, without a mark that would end it; nothing of a short
    one."""
    words = list(re.finditer(r"\S+", row.response))
    if len(words) < FEWEST_WORDS:
        return ""
    end = words[len(words) // 2 - 1].end()
    return row.response[:end].strip().rstrip(".,;:!?")


_SPOILERS: Mapping[str, Callable[[Example, Sequence[Example], random.Random], str]] = {
    PADDED: _pad,
    CUT: _cut,
}
