"""Intervals of votes: known values, and what they cover in simulated studies."""

from __future__ import annotations

import numpy as np
import pytest

from woolgather.core.intervals import rate_interval
from woolgather.report.votes.intervals import anytime_interval, exact_interval, powered_interval


def test_the_exact_interval_has_its_known_values() -> None:
    """From tables of the binomial distribution; the ends of 0 and n in closed form."""
    found = exact_interval(16, 20)
    assert found is not None
    assert (found.value, found.count) == (0.8, 20)
    assert (found.low, found.high) == pytest.approx((0.5634, 0.9427), abs=1e-4)
    none, every = exact_interval(0, 20), exact_interval(20, 20)
    assert none is not None
    assert every is not None
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    assert (every.low, every.high) == pytest.approx((0.025 ** (1 / 20), 1.0))
    assert exact_interval(0, 0) is None


def test_the_anytime_interval_holds_what_was_seen_and_is_wider_than_the_exact_one() -> None:
    assert anytime_interval(0, 0) == (0.0, 1.0)
    for hits, misses in ((1, 0), (0, 7), (12, 8), (60, 40), (0, 500)):
        low, high = anytime_interval(hits, misses)
        exact = exact_interval(hits, hits + misses)
        assert exact is not None
        assert 0 <= low <= exact.low + 1e-9
        assert exact.high - 1e-9 <= high <= 1
        assert (1 - high, 1 - low) == pytest.approx(anytime_interval(misses, hits), abs=1e-9)
    assert anytime_interval(6, 0)[0] < 0.5 < anytime_interval(7, 0)[0]


def test_stopping_as_soon_as_it_is_decided_errs_in_one_study_of_twenty() -> None:
    """Two models that are equally good, 400 votes, and somebody who stops at the first interval that
    leaves 1/2 out. The exact interval, looked at as often, is wrong several times as often."""
    studies, length = 2000, 400
    draws = np.random.default_rng(5).integers(0, 2, (studies, length)).cumsum(axis=1)
    counts = np.arange(1, length + 1)
    excluded: dict[str, np.ndarray] = {}
    for name, decide in (("anytime", _anytime_excludes), ("exact", _exact_excludes)):
        table = np.array(
            [[decide(h, n) if h <= n else False for h in range(length + 1)] for n in counts]
        )
        excluded[name] = table[counts - 1, draws].any(axis=1)
    assert excluded["anytime"].mean() < 0.05
    assert excluded["exact"].mean() > 0.15


def _anytime_excludes(hits: int, count: int) -> bool:
    """Whether the bets against 1/2 have reached 20, which is when the interval leaves it out."""
    return LOG_BETA[hits] + LOG_BETA[count - hits] - LOG_SUM[count] + count * np.log(2) > np.log(20)


LOG_BETA = np.concatenate([[0.0], np.cumsum(np.log(np.arange(400) + 0.5))])
LOG_SUM = np.concatenate([[0.0], np.cumsum(np.log(np.arange(400) + 1.0))])
"""Logarithms of Gamma(h + 1/2) / Gamma(1/2) and of n!, which make B(h + 1/2, m + 1/2) / B(1/2, 1/2)."""


def _exact_excludes(hits: int, count: int) -> bool:
    """By a normal approximation with a correction, which is near the exact interval."""
    return bool(abs(hits - count / 2) - 0.5 > 1.96 * np.sqrt(count) / 2)


def test_the_bets_of_the_simulation_are_those_of_the_interval() -> None:
    for hits, count in ((8, 8), (7, 7), (60, 100), (62, 100), (190, 400), (30, 90), (31, 100)):
        low, high = anytime_interval(hits, count - hits)
        assert (not low <= 0.5 <= high) == _anytime_excludes(hits, count), (hits, count)


@pytest.mark.parametrize("skill", [0.0, 0.4, 0.8])
def test_the_powered_interval_covers_the_win_rate(skill: float) -> None:
    """Prompts on which people prefer the first answer in 6 of 10, 100 of them with a vote; the judge
    knows the vote with probability `skill`, else says 1 more often than people do."""
    generator, truth = np.random.default_rng(11), 0.6
    covered, widths, plain = 0, [], []
    studies = 1500
    for _ in range(studies):
        votes = (generator.random(500) < truth).astype(float)
        guess = (generator.random(500) < 0.8).astype(float)
        judged = np.where(generator.random(500) < skill, votes, guess)
        found = powered_interval(votes[:100].tolist(), judged[:100].tolist(), judged[100:].tolist())
        alone = rate_interval(votes[:100].tolist())
        assert found is not None
        assert alone is not None
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        plain.append(alone.high - alone.low)
    assert 0.93 < covered / studies < 0.97
    narrower = 1 - np.mean(widths) / np.mean(plain)
    assert narrower > {0.0: -0.02, 0.4: 0.02, 0.8: 0.2}[skill]


def test_without_a_judge_the_powered_interval_is_that_of_the_votes() -> None:
    votes = [1.0] * 60 + [0.5] * 10 + [0.0] * 30
    assert powered_interval([], [], []) is None
    for judged, unseen in (([], []), ([0.5] * 100, [0.5] * 50), (votes, []), (votes[::-1], [1.0])):
        assert powered_interval(votes, judged, unseen) == rate_interval(votes)
    assert powered_interval([1.0] * 100, [1.0] * 100, [0.0] * 9) == rate_interval([1.0] * 100)
