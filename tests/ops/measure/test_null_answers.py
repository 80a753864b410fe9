"""The best null answer is the same whatever probes are drawn, and its rate is its true one."""

from __future__ import annotations

import time

import pytest

from woolgather.ops.measure.null_answers import SEED, expected_best_null
from woolgather.probes import NULL_ANSWERS, families_of, generate
from woolgather.probes.checks import passes

WHOLE = len(families_of("report")) * 4


def test_sets_of_all_families_have_one_best_null_answer_at_one_rate() -> None:
    found = {expected_best_null(generate(WHOLE, seed, "report")) for seed in (1, 2, 3)}
    assert len(found) == 1


def test_the_rate_is_that_of_other_probes_and_no_null_answer_is_much_better_on_them() -> None:
    probes = generate(WHOLE * 5, 5, "report")
    name, rate = expected_best_null(probes)
    seen = dict.fromkeys(NULL_ANSWERS, 0)
    for probe in probes:
        for each, answer in NULL_ANSWERS.items():
            seen[each] += passes(answer(probe), probe.check)
    assert rate == pytest.approx(seen[name] / len(probes), abs=0.012)
    assert max(seen.values()) / len(probes) < rate + 0.015


def test_it_is_that_of_the_families_which_are_asked() -> None:
    whole = generate(WHOLE, 1, "report")
    yes_or_no = [p for p in whole if p.family == "yes_no_kind"]
    assert len(yes_or_no) == 4
    name, rate = expected_best_null(yes_or_no)
    assert 0.35 < rate < 0.7, name
    assert expected_best_null(whole)[1] < rate / 2
    numbers = [p for p in generate(100, 1, "select") if p.family == "yes_no_number"]
    assert 0.35 < expected_best_null(numbers, "select")[1] < 0.65


def test_no_run_asks_the_fixed_set() -> None:
    assert SEED > 1_000_000


def test_it_is_worked_out_once() -> None:
    probes = generate(WHOLE, 1, "report")
    expected_best_null(probes)
    began = time.perf_counter()
    expected_best_null(probes)
    assert time.perf_counter() - began < 0.2
