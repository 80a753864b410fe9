"""Intervals for measures and auditions.

The one idea: every number that is reported as better or worse carries a bootstrap interval, and two
models are compared on the same items, so that what is hard for both cancels. All randomness is
seeded; numpy is imported late. Nothing here decides what "better" means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def visible(self) -> float:
        """The smallest true difference that would have been seen four times in five."""
        return POWERFUL * self.error

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
        }


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
    """Mean of a - b over the items that both have measured; None where they share none."""
    differences: list[float] = []
    for name, mine in a.items():
        other = b.get(name)
        if mine is not None and other is not None:
            differences.append(mine - other)
    return mean_interval(differences, seed, draws)
