"""The best null answer is the same whatever probes are drawn, and its rate is its true one."""

from __future__ import annotations

import time

import pytest

from woolgather.ops.measure.null_answers import SEED, expected_best_null, null_rates
from woolgather.probes import NULL_ANSWERS, generate
from woolgather.probes.checks import passes
from woolgather.probes.families import FAMILIES

WHOLE = len(FAMILIES) * 4


def test_sets_of_all_families_have_one_best_null_answer_at_one_rate() -> None:
    found = {expected_best_null(generate(WHOLE, seed)) for seed in (1, 2, 3)}
    assert len(found) == 1


def test_the_rate_is_that_of_other_probes() -> None:
    probes = generate(len(FAMILIES) * 40, 5)
    name, rate = expected_best_null(probes)
    seen = sum(passes(NULL_ANSWERS[name](p), p.check) for p in probes) / len(probes)
    assert rate == pytest.approx(seen, abs=0.012)


def test_it_is_that_of_the_families_which_are_asked() -> None:
    rates = null_rates()
    name = next(iter(NULL_ANSWERS))
    assert rates.keys() == NULL_ANSWERS.keys()
    assert rates[name].keys() == FAMILIES.keys()
    few = [p for p in generate(WHOLE, 1) if p.family == "sentiment"]
    best, rate = expected_best_null(few)
    assert rate == max(rates[n]["sentiment"] for n in rates) == rates[best]["sentiment"]


def test_no_run_asks_the_fixed_set() -> None:
    assert SEED > 1_000_000


def test_it_costs_little_and_once() -> None:
    null_rates()
    began = time.perf_counter()
    expected_best_null(generate(WHOLE, 1))
    assert time.perf_counter() - began < 0.5
