"""What doing nothing scores: the best null answer, known from far more probes than a model is asked.

The one idea: the null answer that is luckiest on a few hundred probes is praised for its luck, and its
rate there is a guess. So every null answer is rated once per family on a large fixed set, which no
model is asked; for the probes that a model is asked, the best is the one with the highest expected rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from woolgather.probes import FAMILIES, NULL_ANSWERS, Probe, generate
from woolgather.probes.checks import passes

PER_FAMILY = 40
"""Probes per family of the fixed set: with 55 families a rate of 4 % is known within 0.8 points."""
SEED = 20_230_401
"""Random seed of the fixed set; any that no run uses."""


@cache
def null_rates() -> Mapping[str, Mapping[str, float]]:
    """Returns the pass rate of each null answer by family. Takes about a second, once per process."""
    passed: dict[str, Counter[str]] = {name: Counter() for name in NULL_ANSWERS}
    asked: Counter[str] = Counter()
    # All answers to one probe in a row: a check's patterns are then compiled once.
    for probe in generate(PER_FAMILY * len(FAMILIES), SEED):
        asked[probe.family] += 1
        for name, answer in NULL_ANSWERS.items():
            passed[name][probe.family] += passes(answer(probe), probe.check)
    return {
        name: {family: counts[family] / n for family, n in asked.items()}
        for name, counts in passed.items()
    }


def expected_best_null(probes: Sequence[Probe]) -> tuple[str, float]:
    """Returns the null answer that is best on probes of these families, and the share of `probes` that
    it is expected to pass. Among equals it is the first in NULL_ANSWERS."""
    asked = Counter(probe.family for probe in probes)
    rates = {
        name: sum(n * by_family[family] for family, n in asked.items()) / len(probes)
        for name, by_family in null_rates().items()
    }
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]
