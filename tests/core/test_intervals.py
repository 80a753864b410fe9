import math
import random
import time

import numpy as np
import pytest

from woolgather.core.intervals import (
    Estimate,
    bootstrap_weights,
    family_interval,
    mean_interval,
    outcome_difference,
    paired_difference,
    rate_interval,
    smallest_visible,
    student,
)


def test_mean_interval_is_near_the_normal_one():
    values = [1.0] * 60 + [0.0] * 140
    found = mean_interval(values, seed=3)
    assert found is not None
    error = (0.3 * 0.7 / 200) ** 0.5
    assert found.value == pytest.approx(0.3)
    assert found.error == pytest.approx(error, rel=0.1)
    assert found.low == pytest.approx(0.3 - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(0.3 + 1.96 * error, abs=0.01)
    assert mean_interval([]) is None


def test_an_estimate_in_a_sentence():
    gain = Estimate(0.0101, -0.0193, 0.0381)
    assert gain.format("+.1f", 100, " points") == "+1.0 points [-1.9, +3.8]"
    assert gain.format(".2f") == "0.01 [-0.02, 0.04]"


def test_mean_interval_follows_from_its_seed():
    values = [float(i % 7) for i in range(50)]
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_weights_are_draws_with_replacement():
    weights = bootstrap_weights(10, draws=50, seed=0)
    assert weights.shape == (50, 10)
    assert set(weights.sum(axis=1)) == {10.0}


def test_pairing_removes_what_is_hard_for_both():
    rng = random.Random(0)
    base = {str(i): float(rng.random() < 0.5) for i in range(400)}
    better = {k: 1.0 if i < 30 else v for i, (k, v) in enumerate(base.items())}
    paired = paired_difference(better, base)
    assert paired is not None
    assert paired.above_zero
    assert paired.error < (0.25 / 400 * 2) ** 0.5 / 2


def test_pairing_leaves_out_what_one_has_not_measured():
    found = paired_difference({"a": 1.0, "b": None, "c": 1.0}, {"a": 0.0, "b": 1.0, "d": 0.0})
    assert found is not None
    assert (found.value, found.count) == (1.0, 1)
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None


def test_a_rate_of_none_or_all_is_never_a_point():
    none, every, some = (
        rate_interval([0] * 75),
        rate_interval([1] * 75),
        rate_interval([1] * 3 + [0] * 7),
    )
    assert none is not None
    assert every is not None
    assert some is not None
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(0.0487, abs=1e-4)
    assert (every.high, every.low) == (1, pytest.approx(1 - 0.0487, abs=1e-4))
    assert (some.low, some.high) == (
        pytest.approx(0.1078, abs=1e-4),
        pytest.approx(0.6032, abs=1e-4),
    )
    assert rate_interval([]) is None


@pytest.mark.parametrize(
    ("count", "rate"), [(55, 0.02), (75, 0.05), (110, 0.01), (300, 0.01), (300, 0.2)]
)
def test_the_interval_of_a_rate_covers_it(count: int, rate: float):
    """By the exact binomial sum over outcomes: at least 93 %, where a bootstrap's fell to 42 %."""
    covered = 0.0
    for passed in range(count + 1):
        found = rate_interval([1] * passed + [0] * (count - passed))
        assert found
        if found.low <= rate <= found.high:
            covered += math.comb(count, passed) * rate**passed * (1 - rate) ** (count - passed)
    assert 0.93 <= covered <= 1


def test_the_smallest_visible_difference_by_hand():
    assert smallest_visible(0, 0) == 0
    assert smallest_visible(0, 110) == pytest.approx(0.0794, abs=1e-3)  # nothing changed: 8 points
    assert smallest_visible(11, 110) == pytest.approx(0.1315, abs=2e-3)
    assert smallest_visible(30, 300) == pytest.approx(0.0662, abs=2e-3)


@pytest.mark.parametrize("count", [110, 300, 600])
@pytest.mark.parametrize("churn", [0.01, 0.02, 0.05])
def test_what_is_called_visible_is_seen_in_four_of_five_studies(count: int, churn: float):
    """Simulated studies of `count` probes on which two models differ by chance in `churn` each way. The
    difference that the median study calls visible is then given to one of them: the share of studies
    whose interval is clear of zero must be the power that is promised, .8, give or take."""
    rng = np.random.default_rng(count)
    calm = [_study(rng, count, churn, 0.0) for _ in range(60)]
    stated = float(np.median([found.visible for found in calm]))
    seen = [_study(rng, count, churn, stated).above_zero for _ in range(300)]
    assert 0.75 <= np.mean(seen) <= 0.95


def _study(rng: np.random.Generator, count: int, churn: float, gain: float) -> Estimate:
    """One paired comparison: each item flips up with probability `churn` + `gain`, down with `churn`."""
    draw = rng.random(count)
    up, down = draw < churn + gain, draw > 1 - churn
    a = {str(i): float(x) for i, x in enumerate(up)}
    b = {str(i): float(x) for i, x in enumerate(down)}
    found = paired_difference(a, b, draws=400)
    assert found
    return found


# Families


def _outcomes(
    rng: np.random.Generator, families: int, count: int, churn: float, apart: float, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paired differences of `count` items in turn over `families`. A family's own gain is normal around
    `gain` with standard deviation `apart`; items change by chance in `churn` each way besides."""
    family = np.arange(count) % families
    own = (gain + apart * rng.standard_normal(families))[family]
    draw = rng.random(count)
    up = draw < churn + np.maximum(own, 0)
    down = draw > 1 - churn - np.maximum(-own, 0)
    return up.astype(float) - down.astype(float), family


def _study_families(
    rng: np.random.Generator, families: int, count: int, churn: float, apart: float, gain: float
) -> Estimate:
    change, family = _outcomes(rng, families, count, churn, apart, gain)
    a = {f"{i}/{f}": float(c) for i, (c, f) in enumerate(zip(change, family, strict=True))}
    found = paired_difference(a, dict.fromkeys(a, 0.0), family_of=lambda name: name.split("/")[1])
    assert found
    return found


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.1])
@pytest.mark.parametrize(("families", "count"), [(43, 600), (43, 2400), (25, 600), (10, 600)])
def test_an_interval_over_families_covers_the_mean_of_all_families(
    families: int, count: int, apart: float
):
    """93 to 97 % of 1,000 studies, each of families that are drawn anew, within 1.5 points of luck."""
    rng = np.random.default_rng(families + count)
    covered = 0
    for _ in range(1000):
        found = _study_families(rng, families, count, 0.05, apart, 0.0)
        covered += found.low <= 0 <= found.high
    assert 0.93 - 0.015 <= covered / 1000 <= 0.97 + 0.015


def test_an_interval_over_items_misses_the_mean_of_all_families():
    """What the families are for: by items alone a tenth point of spread between them goes unseen."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        change, _ = _outcomes(rng, 43, 2400, 0.05, 0.1, 0.0)
        alone = mean_interval(list(change), draws=300)
        assert alone
        covered += alone.low <= 0 <= alone.high
    assert covered / 200 < 0.8


@pytest.mark.parametrize("apart", [0.0, 0.03, 0.06])
@pytest.mark.parametrize(("families", "count"), [(43, 600), (43, 2400), (25, 600)])
def test_what_is_called_visible_over_families_is_seen_in_four_of_five_studies(
    families: int, count: int, apart: float
):
    """As for items: the difference that the median study without one calls visible is given to all."""
    rng = np.random.default_rng(families + count)
    calm = [_study_families(rng, families, count, 0.05, apart, 0.0) for _ in range(100)]
    stated = float(np.median([found.visible for found in calm]))
    seen = [
        _study_families(rng, families, count, 0.05, apart, stated).above_zero for _ in range(300)
    ]
    assert 0.75 <= np.mean(seen) <= 0.95


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_a_rate_over_families_is_covered(rate: float):
    """Families pass at rates of their own, between a half and one and a half of the mean."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(600):
        own = rate * rng.uniform(0.5, 1.5, 43)
        passed = rng.random(602) < np.tile(own, 14)
        found = rate_interval(list(passed.astype(float)), [str(i % 43) for i in range(602)])
        assert found
        covered += found.low <= rate <= found.high
    assert 0.93 - 0.02 <= covered / 600 <= 0.97 + 0.02


def test_families_by_hand():
    """Two families, each of one mind: two values in effect, whatever their size."""
    found = family_interval([1.0] * 10 + [0.0] * 10, ["a"] * 10 + ["b"] * 10)
    assert found
    assert found.value == 0.5
    assert found.error == pytest.approx(0.5)  # of the means 1 and 0
    assert found.high - found.value == pytest.approx(12.706 * 0.5)
    assert found.effect == pytest.approx(20 * (12.706 / 1.96) ** 2)  # (.5^2) / (.25 / 20)
    alone = family_interval([1.0, 0.0, 1.0, 0.0], "abcd")
    assert alone
    assert alone.error == pytest.approx(math.sqrt(0.25 / 3))
    assert family_interval([], []) is None
    one = family_interval([1.0, 0.0, 1.0, 0.0], ["a"] * 4)
    assert one
    assert one.error == alone.error
    assert rate_interval([1.0, 0.0, 1.0, 0.0]).effect == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (24, 2.064), (42, 2.018)],
)
def test_quantiles_of_student(freedom: int, quantile: float):
    assert student(freedom) == pytest.approx(quantile, abs=0.03)


def test_a_comparison_over_families_takes_no_time():
    values = {f"{i}/{i % 43}": float(i % 5 == 0) for i in range(2400)}
    began = time.perf_counter()
    paired_difference(values, dict.fromkeys(values, 0.0), family_of=lambda n: n.split("/")[1])
    assert time.perf_counter() - began < 0.2


def test_a_difference_of_outcomes_is_never_a_point_and_others_are_as_before() -> None:
    same = {str(i): float(i < 40) for i in range(100)}
    found = outcome_difference(same, {**same, "100": None})
    assert found is not None
    assert (found.value, found.count, found.changed) == (0.0, 100, 0)
    # Half a pair in each of the four cells: 1.96 * sqrt(1) / 102.
    assert found.high == -found.low == pytest.approx(1.96 / 102)
    parts = {name: value / 2 for name, value in same.items()}
    assert outcome_difference(parts, same) == paired_difference(parts, same)
