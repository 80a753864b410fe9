"""Each kind of check on responses that must and must not pass, and every malformed check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.probes import checks
from woolgather.probes.answer_parsing import numbers, split_items, split_sentences
from woolgather.probes.checks import passes, validate

CAPITAL = {"kind": "contains", "all": ["Paris"], "max_words": 12}
RAMBLE = "Paris. The capital of Spain is Madrid. The capital of Italy is Rome. And so it goes on."

CASES: list[tuple[Any, list[str], list[str]]] = [
    (
        {"kind": "exact", "value": "red lamp"},
        ["red lamp", "Red  lamp.", '"red lamp"', "“Red lamp”", "**red lamp**\n", "RED\nLAMP"],
        ["red lamps", "the red lamp", "red lamp red lamp", "", "   "],
    ),
    (
        {"kind": "exact", "value": "RED LAMP", "case": True},
        ["RED LAMP", "'RED LAMP'."],
        ["red lamp", "Red Lamp"],
    ),
    (
        {"kind": "one_of", "values": ["spam", "not spam"]},
        ["Spam", "not spam."],
        ["spam or not spam", "It is spam"],
    ),
    (
        CAPITAL,
        ["Paris", "The capital of France is Paris.", "**Paris**", "It's paris!"],
        ["Parisian cafes", "London", RAMBLE, ""],
    ),
    (
        {"kind": "contains", "all": ["new york", "C++"], "any": ["cat", "cats"]},
        ["In New\nYork cats write C++.", "A cat: C++, New York"],
        ["New York, C++", "cats in New York", "cat C++ New Yorkers"],
    ),
    (
        {"kind": "excludes", "words": ["red", "very big"]},
        ["blue", "redder", "very, big"],
        ["Red.", "a very  big one", ""],
    ),
    (
        {"kind": "number", "value": 1200},
        ["1,200", "1200", "It is $1,200.00.", "1000 + 200 = 1200", "€1200", "1200.", "1,200!"],
        ["1,2000", "120", "1200 or 1300", "-1200", "twelve", "B1200", "1.200.000"],
    ),
    (
        {"kind": "number", "value": 0.75},
        ["3/4", "0.75", ".75", "3 / 4 of it", "The share is 3/4."],
        ["3/0", "34", "4/3", "75", "1 3/4"],
    ),
    (
        {"kind": "number", "value": -5},
        ["-5", "−5", "It is -5 degrees", "(-5)", "-$5", "$-5"],
        ["5", "10-5", "- 5"],
    ),
    (
        {"kind": "number", "value": 21},
        ["twenty-one", "Twenty one apples", "There are twenty-one."],
        ["twenty", "21 or twenty 2", "no one"],
    ),
    ({"kind": "number", "value": 3.14, "tolerance": 0.01}, ["3.14", "3.1416", "22/7"], ["3.2"]),
    (
        {"kind": "number", "value": 9, "which": "only"},
        ["9", "Nine", "9 is the larger: 9"],
        ["9 is larger than 4", "4 < 9"],
    ),
    (
        {"kind": "number", "value": 59, "given": [21, 38]},
        [
            "59 is the sum of 21 and 38.",
            "59 (that is 21 + 38 = 60 - 1)",
            "Fifty-nine",
            "The answer is 59, since 59 - 38 = 21.",
        ],
        ["21 + 38 = 60", "38", "59? No, 60.", "21 + 38 = 59, so the answer is 38.", "59.5"],
    ),
    (
        {"kind": "number", "value": 9, "unit": ["words"]},
        ["There are 9 words in this text, made of 1 phrase.", "nine words", "9"],
        ["8 words, or 9 with the title", "It has 9 letters and 8 words."],
    ),
    (
        {"kind": "names", "any": ["Thursday"], "not": ["Wednesday", "Friday"]},
        [
            "Thursday",
            "It is **Thursday**, not Friday.",
            "Thursday, because Friday comes after it.",
            "Wednesday comes first, then Friday follows. So it is Thursday.",
            "That is easy. The answer is Thursday.",
            "1. Wednesday\n2. Thursday\n\nSo it is Thursday.",
            "Thursday\n\nFriday comes after it.",
        ],
        [
            "Friday",
            "Thursday\nFriday",
            "1. Thursday\n2. WEDNESDAY",
            "- Thursday\n- Monday\n- **Friday**.",
            "Thursday or Friday",
            "Wednesday, Thursday, Friday",
            "Not Thursday",
            "Thursday is not the answer; Friday is.",
            "It is Friday, since Thursday is the day before.",
        ],
    ),
    (
        {"kind": "names", "any": ["75"], "not": ["630"]},
        ["75", "75 is smaller than 630.", "It is 75 - the smaller one."],
        ["75 - 630 = 1", "630 is larger than 75.", "630"],
    ),
    (
        {"kind": "names", "any": ["May", "Brasilia"]},
        ["may", "It is May.", "Brasília"],
        ["I may not be able to do that.", "May or June", "The month's name"],
    ),
    (
        {"kind": "regex", "pattern": r"[a-z]+-\d+"},
        ["ab-12", "  ab-12\n"],
        ["ab-12 and", "AB-12"],
    ),
    (
        {"kind": "regex", "pattern": "ab+", "mode": "search", "ignore_case": True},
        ["x ABB y"],
        ["ax"],
    ),
    (
        {"kind": "json", "keys": ["name"], "values": {"age": 34}},
        [
            '{"name": "Ana", "age": 34}',
            '```json\n{"age": "34", "name": "x"}\n```',
            '{"name": 1, "age": 34, "more": []}',
        ],
        [
            '{"name": "Ana", "age": 35}',
            '{"age": 34}',
            '{"name": "Ana", "age": 34} is it',
            "[]",
            "34",
            "{name: Ana}",
            "[" * 100_000,
        ],
    ),
    (
        {"kind": "json", "values": {"year": 1987, "of": ["Salt"]}, "typed": True},
        ['{"year": 1987, "of": ["salt"]}'],
        ['{"year": "1987", "of": ["Salt"]}', '{"year": 1987, "of": "Salt"}', '{"year": true}'],
    ),
    (
        {"kind": "regex", "pattern": "ab+", "mode": "absent"},
        ["ax", "AB"],
        ["x abb y"],
    ),
    (
        {"kind": "words", "min": 3, "distinct": 3},
        ["A volcano throws lava.", "old red lamp"],
        ["A volcano is a volcano!", "red lamp, red lamp", "old lamp"],
    ),
    (
        {"kind": "items", "count": 1, "among": ["bear", "bears", "wolf"], "initial": "P"},
        ["Polar bear", "a polar bear", "An animal with P is the polar bear.", "polar bears"],
        ["bear", "wolf", "panda", "polar bear, wolf"],
    ),
    (
        {"kind": "items", "count": 2, "among": ["wolf", "wolves", "mouse", "mice", "peru"]},
        [
            "Wolves and mice",
            "Two animals are the wolf and the mouse.",
            "A wolf, a mouse. Both bite.",
        ],
        ["wolf, wolf", "1. wolf (mouse)\n2. wolf (wolf)", "wolf, cat", "peru"],
    ),
    (
        {"kind": "ordered", "values": ["a", "b"], "once": True},
        ["a, b", "1. a\n2. b"],
        ["a, b, a, b", "b, a", "a"],
    ),
    (
        {"kind": "no_loop"},
        ["One two, one two, and on.", "rows of rows of seats"],
        ["well well well", "a row of rows of rows of rows of"],
    ),
    ({"kind": "json", "type": "array"}, ["[1, 2]", "[]"], ['{"a": 1}', "1, 2"]),
    ({"kind": "json"}, ['{"a": 1}', "[1]"], ["null", "a"]),
    (
        {"kind": "words", "min": 2, "max": 4},
        ["two words", "one, two - three four"],
        ["one", "a b c d e", "- - -"],
    ),
    (
        {"kind": "sentences", "min": 2, "max": 2},
        [
            "It rains. Stay in!",
            "Dr. Lee came at 3.30. He left.",
            "One.\nTwo.",
            'He said "no." Fine.',
            "Mt. Etna is high. It smokes.",
            "Acme Inc. and Ed Jr. sell shoes at Ft. Rose. I buy them.",
            "Come at 4 p.m. Bring a chair.",
            "Dear Fiona,\n\nI am sorry. It was me.\n\nSincerely,\n[Your Name]",
            "1. It rains.\n2. It pours.",
        ],
        ["It rains.", "A b. C d. E f.", "e.g. this"],
    ),
    ({"kind": "lines", "min": 2, "max": 2}, ["a\n\nb", "a\nb\n"], ["a b", "a\nb\nc"]),
    (
        {"kind": "items", "count": 3},
        [
            "red, blue, green",
            "Red, blue and green.",
            "1. red\n2. blue\n3. green",
            "Here are three:\n- red\n- blue\n- green",
            "Colours: red; blue; green",
            "red\nblue\ngreen",
            "1. red 2. blue 3. green",
            "Sure:\nred\nblue\ngreen",
        ],
        ["red, blue", "red, red, blue", "red, blue, green, grey", "1. red\n2. blue", "red"],
    ),
    (
        {"kind": "items", "count": 2, "among": ["Red", "blue"], "max_item_words": 1},
        ["red, blue", "Blue\nRed"],
        ["red, green", "dark red, blue", "- red: warm\n- blue"],
    ),
    (
        {"kind": "items", "count": 2, "among": ["Red", "blue"]},
        ["- Red: the warm one\n- Blue (cold)", "1. blue - cold\n2. **red**: warm"],
        ["- warm: red\n- blue", "- reddish (red)\n- blue"],
    ),
    (
        {"kind": "items", "count": 2, "style": "numbered"},
        ["1. oak\n2. ash", "1) oak\n2) ash"],
        ["oak, ash", "- oak\n- ash"],
    ),
    (
        {"kind": "items", "count": 2, "style": "bulleted"},
        ["- oak\n- ash", "Trees:\n* oak\n* ash"],
        ["oak, ash", "1. oak\n2. ash", "- oak\n- ash\n- elm"],
    ),
    ({"kind": "case", "value": "lower"}, ["all low, 3.", "a"], ["A b", "123"]),
    ({"kind": "case", "value": "upper"}, ["ALL UP!", "A 3"], ["All", "..."]),
    (
        {"kind": "case", "value": "title"},
        ["The Old Man and the Sea", "A Day's Work"],
        ["the old man", "The old Man"],
    ),
    (
        {"kind": "starts_with", "value": "In spring"},
        ["In spring, it rains.", '"In Spring" is a title'],
        ["In springtime it rains", "It is in spring"],
    ),
    (
        {"kind": "ends_with", "value": "home"},
        ["We went home.", 'He said: "home"', "HOME!"],
        ["homes", "a biohome", "home we went"],
    ),
    (
        {"kind": "ordered", "values": ["3", "12", "40"]},
        ["3, 12, 40", "First 3, then 12, at last 40."],
        ["12, 3, 40", "3, 40", "3, 112, 40"],
    ),
    (
        {"kind": "yes_no", "value": "yes"},
        ["Yes", "yes, it is.", "**Yes**, of course"],
        ["No", "Yes or no", "It is. Yes", "yesterday"],
    ),
    ({"kind": "yes_no", "value": "no"}, ["No.", "no, never"], ["Not at all", "Yes", "No yes"]),
    (
        {"kind": "not_echo", "text": "Write one sentence that has the word river", "run": 5},
        ["The river is wide.", "Here is one sentence: the river"],
        ["write one sentence that has the word river", "So: one sentence that has the"],
    ),
    ({"kind": "not_echo", "text": "Name it."}, ["it", "name"], ["Name it!", "well, name it"]),
    (
        [CAPITAL, {"kind": "sentences", "max": 1}, {"kind": "excludes", "words": ["Rome"]}],
        ["Paris.", "It is Paris."],
        ["Paris. Yes.", "Paris and Rome", "Madrid"],
    ),
]


@pytest.mark.parametrize(("check", "good", "bad"), CASES)
def test_passes(check: Any, good: list[str], bad: list[str]) -> None:
    for response in good:
        assert passes(response, check), response
    for response in bad:
        assert not passes(response, check), response


@pytest.mark.parametrize("case", CASES)
def test_a_check_survives_json(case: tuple[Any, list[str], list[str]]) -> None:
    check = json.loads(json.dumps(case[0]))
    assert passes(case[1][0], check)
    assert not passes(case[2][0], check)


def test_every_kind_is_tried_and_described() -> None:
    tried = {part["kind"] for case in CASES for part in checks._parts(case[0])}
    assert tried == set(checks.KINDS)
    lines = checks.describe().splitlines()
    assert [line.split("(")[0] for line in lines] == list(checks.KINDS)
    assert all(len(line.split(")  ")[-1]) > 10 for line in lines)


@pytest.mark.parametrize("kind", ["words", "excludes", "number"])
def test_max_words_bounds_every_kind(kind: str) -> None:
    params: dict[str, Any] = {"words": {"min": 1}, "excludes": {"words": ["x"]}}.get(
        kind, {"value": 4}
    )
    check = {"kind": kind, **params, "max_words": 3}
    assert passes("It is 4", check)
    assert not passes("It is surely 4", check)


def test_empty_never_passes() -> None:
    for check in ({"kind": "words", "max": 5}, {"kind": "excludes", "words": ["a"]}):
        assert not passes("", check)
        assert not passes(" \n", check)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({}, "must not be empty"),
        ([], "must not be empty"),
        ("exact", "a check is a mapping"),
        (None, "a check is a mapping"),
        (["exact"], "each check in a list"),
        ({"value": "x"}, 'no "kind"'),
        ({"kind": "contain", "all": ["x"]}, 'did you mean "contains"'),
        ({"kind": ["exact"]}, "unknown kind"),
        ({"kind": "exact"}, "needs value"),
        ({"kind": "exact", "value": 3}, "value must be a text"),
        ({"kind": "exact", "value": "..."}, "letter or digit"),
        ({"kind": "exact", "value": "a", "cased": True}, 'did you mean "case"'),
        ({"kind": "contains"}, "at least one of: all, any"),
        ({"kind": "contains", "max_words": 3}, "at least one of: all, any"),
        ({"kind": "contains", "all": "Paris"}, "list of texts"),
        ({"kind": "contains", "all": [""]}, "list of texts"),
        ({"kind": "number", "value": True}, "finite number"),
        ({"kind": "number", "value": float("nan")}, "finite number"),
        ({"kind": "number", "value": 1, "tolerance": -1}, ">= 0"),
        ({"kind": "number", "value": 1, "which": "first"}, '"last" or "only"'),
        ({"kind": "regex", "pattern": "("}, "valid regular expression"),
        ({"kind": "words"}, "at least one of: min, max"),
        ({"kind": "words", "min": 4, "max": 2}, "min 4 is greater than max 2"),
        ({"kind": "words", "min": 1.5}, "whole number"),
        ({"kind": "items", "count": 0}, ">= 1"),
        ({"kind": "case", "value": "camel"}, '"lower" or "upper" or "title"'),
        ({"kind": "yes_no", "value": "yes", "max_words": 0}, "max_words must be"),
        ([{"kind": "yes_no", "value": "yes"}, {"kind": "no"}], "unknown kind"),
    ],
)
def test_malformed_checks_are_named(check: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(check)
    assert says in str(caught.value)
    with pytest.raises(InputError):
        passes("anything", check)


def test_numbers() -> None:
    assert numbers("from 3 to 1,200.50, then 1 1/2 and 40%") == [3, 1200.5, 1.5, 40]
    assert numbers("12-5=7") == [12, 5, 7]
    assert numbers("zero, Ninety-nine and thirty four") == [0, 99, 34]
    assert numbers("none") == []
    assert numbers("Six hundred eighty-seven, one hundred and two, two thousand") == [
        687,
        102,
        2000,
    ]
    assert numbers("1. 40\n2. 21\n3. 2") == [40, 21, 2]
    assert numbers(r"\frac{1}{2} or ½") == [0.5, 0.5]
    assert numbers("9" * 5000) == [float("inf")]


def test_split_sentences_and_items() -> None:
    assert split_sentences("J. Smith paid $3.50. Really?! Yes") == [
        "J. Smith paid $3.50.",
        "Really?!",
        "Yes",
    ]
    assert split_items("* oak tree.\n* ash\nThat is all.") == ["oak tree", "ash"]
    assert split_items("") == []
