import random

import pytest

from woolgather.core.intervals import (
    Estimate,
    bootstrap_weights,
    mean_interval,
    paired_difference,
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
    assert found.visible == pytest.approx(2.8 * error, rel=0.1)
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
