import pytest

from woolgather.core.rows import Example
from woolgather.engines.base import Completion, LogProb
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.degeneration import (
    distinct_2,
    ends_by_itself,
    goes_in_circles,
    length_ratio,
    reference_likelihood,
    share,
)


def said(text, finish="stop"):
    return Completion(text, finish)


def test_shares():
    answers = [said("a b c"), said("no no " * 20, "length"), said("fine"), said("x", "length")]
    assert share(map(ends_by_itself, answers)) == 0.5
    assert share(map(goes_in_circles, answers)) == 0.25
    assert share([]) is None


def test_what_got_no_answer_says_nothing_of_form():
    answers = [said("a b c"), said("", "too_long"), said("", "error")]
    assert [ends_by_itself(a) for a in answers] == [1.0, None, None]
    assert [goes_in_circles(a) for a in answers] == [0.0, None, None]
    assert share(map(ends_by_itself, answers)) == 1.0
    assert length_ratio(answers, ["a b c", "a b c", "a b c"]) == 1.0


def test_length_is_a_ratio_of_medians_over_tasks_with_a_reference():
    answers = [said("one two"), said("one two three four"), said("a " * 50)]
    assert length_ratio(answers, ["one two three four", "a b", ""]) == pytest.approx(3 / 3)
    assert length_ratio(answers, ["", "", ""]) is None


def test_distinct_2_falls_with_repetition():
    assert distinct_2(["a b c d"]) == 1
    assert distinct_2(["a b", "a b", "a b", "a b"]) == 0.25
    assert distinct_2(["one", ""]) is None


class Tempered(FakeEngine):
    """Best at 1.5, and the references at odd places cost one nat a token more."""

    def sequence_logprobs(self, prompts, continuations, temperature=1.0):
        return [
            LogProb(-2.0 * (1 + abs(temperature - 1.5) + c.startswith("odd")), 2)
            for c in continuations
        ]


def tasks(n):
    return [
        Example(instruction=f"t{i}", response="odd one" if i % 2 else "even one") for i in range(n)
    ]


def test_likelihood_is_reported_on_the_half_that_did_not_fit():
    found = reference_likelihood(tasks(8), Tempered())
    assert found is not None
    assert found.temperature == 1.5
    assert found.nll == pytest.approx(2.0)
    assert found.tokens == 8
    assert reference_likelihood(tasks(3), Tempered()) is None
    assert reference_likelihood([Example(instruction="x")] * 9, Tempered()) is None
