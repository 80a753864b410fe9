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

from woolgather.probes import NULL_ANSWERS, Probe, Purpose, families_of, generate
from woolgather.probes.checks import passes

SEED = 20_230_401
"""Random seed of the fixed set; any that no run uses."""
CHOOSING, RATING = 6, 40
"""Probes per family that choose the contenders, and that rate one: with the 43 families that report,
1,720 probes by which a rate of 4 % is known within 0.9 points."""
CONTENDERS = 3
Rates = Mapping[str, float]
"""Pass rate by family."""


def expected_best_null(probes: Sequence[Probe], purpose: Purpose = "report") -> tuple[str, float]:
    """Returns the null answer that is best on probes of these families, and the share of `probes` that
    it is expected to pass; all are of families for `purpose`. Among equals it is the first in
    NULL_ANSWERS. The first call in a process takes about a second."""
    asked = Counter(probe.family for probe in probes)
    rough = {name: _expect(rates, asked) for name, rates in _rough_rates(purpose).items()}
    contenders = sorted(rough, key=rough.__getitem__, reverse=True)[:CONTENDERS]
    rates = {
        name: _expect(_rates_of(name, purpose), asked)
        for name in NULL_ANSWERS
        if name in contenders
    }
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


def _expect(rates: Rates, asked: Mapping[str, int]) -> float:
    """The mean rate over the probes that are asked, given how many there are of each family."""
    return sum(n * rates[family] for family, n in asked.items()) / sum(asked.values())


@cache
def _fixed_sets(purpose: Purpose) -> tuple[list[Probe], list[Probe]]:
    """What chooses and what rates, each balanced over the families."""
    families = len(families_of(purpose))
    probes = generate((CHOOSING + RATING) * families, SEED, purpose)
    return probes[: CHOOSING * families], probes[CHOOSING * families :]


@cache
def _rough_rates(purpose: Purpose) -> Mapping[str, Rates]:
    """Those of all null answers, on what chooses."""
    return _rate(NULL_ANSWERS, _fixed_sets(purpose)[0])


@cache
def _rates_of(name: str, purpose: Purpose) -> Rates:
    """Those of one null answer, on what rates."""
    return _rate([name], _fixed_sets(purpose)[1])[name]


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
