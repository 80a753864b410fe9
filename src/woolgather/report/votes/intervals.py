"""What a number of votes can tell: exact, always-valid and prediction-powered intervals, each at 95 %.

The one idea: three questions have three intervals. How often two agree, after a fixed number of votes:
Clopper and Pearson's, which is exact. Which of two is preferred, by somebody who looks after every
vote and stops when it pleases: a confidence sequence, which is right at all times at once. How often
one is preferred over all prompts, of which people saw some and a machine judged all: an interval in
which votes correct the machine. scipy is imported late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from woolgather.core.intervals import LEVEL, NORMAL, Estimate, rate_interval


def exact_interval(hits: int, count: int) -> Estimate | None:
    """Returns the share of `count` trials that are hits, with the interval of Clopper and Pearson
    (Biometrika 26, 1934), which covers at least 95 % for every true share; None without trials."""
    from scipy.stats import beta

    if not count:
        return None
    tail, misses = (1 - LEVEL) / 2, count - hits
    low = float(beta.ppf(tail, hits, misses + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if misses else 1.0
    rate = hits / count
    return Estimate(rate, low, high, math.sqrt(rate * misses / count / count), count)


def anytime_interval(hits: int, misses: int) -> tuple[float, float]:
    """Returns the confidence sequence for the probability p of a hit: with 95 % it holds p after every
    trial at once, so that one may stop whenever it leaves out a value; (0, 1) without trials.

    Against each p it bets the likelihood averaged over Jeffreys' distribution, Beta(1/2, 1/2). The
    ratio to the likelihood of p is a martingale that starts from 1, so by Ville's inequality it ever
    reaches 20 in at most one study of 20 (Robbins, Ann. Math. Stat. 41, 1970; Howard, Ramdas, McAuliffe
    and Sekhon, Ann. Stat. 49, 2021). The interval holds every p against which the bets have not.
    """
    from scipy.special import betaln, xlog1py, xlogy

    if not hits + misses:
        return 0.0, 1.0
    mixed = float(betaln(hits + 0.5, misses + 0.5) - betaln(0.5, 0.5))
    limit = -math.log(1 - LEVEL)

    def excess(p: float) -> float:
        """Logarithm of what the bets have made against p, less the limit; convex in p."""
        return mixed - float(xlogy(hits, p) + xlog1py(misses, -p)) - limit

    rate = hits / (hits + misses)
    low = _crossing(excess, 0.0, rate) if hits else 0.0
    high = _crossing(excess, 1.0, rate) if misses else 1.0
    return low, high


def _crossing(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Returns where `excess` changes its sign between the two, rounded outwards."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return outside


def powered_interval(
    votes: Sequence[float], judged: Sequence[float], unseen: Sequence[float]
) -> Estimate | None:
    """Returns the mean vote over all prompts, by votes on some and a judge's preferences on all; None
    without votes.

    `votes` and `judged` are of the same prompts, a random sample; `unseen` are the judge's preferences
    on the others; all in [0, 1]. With n votes and N others the estimate is

        w mean(unseen) + mean(votes - w judged),   w = cov(votes, judged) / ((1 + n/N) var(judged))

    and its variance w^2 var(unseen) / N + var(votes - w judged) / n: prediction-powered inference
    (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Science 382, 2023), with the weight w in [0, 1]
    that makes it narrowest (Angelopoulos, Duchi and Zrnic, arXiv 2311.01453). So a judge that knows
    nothing does no harm, and one that is wrong is corrected. Without others, or where nothing varies,
    it is the share of votes with Wilson's interval.
    """
    import numpy as np

    n, rest = len(votes), len(unseen)
    if n < 2 or not judged or not rest:
        return rate_interval(votes)
    y, f, g = (np.asarray(x, dtype=np.float64) for x in (votes, judged, unseen))
    spread = float(np.concatenate([f, g]).var())
    covariance = float(((y - y.mean()) * (f - f.mean())).sum()) / (n - 1)
    weight = min(1.0, max(0.0, covariance / ((1 + n / rest) * spread))) if spread else 0.0
    corrected = y - weight * f
    if not weight or not float(corrected.var()):
        return rate_interval(votes)
    value = weight * float(g.mean()) + float(corrected.mean())
    error = math.sqrt(weight**2 * float(g.var()) / rest + float(corrected.var(ddof=1)) / n)
    low, high = max(0.0, value - NORMAL * error), min(1.0, value + NORMAL * error)
    return Estimate(min(1.0, max(0.0, value)), low, high, error, n)
