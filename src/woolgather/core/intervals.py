"""Intervals for measures and auditions.

The one idea: every number that is reported as better or worse carries a bootstrap interval, and two
models are compared on the same items, so that what is hard for both cancels. All randomness is
seeded; numpy is imported late. Nothing here decides what "better" means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    """Standard error, the standard deviation over the draws."""
    count: int = 0
    """Items behind it."""
    changed: int = 0
    """Items on which the two differ, for a paired difference of outcomes in [0, 1]."""

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def visible(self) -> float:
        """The smallest true difference of paired outcomes in [0, 1] that would have been seen in four
        of five such studies; 0 for an estimate of no items. See `smallest_visible`."""
        return smallest_visible(self.changed, self.count)

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
        }


def smallest_visible(changed: int, count: int) -> float:
    """Returns the smallest true difference, in [0, 1], that a paired comparison of `count` items sees
    in four of five studies (power .8), where `changed` of them differed in this one.

    The variance of a paired difference d of pass and fail is (D + d - d^2) / n, where D is the share of
    items that flip to and fro without a gain. With d^2 left out and D = (changed + 1) / (n + 1), which
    is above zero also where nothing changed, d = POWERFUL * standard error is a quadratic equation;
    this is its root. 0 where there are no items.
    """
    if not count:
        return 0.0
    flips = (changed + 1) / (count + 1)
    k = POWERFUL**2 / count
    return min(1.0, (k + math.sqrt(k * k + 4 * k * flips)) / 2)


def rate_interval(outcomes: Sequence[float]) -> Estimate | None:
    """The share of items that passed, with Wilson's 95 % interval, which is never a point: of 0 of 75
    the upper end is 4.9 %. `outcomes` are 0 or 1. Returns None for an empty sequence."""
    n = len(outcomes)
    if not n:
        return None
    rate = sum(outcomes) / n
    weight = 1 + NORMAL**2 / n
    middle = (rate + NORMAL**2 / (2 * n)) / weight
    reach = NORMAL / weight * math.sqrt(rate * (1 - rate) / n + NORMAL**2 / (4 * n * n))
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    low, high = (0.0 if rate == 0 else low), (1.0 if rate == 1 else high)
    return Estimate(rate, low, high, math.sqrt(rate * (1 - rate) / n), n)


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
) -> Estimate | None:
    """Returns the mean of a - b over the items that both have measured, None where they share none.

    The interval is by bootstrap over those items; `changed` counts those that differ."""
    differences: list[float] = []
    for name, mine in a.items():
        other = b.get(name)
        if mine is not None and other is not None:
            differences.append(mine - other)
    found = mean_interval(differences, seed, draws)
    return found and replace(found, changed=sum(d != 0 for d in differences))
