"""Intervals for measures and auditions.

The one idea: every number that is reported as better or worse carries an interval, and two models are
compared on the same items, so that what is hard for both cancels. Items that are drawn one by one get
a bootstrap over them (or Wilson's interval); items of families that share a skill are not independent,
and get an interval over families. All randomness is seeded; numpy is imported late. Nothing here
decides what "better" means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
POWERFUL = 2.8
"""Standard errors that a true difference must span to be seen in four of five studies: the normal
quantiles of .975 (no difference is excluded at 95 %) and of .80 (power), 1.96 + 0.84."""
NORMAL = 1.96
"""The normal quantile of .975."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the 95 % interval around it."""

    value: float
    low: float
    high: float
    error: float = 0.0
    """Standard error."""
    count: int = 0
    """Items behind it."""
    changed: int = 0
    """Items on which the two differ, for a paired difference of outcomes in [0, 1]."""
    effect: float = 1.0
    """Design effect: how many times the variance of as many independent items the squared width of the
    interval stands for; 1 where items are independent, more where they come in families."""

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def visible(self) -> float:
        """The smallest true difference of paired outcomes in [0, 1] that would have been seen in four
        of five such studies; 0 for an estimate of no items. See `smallest_visible`."""
        return smallest_visible(self.changed, self.count, self.effect)

    def format(self, spec: str = ".3f", factor: float = 1, unit: str = "") -> str:
        """Text for a sentence: `factor` times the number, its unit, and the interval.

        `spec` formats each number: `format("+.1f", 100, " points")` gives "+1.0 points [-1.9, +3.8]".
        """
        value, low, high = (format(factor * x, spec) for x in (self.value, self.low, self.high))
        return f"{value}{unit} [{low}, {high}]"

    def json(self) -> dict[str, float | int]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "error": self.error,
            "count": self.count,
            "changed": self.changed,
            "effect": self.effect,
        }


def smallest_visible(changed: int, count: int, effect: float = 1.0) -> float:
    """Returns the smallest true difference, in [0, 1], that a paired comparison of `count` items sees
    in four of five studies (power .8), where `changed` of them differed in this one. `effect` is the
    design effect of their families: that many items tell as much as one that is independent.

    The variance of a paired difference d of pass and fail is (D + d - d^2) / n, where D is the share of
    items that flip to and fro without a gain. With d^2 left out and D = (changed + 1) / (n + 1), which
    is above zero also where nothing changed, d = POWERFUL * standard error is a quadratic equation;
    this is its root. 0 where there are no items.
    """
    if not count:
        return 0.0
    flips = (changed + 1) / (count + 1)
    k = POWERFUL**2 * effect / count
    return min(1.0, (k + math.sqrt(k * k + 4 * k * flips)) / 2)


def rate_interval(
    outcomes: Sequence[float], families: Sequence[str] | None = None
) -> Estimate | None:
    """Returns the share of items that passed, with Wilson's 95 % interval, which is never a point: of 0
    of 75 the upper end is 4.9 %. Returns None for an empty sequence.

    `outcomes` are in [0, 1], 0 or 1 but for ties. With `families`, one per item, the interval is that of
    as many independent items as these are worth (`family_interval`)."""
    if not outcomes:
        return None
    rate, count = sum(outcomes) / len(outcomes), len(outcomes)
    found = family_interval(outcomes, families) if families else None
    effect = found.effect if found else 1.0
    n = count / effect
    weight = 1 + NORMAL**2 / n
    middle = (rate + NORMAL**2 / (2 * n)) / weight
    reach = NORMAL / weight * math.sqrt(rate * (1 - rate) / n + NORMAL**2 / (4 * n * n))
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    low, high = (0.0 if rate == 0 else low), (1.0 if rate == 1 else high)
    error = found.error if found else math.sqrt(rate * (1 - rate) / n)
    return Estimate(rate, low, high, error, count, effect=effect)


