"""What doing nothing scores: the best null answer, chosen and rated on probes that no model is asked.

The one idea: the null answer that is luckiest on a few hundred probes is praised for its luck, and its
rate there is a guess. So a few contenders are chosen on one part of a fixed set and rated by family on
another, larger part. For the probes that a model is asked, the best is the one with the highest
expected rate on their families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from woolgather.probes import FAMILIES, NULL_ANSWERS, Probe, generate
from woolgather.probes.checks import passes

SEED = 20_230_401
"""Random seed of the fixed set; any that no run uses."""
CHOOSING, RATING = 6, 40
"""Probes per family that choose the contenders, and that rate one: with 55 families, 2,200 probes by
which a rate of 4 % is known within 0.8 points."""
CONTENDERS = 3
Rates = Mapping[str, float]
"""Pass rate by family."""


def expected_best_null(probes: Sequence[Probe]) -> tuple[str, float]:
    """Returns the null answer that is best on probes of these families, and the share of `probes` that
    it is expected to pass. Among equals it is the first in NULL_ANSWERS. The first call in a process
    takes about a second."""
    asked = Counter(probe.family for probe in probes)
    rough = {name: _expect(rates, asked) for name, rates in _rough_rates().items()}
    contenders = sorted(rough, key=rough.__getitem__, reverse=True)[:CONTENDERS]
    rates = {name: _expect(_rates_of(name), asked) for name in NULL_ANSWERS if name in contenders}
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


def _expect(rates: Rates, asked: Mapping[str, int]) -> float:
    """The mean rate over the probes that are asked, given how many there are of each family."""
    return sum(n * rates[family] for family, n in asked.items()) / sum(asked.values())


@cache
def _fixed_set() -> list[Probe]:
    """Balanced over the families, so that any first part of whole rounds is."""
    return generate((CHOOSING + RATING) * len(FAMILIES), SEED)


@cache
def _rough_rates() -> Mapping[str, Rates]:
    """Those of all null answers, on the first part."""
    return _rate(NULL_ANSWERS, _fixed_set()[: CHOOSING * len(FAMILIES)])


@cache
def _rates_of(name: str) -> Rates:
    """Those of one null answer, on the second part."""
    return _rate([name], _fixed_set()[CHOOSING * len(FAMILIES) :])[name]


def _rate(names: Iterable[str], probes: Sequence[Probe]) -> dict[str, Rates]:
    passed: dict[str, Counter[str]] = {name: Counter() for name in names}
    # All answers to one probe in a row: a check's patterns are then compiled once.
    for probe in probes:
        for name, counts in passed.items():
            counts[probe.family] += passes(NULL_ANSWERS[name](probe), probe.check)
    asked = Counter(probe.family for probe in probes)
    return {
        name: {family: counts[family] / n for family, n in asked.items()}
        for name, counts in passed.items()
    }
