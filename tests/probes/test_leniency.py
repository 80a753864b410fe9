"""What a check forgives: wrapping, accents, the form of a number; and what a cut or absent answer is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from woolgather.core.errors import InputError
from woolgather.probes.checks import outcome, passes, passes_strictly

CAPITAL = {"kind": "contains", "all": ["Paris"], "max_words": 12}


@pytest.mark.parametrize(
    "wrapped",
    [
        "Sure! Red lamp",
        "Certainly. Here is the phrase: red lamp",
        "Here it is:\n\nred lamp",
        "Sure! I'd be happy to help. The answer is red lamp",
        'The phrase is "red lamp".',
        "```\nred lamp\n```",
        "Here is the text you asked for:\n\n```text\nred lamp\n```\n\nThe text has two words.",
        "`red lamp`",
        "**red** lamp",
    ],
)
def test_what_wraps_an_answer_is_taken_off_but_not_strictly(wrapped: str) -> None:
    check = {"kind": "regex", "pattern": "red lamp", "ignore_case": True}
    assert passes(wrapped, check)
    assert not passes_strictly(wrapped, check)


def test_what_is_not_wrapping_stays() -> None:
    check = {"kind": "exact", "value": "red lamp"}
    for text in ("Write this: red lamp", "red lamp: a lamp", "Sure red lamp", "[red lamp]"):
        assert not passes(text, check), text
    assert passes(
        "Nobody told me:\nit was late.", {"kind": "starts_with", "value": "Nobody told me"}
    )
    assert passes("Sure!", {"kind": "exact", "value": "sure"})


def test_numbers_are_whole_and_accents_do_not_count() -> None:
    for text in ("15.5", "15,000", "115", "3.15"):
        assert not passes(text, {"kind": "contains", "any": ["15"]}), text
    for text in ("15", "15.", "15.00", "10, 15, 20", "15,16,17", "$15"):
        assert passes(text, {"kind": "contains", "any": ["15"]}), text
    assert not passes("2,550", {"kind": "contains", "any": ["550"]})
    for text in ("Reykjavík", "the city of Reykjavik", "REYKJAVÍK"):
        assert passes(text, {"kind": "contains", "any": ["Reykjavik"]}), text
    assert passes("cafe", {"kind": "exact", "value": "café"})


@dataclass(frozen=True)
class Reply:
    text: str
    finish_reason: str


def test_a_cut_answer_is_wrong_and_an_absent_one_neither() -> None:
    assert outcome(Reply("It is Paris.", "stop"), CAPITAL) is True
    assert outcome(Reply("It is Rome.", "stop"), CAPITAL) is False
    assert outcome(Reply("", "stop"), CAPITAL) is False
    assert outcome(Reply("Paris, a city of", "length"), CAPITAL) is False
    for reason in ("too_long", "error", "abort"):
        assert outcome(Reply("Paris", reason), CAPITAL) is None
        with pytest.raises(InputError):
            outcome(Reply("Paris", reason), {"kind": "contain"})