def family_interval(values: Sequence[float], families: Sequence[str]) -> Estimate | None:
    """Returns the mean of `values` with an interval over their families, named in `families`, one per
    value. Returns None for an empty sequence.

    It covers, in 95 of 100 studies, the mean over all families of the kind that these were drawn from,
    so that what it shows of a model holds for other tasks like these too, not only for more items of
    these tasks. Items of one family count as far as they differ; with one family alone, or none, each
    item counts for itself.

    The standard error is what a bootstrap of whole families tends to: a family's mean carries the luck
    of its items already, so that drawing items anew within a family would count it twice. The quantile
    is Student's, by families less one. On simulated families, with effects of their own and without, it
    covers 93 to 96 % with 10 to 43 of them, and 91 to 96 % with 3, where the middle 95 % of that
    bootstrap covers 88 to 96 % and 74 to 87 %; where nearly nothing changes both cover more."""
    import numpy as np

    if not len(values):
        return None
    array = np.asarray(values, dtype=np.float64)
    names, family = np.unique(np.asarray(families), return_inverse=True)
    if len(names) < 2:
        family = np.arange(len(array))
    mean = float(array.mean())
    residuals = np.bincount(family, array - mean)
    groups = len(residuals)
    spread = groups / max(1, groups - 1)
    error = math.sqrt(spread * float(residuals @ residuals)) / len(array)
    quantile = student(max(1, groups - 1))
    alone = float(array.var()) / len(array)
    widened = (quantile / NORMAL) ** 2
    effect = widened * max(1.0, error**2 / alone) if alone else widened
    reach = quantile * error
    return Estimate(mean, mean - reach, mean + reach, error, len(array), effect=effect)


def student(freedom: int) -> float:
    """Returns the .975 quantile of Student's distribution for 1 degree of freedom or more, within .03."""
    if freedom < 3:
        return (12.706, 4.303)[freedom - 1]
    z, v = NORMAL, 4 * freedom
    # The expansion of Cornish and Fisher in powers of 1 / freedom.
    first, second = (z**3 + z) / v, (5 * z**5 + 16 * z**3 + 3 * z) / (6 * v**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (6 * v**3)


def interval(draws: Floats, value: float, count: int) -> Estimate:
    """`value` with the middle 95 % of `draws`."""
    import numpy as np

    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), float(np.std(draws)), count)


def bootstrap_weights(count: int, draws: int = DRAWS, seed: int = 0) -> Floats:
    """How often each of `count` items is drawn, [draws, count]; each row sums to `count`."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)


def mean_interval(values: Sequence[float], seed: int = 0, draws: int = DRAWS) -> Estimate | None:
    """The mean with its bootstrap interval. Returns None for an empty sequence."""
    import numpy as np

    if not len(values):
        return None
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    drawn = array[generator.integers(0, len(array), (draws, len(array)), dtype=np.int32)].mean(1)
    return interval(drawn, float(array.mean()), len(array))


def paired_difference(
    a: Mapping[str, float | None],
    b: Mapping[str, float | None],
    seed: int = 0,
    draws: int = DRAWS,
    *,
    family_of: Callable[[str], str] | None = None,
) -> Estimate | None:
    """Returns the mean of a - b over the items that both have measured, None where they share none.

    The interval is over families, where `family_of` says to which an item belongs by its name, else by
    bootstrap over the items; `changed` counts those that differ."""
    both = {
        name: mine - other
        for name, mine in a.items()
        if mine is not None and (other := b.get(name)) is not None
    }
    values = list(both.values())
    found = (
        family_interval(values, [family_of(name) for name in both])
        if family_of
        else mean_interval(values, seed, draws)
    )
    return found and replace(found, changed=sum(d != 0 for d in values))


def outcome_difference(
    a: Mapping[str, float | None],
    b: Mapping[str, float | None],
    *,
    family_of: Callable[[str], str] | None = None,
) -> Estimate | None:
    """Returns `paired_difference`; where every outcome is 0 or 1, its interval is that of Agresti and Min
    (2005) and so never a point, also where few items changed, or none."""
    found = paired_difference(a, b, family_of=family_of)
    if found is None or not {*a.values(), *b.values()} <= {0.0, 1.0, None}:
        return found
    return _add_pairs(found)


def _add_pairs(found: Estimate) -> Estimate:
    """A difference of shares with half a pair added to each of the four cells. Items of families count as
    fewer (see `Estimate.effect`)."""
    gained = (found.changed / found.count + found.value) / 2
    lost = (found.changed / found.count - found.value) / 2
    n = found.count / found.effect
    up, down, pairs = gained * n + 0.5, lost * n + 0.5, n + 2
    middle = (up - down) / pairs
    reach = NORMAL * math.sqrt(up + down - (up - down) ** 2 / pairs) / pairs
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    return replace(found, low=min(low, found.value), high=max(high, found.value))
